"""Embeddings from the AI/ML API and Nugen: the client that both framework adapters share."""

from aimlapi_embeddings._arguments import check_arguments, check_picklable, hide_arguments
from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._errors import (
    AIMLAPIError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._families import Family, Model
from aimlapi_embeddings._models import supported_models
from aimlapi_embeddings._planning import check_texts
from aimlapi_embeddings._progress import progress_bar
from aimlapi_embeddings._result import EmbeddingResult
from aimlapi_embeddings._types import PartialResult, Progress, TaskType, Usage
from aimlapi_embeddings._version import __version__

__all__ = [
    "AIMLAPIError",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "EmbeddingResult",
    "EmbeddingsClient",
    "Family",
    "InternalServerError",
    "InvalidInputError",
    "Model",
    "NotFoundError",
    "PartialResult",
    "PermissionDeniedError",
    "Progress",
    "RateLimitError",
    "ReplyError",
    "RequestTooLargeError",
    "TaskType",
    "Usage",
    "__version__",
    "check_arguments",
    "check_picklable",
    "check_texts",
    "hide_arguments",
    "progress_bar",
    "supported_models",
]
