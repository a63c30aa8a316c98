"""Fields, names and docstrings of LlamaIndex on the shared client."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, Unpack

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode
from pydantic import AliasChoices, ConfigDict, Field, SecretStr, SerializationInfo, model_serializer
from pydantic import SerializerFunctionWrapHandler as Handler
from pydantic.json_schema import SkipJsonSchema

from aimlapi_embeddings import ConfigurationError, Progress, TaskType
from aimlapi_embeddings.adapters import (
    EmbeddingsModel,
    Integer,
    Options,
    ShortTraceback,
    Telling,
    Timeout,
    TimeoutLike,
    astoring_before,
    keeping_finished,
    partial_of,
    storing_before,
    warn_user,
)
from llama_index_aimlapi_embeddings._cache import CachedVectors
from llama_index_aimlapi_embeddings._events import (
    emit_events,
    emit_usage,
    keep_signature,
    trace_stream,
)
from llama_index_aimlapi_embeddings._nodes import name_nodes

# Of a batch: the methods that the base class has for this take texts alone, and a subclass may
# replace them.
_progress: ContextVar[Progress | None] = ContextVar("_progress", default=None)

# Texts in one event of the framework: more than most calls have, so that there is one event.
_WINDOW = 100_000

# What a subclass may replace to compute vectors itself.
_HOOKS = tuple(
    f"_{mode}get_{what}"
    for mode in ("", "a")
    for what in ("query_embedding", "text_embedding", "text_embeddings")
)
_BATCH_HOOKS = ("_get_text_embeddings", "_aget_text_embeddings")

_Role: TypeAlias = Literal["document", "query"]


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


class _Embedding(EmbeddingsModel, BaseEmbedding):
    """What both providers' classes share.

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
    """The key; else `AIMLAPI_API_KEY` or `NUGEN_API_KEY`. It stays out of dumps."""
    api_base: str | None = Field(
        default=None, validation_alias=AliasChoices("api_base", "base_url")
    )
    """The host (`base_url` is accepted too); else `AIMLAPI_API_BASE` or `NUGEN_API_BASE`, else the
    provider's own. It is shown and dumped without its query."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Fields added to the body of each request, over our own."""
    embed_batch_size: Integer = _WINDOW
    """Most texts in a request, and in one event of the framework."""
    batch_size: Integer | None = None
    """Most texts in a request; can only lower the model's own limit. The smaller of this and
    `embed_batch_size` holds."""
    num_workers: Integer | None = None
    """Most requests in flight at a time, over all calls of this object. The smaller of this and
    `max_concurrency` holds."""
    timeout: Timeout | None = None
    """Seconds that connecting, sending, and each wait for more of a reply may take; 60 when None. A
    pair `(connect, read)` or an `httpx.Timeout` tells them apart. An attempt as a whole may take
    three times as long as one wait for a reply. A client of your own keeps the timeout it was made
    with, unless one is given here."""
    show_progress: bool = False
    """Whether batches and streams show a bar, also inside an `IngestionPipeline`."""
    async_http_client: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` to use for async calls, in its own event loop; it is not closed by
    us."""
    callback_manager: SkipJsonSchema[CallbackManager] = Field(
        default_factory=lambda: CallbackManager([]), exclude=True, repr=False
    )
    """Of the framework. A pickle does without what cannot be pickled."""
    embeddings_cache: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """A `KVStore` of the framework. Vectors of another model, size, role or host are never taken
    from it. Streams neither ask nor fill it: set `cache` for these."""

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

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework stores this class."""
        return cls.__name__

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: Handler, info: SerializationInfo) -> dict[str, Any]:
        """Dump what decides the vectors, as it is in force; a subclass's own fields may too."""
        named = {self._options.get(o, o): value for o, value in self.client.identity.items()}
        dump = {
            name: named.get(name, value)
            for name, value in handler(self).items()
            if name in named or name in type(self).model_fields.keys() - _Embedding.model_fields
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

    # Embedding. Every method of the base class that asks a cache or a limiter is replaced: the base
    # keeps vectors under the bare text, and asks the limiter for windows instead of requests.

    @keep_signature
    def _get_query_embedding(self, query: str) -> Embedding:
        with emit_usage(self.model_name) as brought:
            return brought(self.client.embed([query], role="query"))[0]

    @keep_signature
    async def _aget_query_embedding(self, query: str) -> Embedding:
        with emit_usage(self.model_name) as brought:
            return brought(await self.client.aembed([query], role="query"))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed_documents([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed_documents([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed_documents(texts, _progress.get())

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed_documents(texts, _progress.get())

    def _embed_documents(
        self,
        texts: list[str],
        progress: Progress | None = None,
        known: Mapping[int, Embedding] | None = None,
    ) -> list[Embedding]:
        with emit_usage(self.model_name) as brought:
            return brought(self.client.embed(texts, progress=progress, known=known)).vectors

    async def _aembed_documents(
        self,
        texts: list[str],
        progress: Progress | None = None,
        known: Mapping[int, Embedding] | None = None,
    ) -> list[Embedding]:
        with emit_usage(self.model_name) as brought:
            result = brought(await self.client.aembed(texts, progress=progress, known=known))
        return await result.avectors()

    @keep_signature
    def get_query_embedding(self, query: str) -> Embedding:
        """Embed a query.

        Args:
            query: A string, not empty.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self._embed_one(query, "query", self._get_query_embedding)

    @keep_signature
    async def aget_query_embedding(self, query: str) -> Embedding:
        """Embed a query, like `get_query_embedding`."""
        return await self._aembed_one(query, "query", self._aget_query_embedding)

    def get_text_embedding(self, text: str) -> Embedding:
        """Embed a document; see `get_text_embedding_batch` for many.

        Args:
            text: A string, not empty.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self._embed_one(text, "document", self._get_text_embedding)

    async def aget_text_embedding(self, text: str) -> Embedding:
        """Embed a document, like `get_text_embedding`."""
        return await self._aembed_one(text, "document", self._aget_text_embedding)

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n documents: texts that are stored and searched.

        Args:
            texts: n strings, none empty.
            show_progress: Whether to show a bar that moves with each finished request.
            **kwargs: For the framework.

        Returns:
            n vectors of d floats, in the order of the texts.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; `.partial` holds what was finished.
        """
        with keeping_finished() as vectors, emit_events(self, texts, vectors):
            cache = self._find_cache("document")
            known = cache.find(texts) if cache else {}
            try:
                with ShortTraceback(), self._tell_batch(show_progress) as progress:
                    vectors += self._embed_batch(texts, progress, known)
            except BaseException as error:
                if cache and (finished := self._finished(error)):
                    with storing_before(error, "embeddings_cache"):
                        cache.keep(texts, finished, known)
                raise
            if cache:
                cache.keep(texts, vectors, known)
        return vectors

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n texts, like `get_text_embedding_batch`, with the same requests."""
        with keeping_finished() as vectors, emit_events(self, texts, vectors, at_once=True):
            cache = self._find_cache("document")
            known = await cache.afind(texts) if cache else {}
            try:
                with ShortTraceback(), self._tell_batch(show_progress) as progress:
                    vectors += await self._aembed_batch(texts, progress, known)
            except BaseException as error:
                if cache and (finished := self._finished(error)):
                    async with astoring_before(error, "embeddings_cache"):
                        await cache.akeep(texts, finished, known)
                raise
            if cache:
                await cache.akeep(texts, vectors, known)
        return vectors

    def _embed_batch(
        self, texts: list[str], progress: Progress | None, known: Mapping[int, Embedding]
    ) -> list[Embedding]:
        if not self._is_replaced:
            return self._embed_documents(texts, progress, known)
        missing = _missing(texts, known)
        return self._filled(texts, known, self._get_text_embeddings(missing) if missing else [])

    async def _aembed_batch(
        self, texts: list[str], progress: Progress | None, known: Mapping[int, Embedding]
    ) -> list[Embedding]:
        if not self._is_replaced:
            return await self._aembed_documents(texts, progress, known)
        missing = _missing(texts, known)
        embedded = await self._aget_text_embeddings(missing) if missing else []
        return self._filled(texts, known, embedded)

    def _filled(
        self, texts: list[str], known: Mapping[int, Embedding], embedded: list[Embedding]
    ) -> list[Embedding]:
        """Put what a subclass has embedded between what was known."""
        if len(texts) != len(known) + len(embedded):
            raise ValueError(
                f"{type(self).__name__} embedded as {len(embedded)} vectors what is "
                f"{len(texts) - len(known)} texts."
            )
        rest = iter(embedded)
        return [known[i] if i in known else next(rest) for i in range(len(texts))]

    @property
    def _is_replaced(self) -> bool:
        """Whether a subclass embeds batches itself; then positions in errors are its own too."""
        return self._replaces(_BATCH_HOOKS)

    @classmethod
    def _replaces(cls, hooks: Sequence[str]) -> bool:
        return any(
            getattr_static(cls, hook) is not getattr_static(_Embedding, hook) for hook in hooks
        )

    def _finished(self, error: BaseException) -> Sequence[Embedding | None]:
        """Return what was finished before an error, by the position of its text."""
        partial = partial_of(error)
        return () if partial is None or self._is_replaced else partial.vectors

    def _embed_one(self, text: str, role: _Role, embed: Callable[[str], Embedding]) -> Embedding:
        vectors: list[Embedding] = []
        with ShortTraceback(), emit_events(self, [text], vectors):
            cache = self._find_cache(role)
            known = cache.find([text]) if cache else {}
            vectors.append(known[0] if known else embed(text))
            if cache:
                cache.keep([text], vectors, known)
        return vectors[0]

    async def _aembed_one(
        self, text: str, role: _Role, embed: Callable[[str], Awaitable[Embedding]]
    ) -> Embedding:
        vectors: list[Embedding] = []
        with ShortTraceback(), emit_events(self, [text], vectors):
            cache = self._find_cache(role)
            known = await cache.afind([text]) if cache else {}
            vectors.append(known[0] if known else await embed(text))
            if cache:
                await cache.akeep([text], vectors, known)
        return vectors[0]

    def _find_cache(self, role: _Role) -> CachedVectors | None:
        if self.embeddings_cache is None:
            return None
        namespace = self.client.cache_namespace
        if self._replaces(_HOOKS):  # its vectors differ from ours
            namespace += "-" + hashlib.sha256(str(self.to_dict()).encode()).hexdigest()[:16]
        collection = f"embeddings-{namespace}-{role}"
        return CachedVectors(self.embeddings_cache, collection, self.client.dimensions)

    @contextmanager
    def _tell_batch(self, show_progress: bool) -> Iterator[Progress | None]:
        """Show a bar, also where a subclass replaces the methods that take texts alone."""
        with self._show_bar(show_progress or self.show_progress) as progress:
            token = _progress.set(progress)
            try:
                yield progress
            finally:
                _progress.reset(token)

    def _telling(self, method: str) -> Telling:
        if self.embeddings_cache is not None and self.cache is None:
            warn_user(
                "a stream neither asks nor fills embeddings_cache, so all its texts are sent; "
                "cache= takes the path of a file that streams use too."
            )
        if self._is_replaced:
            warn_user(
                f"a stream does not call the _get_text_embeddings that {type(self).__name__} "
                "replaces, so its vectors may differ from those of batches."
            )
        bar = super()._telling(method)
        return lambda bill: trace_stream(self, method, bill, bar(bill))

    # Nodes

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Put a vector into each node; an error names the nodes, and the others keep theirs."""
        with name_nodes(nodes, self._finished):
            return super().__call__(nodes, **kwargs)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Put a vector into each node, like `__call__`."""
        with name_nodes(nodes, self._finished):
            return await super().acall(nodes, **kwargs)


def _missing(texts: list[str], known: Mapping[int, Embedding]) -> list[str]:
    """Return the texts that a subclass is to embed: what it does with them is not known here."""
    return [text for i, text in enumerate(texts) if i not in known] if known else texts


class AIMLAPIEmbedding(_Embedding):
    """Embedding models of the AI/ML API.

    Args:
        model_name (str): Id of the model (`model` is accepted too).
        api_key (Optional[str]): The key; else `AIMLAPI_API_KEY`.
        api_base (Optional[str]): The host (`base_url` is accepted too); else `AIMLAPI_API_BASE`.
        dimensions (Optional[int]): Floats per vector, where the model lets one choose.
        task_type (Optional[str]): What the vectors are for, where the model knows task types.

    See the fields below for all of them.

    Examples:
        `pip install "aimlapi-embeddings[llama-index]"`

        ```python
        from llama_index.core import Settings
        from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

        Settings.embed_model = AIMLAPIEmbedding(model_name="text-multilingual-embedding-002")
        vector = Settings.embed_model.get_query_embedding("What does the fox jump over?")
        ```
    """

    _provider = "aimlapi"

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[EmbeddingOptions]) -> None: ...


class NugenEmbedding(_Embedding):
    """Embedding models of Nugen.

    Args:
        model_name (str): Id of the model (`model` is accepted too).
        api_key (Optional[str]): The key; else `NUGEN_API_KEY`.
        api_base (Optional[str]): The host (`base_url` is accepted too); else `NUGEN_API_BASE`.
        dimensions (Optional[int]): Floats per vector.

    See the fields below for all of them.

    Examples:
        `pip install "aimlapi-embeddings[llama-index]"`

        ```python
        from llama_index_aimlapi_embeddings import NugenEmbedding

        embedding = NugenEmbedding(model_name="nugen-flash-embed", dimensions=256)
        vector = embedding.get_query_embedding("What does the fox jump over?")
        ```
    """

    _provider = "nugen"

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[EmbeddingOptions]) -> None: ...


# So that the framework's `load_embed_model` reads what `to_dict` wrote.
with suppress(ImportError):  # where the framework keeps its table is not documented
    from llama_index.core.embeddings.loading import RECOGNIZED_EMBEDDINGS

    for _class in (AIMLAPIEmbedding, NugenEmbedding):
        RECOGNIZED_EMBEDDINGS.setdefault(_class.class_name(), _class)
