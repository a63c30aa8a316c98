"""Embeddings from the AI/ML API and Nugen: the client that both framework adapters share."""

from aimlapi_embeddings._catalog.families import Family, Model
from aimlapi_embeddings._catalog.models import supported_models
from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._engine.meter import TrackedUsage, track_usage
from aimlapi_embeddings._errors import (
    AIMLAPIError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CacheError,
    CacheWarning,
    ConfigurationError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._result import EmbeddingResult, PartialResult
from aimlapi_embeddings._streams import AsyncEmbeddingStream, EmbeddingStream
from aimlapi_embeddings._types import Estimate, Progress, TaskType, Usage
from aimlapi_embeddings._version import __version__
from aimlapi_embeddings.cache import VectorCache

__all__ = [
    "AIMLAPIError",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncEmbeddingStream",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "CacheError",
    "CacheWarning",
    "ConfigurationError",
    "EmbeddingResult",
    "EmbeddingStream",
    "EmbeddingsClient",
    "Estimate",
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
    "TrackedUsage",
    "Usage",
    "VectorCache",
    "__version__",
    "supported_models",
    "track_usage",
]
