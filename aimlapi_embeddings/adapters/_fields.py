"""What are the client's options as fields, and by which names may each be given and shown?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SecretStr
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._types import TaskType
from aimlapi_embeddings.adapters._descriptions import describe_fields, describe_schema
from aimlapi_embeddings.adapters._field_types import Amount, Cache, Integer, Seconds
from aimlapi_embeddings.adapters._signature import signature_of


class OptionFields(BaseModel):
    """The fields that both frameworks share; each adapter adds those that its framework names."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        defer_build=True,  # of bases, of which there are no objects
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
        protected_namespaces=(),
        validate_assignment=True,
    )
    _options: ClassVar[Mapping[str, str]]
    """Fields that the framework names, by option of the client."""

    dimensions: Integer | None = None
    """Size of the vectors. None means the model's own size."""
    task_type: TaskType | str | None = None
    """A `TaskType` or its name. None means the default of the model family."""
    family: str | None = None
    """The model family whose rules apply to a model that this version does not know."""
    query_prefix: str | None = None
    """Put in front of each query, instead of the prefix of the model family."""
    document_prefix: str | None = None
    """Put in front of each document, instead of the prefix of the model family."""
    too_long: Literal["error", "truncate"] | None = None
    """What happens to a text that is longer than the model takes: `"error"` refuses it,
    `"truncate"` embeds its beginning. None means that the server decides."""
    normalize: bool = False
    """Whether to scale vectors to length 1, for models whose vectors are longer."""
    encoding_format: Literal["auto", "float", "base64"] = "auto"
    """`"auto"` (base64 where the model documents it), `"float"` or `"base64"`."""
    max_concurrency: Integer | None = None
    """Maximum number of requests in flight, over all calls of this client. None means 8 for calls
    of several requests. Calls of one request of at most 16 texts then have an adaptive limit of
    their own, which begins at 256. With a number, the limit holds for all calls, and those small
    ones go first."""
    max_retries: Integer = 5
    """Maximum number of repeats of a request."""
    max_retry_wait: Seconds = 60.0
    """Longest wait in seconds that a server may ask for. A longer one raises."""
    retry_for: Seconds | None = None
    """Seconds after its first failure for which a request is repeated, instead of `max_retries`
    times. For batch jobs."""
    requests_per_minute: Amount | None = None
    """Maximum rate of requests, over all calls of this client. Requests are spaced evenly, after a
    burst of the requests of one second, at least 1."""
    tokens_per_minute: Amount | None = None
    """Maximum rate of tokens. They are estimated, and corrected by the replies."""
    max_usd: Amount | None = None
    """Maximum of US dollars that all calls of this client may cost together. A request that could
    exceed it is not sent, and the call raises a `BudgetExceededError`."""
    max_tokens: Integer | None = None
    """The same in tokens, also for models without a published price."""
    rate_limiter: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """One of LangChain or LlamaIndex, or an object with `acquire` and `aacquire`. It is asked once
    for each request, with the estimated tokens where it takes them."""
    cache: SkipJsonSchema[Cache | None] = Field(default=None, exclude=True, repr=False)
    """A `VectorCache`, or the path of its file. Texts whose vectors are in it are not sent. Vectors
    that are received are written to it."""
    default_headers: SkipJsonSchema[Mapping[str, str] | None] = Field(
        default=None, exclude=True, repr=False
    )
    """Headers of each request, in addition to those of this package. They may hold secrets, and are
    not part of dumps."""
    http_client: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` for sync calls. It is not closed by this client."""
    allow_http: bool = False
    """Whether to send the key unencrypted to a host that is not this machine."""

    def _fields(self) -> dict[str, str]:
        """Tell which field each option of the client comes from."""
        return {**SHARED, **self._options}

    @classmethod
    def _names(cls) -> list[tuple[str, ...]]:
        """List all names of each argument."""
        return [
            tuple(dict.fromkeys((name, *_aliases(field.validation_alias))))
            for name, field in cls.model_fields.items()
        ]

    @classmethod
    def _key_names(cls) -> set[str]:
        key = cls._options["api_key"]
        return {"api_key", *(name for names in cls._names() if key in names for name in names)}

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        describe_fields(cls)
        cls.__signature__ = signature_of(cls.model_fields)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        return describe_schema(cls, handler.resolve_ref_schema(schema))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        url, key = self._options["base_url"], self._options["api_key"]
        for name, value in super().__repr_args__():
            if name == key and isinstance(value, str):  # of `model_construct`, which checks nothing
                value = SecretStr(value)
            yield name, shown_url(value) if name == url and value else value


def _aliases(alias: Any) -> list[str]:
    choices = getattr(alias, "choices", [alias])
    return [choice for choice in choices if isinstance(choice, str)]


describe_fields(OptionFields)

# Options that both frameworks call by the client's names, but for one.
SHARED = {name: name for name in OptionFields.model_fields if name != "default_headers"}
SHARED["headers"] = "default_headers"
# Of the names that the key has in an adapter, the one in the documentation.
SHORT = {"api_key": "api_key"}
