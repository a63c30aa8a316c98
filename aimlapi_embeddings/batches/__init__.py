"""One step that embeds a column of a table, inside engines for corpora beyond one process."""

try:
    import numpy  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError(
        "aimlapi_embeddings.batches needs NumPy and PyArrow: "
        "pip install 'aimlapi-embeddings[arrow]'"
    ) from error

from aimlapi_embeddings.batches._shared_limit import SharedLimit
from aimlapi_embeddings.batches._step import EmbedBatches

__all__ = ["EmbedBatches", "SharedLimit"]
