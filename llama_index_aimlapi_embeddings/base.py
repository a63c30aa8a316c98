"""Fields, names and docstrings of LlamaIndex on the shared client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, dispatcher
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.rate_limiter import BaseRateLimiter
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from aimlapi_embeddings import EmbeddingsClient, Progress, TaskType
from aimlapi_embeddings.adapters import (
    check_arguments,
    check_picklable,
    check_texts,
    hide_arguments,
    progress_bar,
)

# Larger than any list of texts ought to be. Handlers of events hear of so many at a time.
_WINDOW = 100_000

# The framework's cached methods do not pass `show_progress` on to the methods we implement.
_progress: ContextVar[Progress | None] = ContextVar("_progress", default=None)


class _AskedByTheClient(BaseRateLimiter):
    """A limiter that the client asks for each request, and the base class for nothing.

    The base would ask once for each window, without tokens, or never.
    """

    def __init__(self, limiter: Any) -> None:
        self.limiter = limiter

    def acquire(self, num_tokens: int = 0) -> None:
        """Leave it to the client."""

    async def async_acquire(self, num_tokens: int = 0) -> None:
        """Leave it to the client."""


class _Embedding(BaseEmbedding):
    """What both providers' classes share.

    Only what changes the vectors is dumped, since a dump is also the key of the ingestion cache:
    a new key or timeout must not embed a corpus anew. A pickle keeps everything.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        hide_input_in_errors=True,  # pydantic's messages would show the key
        populate_by_name=True,
        protected_namespaces=("pydantic_model_",),
        validate_assignment=True,
    )
    _provider: ClassVar[Literal["aimlapi", "nugen"]]

    model_name: str = Field(
        validation_alias=AliasChoices("model_name", "model"),
        description="Id of the model. No default: different models' vectors cannot be compared.",
    )
    api_key: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="The key; else the environment's."
    )
    api_base: str | None = Field(
        default=None,
        validation_alias=AliasChoices("api_base", "base_url"),
        description="The host; else the environment's, else the provider's own.",
    )
    dimensions: int | None = Field(
        default=None, description="Floats per vector; the model's own size when None."
    )
    task_type: TaskType | str | None = Field(
        default=None,
        description="What the vectors are for; the family's default pair when None.",
    )
    family: str | None = Field(
        default=None,
        description="Gives an id that is not known yet the rules of a known family.",
    )
    query_prefix: str | None = Field(
        default=None, description="Put in front of each query, instead of the family's prefix."
    )
    document_prefix: str | None = Field(
        default=None, description="Put in front of each text, instead of the family's prefix."
    )
    too_long: Literal["error", "truncate"] | None = Field(
        default=None,
        description="What the server does with a text over the model's limit; its way when None.",
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Fields added to the body of each request."
    )
    encoding_format: Literal["auto", "float", "base64"] = Field(
        default="auto",
        exclude=True,
        description="How vectors travel; 'auto' is base64 where the model documents it.",
    )
    embed_batch_size: int = Field(
        default=_WINDOW,
        gt=0,
        exclude=True,
        description="Most texts in a request, and in one event of the framework.",
    )
    batch_size: int | None = Field(
        default=None,
        exclude=True,
        description="Most texts in a request; can only lower the model's own limit.",
    )
    max_concurrency: int = Field(
        default=8,
        exclude=True,
        description="Most requests under way at a time, over all calls of this object.",
    )
    max_retries: int = Field(
        default=5, exclude=True, description="Repeats of a request after its first attempt."
    )
    max_retry_wait: float = Field(
        default=60.0,
        exclude=True,
        description="Longest wait in seconds that the server may ask for; a longer one raises.",
    )
    timeout: float = Field(
        default=60.0,
        exclude=True,
        description="Seconds that connecting, sending, and each wait for a reply may take.",
    )
    show_progress: bool = Field(
        default=False,
        exclude=True,
        description="Whether batches show a bar, also inside an IngestionPipeline.",
    )
    default_headers: Mapping[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Sent with each request."
    )
    http_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.Client for sync calls."
    )
    async_http_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.AsyncClient for async calls."
    )
    allow_http: bool = Field(
        default=False,
        exclude=True,
        description="Whether the key may travel unencrypted to a host that is not this machine.",
    )
    num_workers: int | None = Field(
        default=None, exclude=True, description="Bounds the requests under way, too, where lower."
    )
    embeddings_cache: Any = Field(
        default=None, exclude=True, repr=False, description="A KVStore of the framework."
    )

    _client: EmbeddingsClient | None = PrivateAttr(default=None)
    _built_with: dict[str, Any] | None = PrivateAttr(default=None)

    @property
    def client(self) -> EmbeddingsClient:
        """The shared client: `.usage` tells the cost so far, `.close()` closes connections."""
        options = self._core_options()
        if self._client is None or options != self._built_with:  # new, or fields were changed
            self._client = EmbeddingsClient(provider=self._provider, **options)
            self._built_with = options
        return self._client

    if not TYPE_CHECKING:  # checkers and editors are to see the fields

        def __init__(self, **data: Any) -> None:
            # pydantic's frames and the details of its errors hold what it is given.
            hide_arguments(data, self._names(), {"api_key"}, SecretStr)
            super().__init__(**data)

    @classmethod
    def _names(cls) -> list[tuple[str, ...]]:
        aliases = {"model_name": ("model",), "api_base": ("base_url",)}
        return [(name, *aliases.get(name, ())) for name in cls.model_fields]

    @model_validator(mode="before")
    @classmethod
    def _check_arguments(cls, values: Any) -> Any:
        check_arguments(cls.__name__, values, cls._names())
        return values

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        _ = self.client  # which refuses options that cannot work
        return self

    def _core_options(self) -> dict[str, Any]:
        """Translate LlamaIndex's names into the client's."""
        return {
            "model": self.model_name,
            "api_key": self.api_key,
            "base_url": self.api_base,
            "dimensions": self.dimensions,
            "task_type": self.task_type,
            "family": self.family,
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "too_long": self.too_long,
            "encoding_format": self.encoding_format,
            "batch_size": min(self.batch_size or _WINDOW, self.embed_batch_size),
            "max_concurrency": min(self.max_concurrency, self.num_workers or self.max_concurrency),
            "max_retries": self.max_retries,
            "max_retry_wait": self.max_retry_wait,
            "timeout": self.timeout,
            "rate_limiter": getattr(self.rate_limiter, "limiter", None),
            "headers": dict(self.default_headers or {}),
            "extra_body": dict(self.additional_kwargs),
            "http_client": self.http_client,
            "async_http_client": self.async_http_client,
            "allow_http": self.allow_http,
        }

    @field_validator("rate_limiter")
    @classmethod
    def _hand_over(cls, limiter: Any) -> Any:
        handed_over = limiter is None or isinstance(limiter, _AskedByTheClient)
        return limiter if handed_over else _AskedByTheClient(limiter)

    @field_serializer("task_type")
    def _plain_task_type(self, task_type: TaskType | str | None) -> str | None:
        return None if task_type is None else str(task_type)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the framework stores this class."""
        return cls.__name__

    def to_payload(self) -> dict[str, Any]:
        """Return what events and callbacks may show: nothing secret."""
        return {
            **super().to_payload(),
            "dimensions": self.dimensions,
            "task_type": self._plain_task_type(self.task_type),
        }

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Connections and limiters cannot be copied; every kind of copy shares them.
        memo = {} if memo is None else memo
        given = (self.http_client, self.async_http_client, self.rate_limiter)
        memo.update((id(one), one) for one in (*given, self._client, self._built_with))
        return super().__deepcopy__(memo)

    # Pickled as pydantic does it. The base would drop what cannot be pickled, from this object
    # too, with a log line; and where `__init__` then fails, it goes on with a half-built object.
    def __getstate__(self) -> dict[Any, Any]:
        check_picklable(self.class_name(), self.__dict__)
        return BaseModel.__getstate__(self)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self.client.embed([query], role="query").vectors[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self.client.aembed([query], role="query")).vectors[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self.client.embed(texts, progress=_progress.get()).vectors

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return (await self.client.aembed(texts, progress=_progress.get())).vectors

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n texts that are to be searched.

        Args:
            texts: n strings, none empty.
            show_progress: Whether to show a bar that moves with each finished request.
            **kwargs: For the framework.

        Returns:
            n vectors of d floats, in the order of the texts.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; `.partial` holds what was finished.
        """
        texts = check_texts(texts)
        cached, embed = self._get_text_embeddings_cached, self._get_text_embeddings
        with self._told(texts) as vectors, self._shown(texts, show_progress):
            vectors += (embed if self.embeddings_cache is None else cached)(texts)
        return vectors

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Embedding]:
        """Embed n texts, like `get_text_embedding_batch`, with the same requests."""
        texts = check_texts(texts)
        cached, embed = self._aget_text_embeddings_cached, self._aget_text_embeddings
        with self._told(texts) as vectors, self._shown(texts, show_progress):
            vectors += await (embed if self.embeddings_cache is None else cached)(texts)
        return vectors

    @contextmanager
    def _told(self, texts: list[str]) -> Iterator[list[Embedding]]:
        """Tell callbacks and event handlers about texts; their vectors go into the list.

        The base does the same for each window before it embeds the next one, which would hold up
        the requests, and lets pydantic check and copy each vector for the last event: half as much
        work again as embedding them. They were checked when they were decoded; those of an
        `embeddings_cache` are the cache's word.
        """
        windows = range(0, len(texts), self.embed_batch_size)
        payload = self.to_payload()
        vectors: list[Embedding] = []
        with ExitStack() as callbacks:
            events = []
            for _ in windows:
                dispatcher.event(EmbeddingStartEvent(model_dict=payload))
                started = self.callback_manager.event(
                    CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: payload}
                )
                events.append(callbacks.enter_context(started))
            yield vectors
            for event, start in zip(events, windows, strict=True):
                window = slice(start, start + self.embed_batch_size)
                chunks, embeddings = texts[window], vectors[window]
                event.on_end({EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: embeddings})
                dispatcher.event(
                    EmbeddingEndEvent.model_construct(chunks=chunks, embeddings=embeddings)
                )

    @contextmanager
    def _shown(self, texts: list[str], show_progress: bool) -> Iterator[None]:
        if not (texts and (show_progress or self.show_progress)):
            yield
            return
        with progress_bar("Generating embeddings") as move:
            token = _progress.set(move)
            try:
                yield
            finally:
                _progress.reset(token)


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
