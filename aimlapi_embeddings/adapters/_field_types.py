"""The types of fields: what an adapter takes for them, and how they are dumped."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, SecretStr, ValidationInfo, WithJsonSchema

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.options import check_number, timeout_phases
from aimlapi_embeddings.cache import VectorCache
from aimlapi_embeddings.cache._vector_cache import as_cache


def _number(value: object, info: ValidationInfo) -> object:
    return check_number(str(info.field_name), value)


def _timeout(value: object, info: ValidationInfo) -> object:
    name = str(info.field_name)
    if (phases := timeout_phases(value)) is not None:
        return phases
    try:
        return float(check_number(name, value))  # type: ignore[arg-type]  # it is asked for
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(
            f"{name} is neither a number of seconds nor a pair (connect, read)."
        ) from None


Integer = Annotated[int, BeforeValidator(_number)]
"""A field that refuses True, and takes integers of other libraries."""
Seconds = Annotated[float, BeforeValidator(_number)]
"""A field that refuses True."""
Amount = Annotated[float, BeforeValidator(_number)]
"""The same for what is not counted in seconds."""
Timeout = Annotated[
    Any,
    BeforeValidator(_timeout),
    WithJsonSchema({"type": "number"}),
]
"""A field for seconds, or for a pair (connect, read); an `httpx.Timeout` becomes a tuple."""
Key = Annotated[SecretStr, PlainSerializer(lambda _: None, when_used="json")]
"""A field that stays out of JSON, where it would be asterisks that could be taken for a key."""
Cache = Annotated[VectorCache, BeforeValidator(as_cache)]
"""A field for a `VectorCache`, or for the path of one."""
BaseURL = Annotated[str, PlainSerializer(shown_url)]
"""A field that is dumped without the query of the URL, which may hold a secret."""
