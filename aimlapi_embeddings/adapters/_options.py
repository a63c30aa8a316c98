"""Types of the options that both frameworks call by the client's own names.

Type checkers would make the constructor of a pydantic model from its fields: with one name for each
and `SecretStr` for the key. So each adapter tells them all its names, and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, TypedDict

from aimlapi_embeddings._types import TaskType
from aimlapi_embeddings.cache import VectorCache


class Options(TypedDict, total=False):
    """Keyword arguments of every adapter."""

    dimensions: int | None
    task_type: TaskType | str | None
    family: str | None
    query_prefix: str | None
    document_prefix: str | None
    too_long: Literal["error", "truncate"] | None
    normalize: bool
    encoding_format: Literal["auto", "float", "base64"]
    max_concurrency: int | None
    max_retries: int
    max_retry_wait: float
    retry_for: float | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_usd: float | None
    max_tokens: int | None
    rate_limiter: Any
    cache: VectorCache | str | PathLike[str] | None
    default_headers: Mapping[str, str] | None
    http_client: Any
    allow_http: bool
