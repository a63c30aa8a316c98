"""An offline stand-in for the AI/ML API and Nugen, made of the standard library alone.

    from aimlapi_embeddings import emulator

    with emulator.running() as base_url:
        ...  # POST f"{base_url}/v1/embeddings"

Its rules follow the providers' published schemas and samples; its vectors are lexical: texts
that share words are near each other, and no meaning is involved.
"""

from aimlapi_embeddings.emulator._answer import answer
from aimlapi_embeddings.emulator._faults import (
    Fault,
    as_base64,
    as_floats,
    cut_short,
    doubled_index,
    empty,
    gzip_cut_short,
    gzipped,
    html,
    narrower,
    null_embedding,
    odd_base64,
    one_long,
    one_short,
    overstated_length,
    ragged,
    shuffled,
    understated_length,
    with_infinity,
    with_nan,
    without_index,
    without_usage,
)
from aimlapi_embeddings.emulator._server import Emulator, running
from aimlapi_embeddings.emulator._types import Reply, Request

__all__ = [
    "Emulator",
    "Fault",
    "Reply",
    "Request",
    "answer",
    "as_base64",
    "as_floats",
    "cut_short",
    "doubled_index",
    "empty",
    "gzip_cut_short",
    "gzipped",
    "html",
    "narrower",
    "null_embedding",
    "odd_base64",
    "one_long",
    "one_short",
    "overstated_length",
    "ragged",
    "running",
    "shuffled",
    "understated_length",
    "with_infinity",
    "with_nan",
    "without_index",
    "without_usage",
]
