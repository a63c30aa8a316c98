"""What the framework adapters share. Not imported by the core, which does without pydantic."""

from aimlapi_embeddings._errors import ShortTraceback
from aimlapi_embeddings._protocol.options import TimeoutLike
from aimlapi_embeddings._result import nothing_finished, partial_of
from aimlapi_embeddings._slices import in_turns
from aimlapi_embeddings._text_streams import ProgressFactory
from aimlapi_embeddings._warn import warn_user
from aimlapi_embeddings.adapters._field_types import BaseURL, Integer, Key, Seconds, Timeout
from aimlapi_embeddings.adapters._finished import astoring_before, keeping_finished, storing_before
from aimlapi_embeddings.adapters._model import EmbeddingsModel
from aimlapi_embeddings.adapters._options import Options

__all__ = [
    "BaseURL",
    "EmbeddingsModel",
    "Integer",
    "Key",
    "Options",
    "ProgressFactory",
    "Seconds",
    "ShortTraceback",
    "Timeout",
    "TimeoutLike",
    "astoring_before",
    "in_turns",
    "keeping_finished",
    "nothing_finished",
    "partial_of",
    "storing_before",
    "warn_user",
]
