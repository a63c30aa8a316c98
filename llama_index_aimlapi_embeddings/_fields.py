"""Which fields do both classes have, and which of them does a dump hold?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from pydantic import AliasChoices, ConfigDict, Field, SecretStr, SerializationInfo, model_serializer
from pydantic import SerializerFunctionWrapHandler as Handler
from pydantic.json_schema import SkipJsonSchema

from aimlapi_embeddings import ConfigurationError, TaskType
from aimlapi_embeddings.adapters import (
    EmbeddingsModel,
    Integer,
    Options,
    Timeout,
    TimeoutLike,
    nothing_finished,
)

# Texts in one event of the framework: more than most calls have, so that there is one event.
_WINDOW = 100_000
# Arguments that other methods take, and which do.
_ELSEWHERE = {
    "titles": "client.embed(texts, titles=...) takes them",
    "role": "get_query_embedding embeds a query",
}


class EmbeddingOptions(Options, total=False):
    """Keyword arguments of both classes, for type checkers."""

    model_name: str
    model: str
    api_key: SecretStr | str | None
    api_base: str | None
    base_url: str | None
    embed_batch_size: int
    batch_size: int | None
    num_workers: int | None
    timeout: TimeoutLike | None
    show_progress: bool
    additional_kwargs: dict[str, Any]
    async_http_client: Any
    callback_manager: CallbackManager
    embeddings_cache: Any


class EmbeddingFields(EmbeddingsModel, BaseEmbedding):
    """The fields of both classes, under the framework's names.

    Only what changes the vectors is dumped, in one spelling, since a dump is also the key of the
    ingestion cache: a new key or timeout must not embed a corpus anew. A pickle keeps everything.
    """

    model_config = ConfigDict(protected_namespaces=("pydantic_model_",))
    _options: ClassVar[dict[str, str]] = {
        "model": "model_name",
        "api_key": "api_key",
        "base_url": "api_base",
        "batch_size": "batch_size",
        "timeout": "timeout",
        "extra_body": "additional_kwargs",
        "async_http_client": "async_http_client",
    }
    _classes: ClassVar[dict[str, str]] = {"aimlapi": "AIMLAPIEmbedding", "nugen": "NugenEmbedding"}
    _bar_field: ClassVar[str] = "show_progress"
    _caption: ClassVar[str] = "Generating embeddings"
    _observers: ClassVar[tuple[str, ...]] = (
        *EmbeddingsModel._observers,
        "callback_manager",
        "embeddings_cache",
    )

    model_name: str = Field(validation_alias=AliasChoices("model_name", "model"))
    """Id of the model (`model` is accepted too). There is no default: vectors of different models
    cannot be compared."""
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """The key. None means the environment variable `AIMLAPI_API_KEY` or `NUGEN_API_KEY`. It is not
    part of dumps."""
    api_base: str | None = Field(
        default=None, validation_alias=AliasChoices("api_base", "base_url")
    )
    """The host (`base_url` is accepted too). None means the environment variable `AIMLAPI_API_BASE`
    or `NUGEN_API_BASE`, else the provider's URL. It is shown and dumped without its query
    string."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Additional fields of the body of each request. They replace fields of the same name."""
    embed_batch_size: Integer = _WINDOW
    """Maximum number of texts in a request, and in one event of the framework."""
    batch_size: Integer | None = None
    """Maximum number of texts in a request. It can only lower the limits that hold without it, such
    as that of the model. The smaller of this and `embed_batch_size` holds."""
    num_workers: Integer | None = None
    """Maximum number of requests in flight, over all calls of this client. The smaller of this and
    `max_concurrency` holds."""
    timeout: Timeout | None = None
    """Seconds for connecting, for sending, and for each wait for more of a reply. None means 60, or
    the timeout of an HTTP client of your own. A pair `(connect, read)` or an `httpx.Timeout` sets
    them separately. An attempt as a whole may take three times as long as one wait for a reply."""
    show_progress: bool = False
    """Whether batches and streams show a bar, also inside an `IngestionPipeline`."""
    async_http_client: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` for async calls, in its own event loop. It is not closed by this
    client."""
    callback_manager: SkipJsonSchema[CallbackManager] = Field(
        default_factory=lambda: CallbackManager([]), exclude=True, repr=False
    )
    """The framework's callbacks. A pickle leaves out those that cannot be pickled."""
    embeddings_cache: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """A `KVStore` of the framework. Vectors of another model, size, role or host are never taken
    from it. Streams do not use it; they use `cache`."""

    def _fields(self) -> dict[str, str]:
        return {
            **super()._fields(),
            "batch_size": self._smaller("embed_batch_size", "batch_size"),
            "max_concurrency": self._smaller("max_concurrency", "num_workers"),
        }

    def _smaller(self, *fields: str) -> str:
        given = [field for field in fields if getattr(self, field) is not None]
        return min(given, key=lambda field: int(getattr(self, field)), default=fields[0])

    @classmethod
    def _names(cls) -> list[tuple[str, ...]]:
        return [*super()._names(), ("class_name",)]  # which the framework writes into its dumps

    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, str]:
        typed = super()._arguments(given)
        if given.pop("class_name", cls.class_name()) != cls.class_name():
            raise ConfigurationError(f"class_name is not {cls.class_name()!r}.")
        return typed

    def _check_call(self, texts: object, given: Collection[str]) -> None:
        """Refuse arguments of a call that should change its vectors and cannot.

        Others are the framework's, which hands its own to every step of a pipeline.
        """
        if not given:
            return
        decisive = {self._options.get(option, option) for option in self.client.identity}
        known = {n for names in self._names() if names[0] in decisive for n in names}
        for name in given:
            if name in known:
                said = (
                    f"a call takes no {name}: its vectors are made with that of the object. Use "
                    f"another object for it: {type(self).__name__}(..., {name}=...)."
                )
            elif name in _ELSEWHERE:
                said = f"this method takes no {name}; {_ELSEWHERE[name]}."
            else:
                continue
            error = ConfigurationError(said)
            error.partial = nothing_finished(texts)
            raise error

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework stores this class."""
        return cls.__name__

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: Handler, info: SerializationInfo) -> dict[str, Any]:
        """Dump what decides the vectors, as it is in force; a subclass's own fields may too."""
        named = {self._options.get(o, o): value for o, value in self.client.identity.items()}
        added = type(self).model_fields.keys() - EmbeddingFields.model_fields
        dump = {
            name: named.get(name, value)
            for name, value in handler(self).items()
            if name in named or name in added
        }
        if isinstance(task_type := dump.get("task_type"), TaskType):
            dump["task_type"] = task_type.value
        return {**dump, "class_name": self.class_name()}

    def to_payload(self) -> dict[str, Any]:
        """Return what events and callbacks may show: nothing secret."""
        task_type = self.task_type
        return {
            **super().to_payload(),
            "dimensions": self.dimensions,
            "task_type": None if task_type is None else str(task_type),
        }
