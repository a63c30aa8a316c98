"""Fields, names and docstrings of LangChain on the shared client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from langchain_core.embeddings import Embeddings
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.utils import from_env, secret_from_env
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from aimlapi_embeddings import EmbeddingsClient, Progress, TaskType
from aimlapi_embeddings.adapters import (
    check_arguments,
    check_picklable,
    hide_arguments,
    progress_bar,
)


class _Embeddings(BaseModel, Embeddings):
    """What both providers' classes share: all but the key, the base URL and their names."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        hide_input_in_errors=True,  # pydantic's messages would show the key
        populate_by_name=True,
        protected_namespaces=(),
        validate_assignment=True,
    )
    _provider: ClassVar[Literal["aimlapi", "nugen"]]

    model: str
    """Id of the model. No default: vectors of different models cannot be compared."""
    dimensions: int | None = None
    """Floats per vector; the model's own size when None."""
    task_type: TaskType | str | None = None
    """What the vectors are for; the family's default pair when None."""
    family: str | None = None
    """Gives an id that is not known yet the rules of a known family, such as `"google"`."""
    query_prefix: str | None = None
    """Put in front of each query, instead of the family's own prefix."""
    document_prefix: str | None = None
    """Put in front of each document, instead of the family's own prefix."""
    too_long: Literal["error", "truncate"] | None = None
    """What the server does with a text over the model's limit; its own way when None."""
    encoding_format: Literal["auto", "float", "base64"] = "auto"
    """How vectors travel; `"auto"` is base64 where the model documents it."""
    chunk_size: int | None = Field(default=None, alias="batch_size")
    """Most texts in a request (alias `batch_size`); can only lower the model's own limit."""
    max_concurrency: int = 8
    """Most requests under way at a time, over all calls of this object."""
    max_retries: int = 5
    """Repeats of a request after its first attempt."""
    max_retry_wait: float = 60.0
    """Longest wait in seconds that the server may ask for; a longer one raises."""
    request_timeout: float = Field(default=60.0, alias="timeout")
    """Seconds that connecting, sending, and each wait for more of a reply may take."""
    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True, repr=False)
    """Asked once for each request."""
    show_progress_bar: bool = False
    """Whether `embed_documents` shows a bar."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Sent with each request, beside our own. May hold secrets: kept out of dumps."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Fields added to the body of each request, over our own."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` for sync calls; it is not closed by us."""
    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` for async calls, in its own event loop."""
    allow_http: bool = False
    """Whether the key may travel unencrypted to a host that is not this machine."""

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

    @property
    def cache_namespace(self) -> str:
        """The `namespace` for a `CacheBackedEmbeddings`: another one for each kind of vectors.

        Documents and queries share it, so `query_embedding_cache` must be a store of its own.
        """
        return self.client.cache_namespace

    if not TYPE_CHECKING:  # checkers and editors are to see the fields

        def __init__(self, **data: Any) -> None:
            # pydantic's frames and the details of its errors hold what it is given.
            hide_arguments(data, self._names(), {"api_key", f"{self._provider}_api_key"}, SecretStr)
            super().__init__(**data)

    @classmethod
    def _names(cls) -> list[tuple[str, ...]]:
        fields = cls.model_fields.items()
        return [(name, field.alias) if field.alias else (name,) for name, field in fields]

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
        """Translate LangChain's names into the client's."""
        return {
            "model": self.model,
            "api_key": getattr(self, f"{self._provider}_api_key"),
            "base_url": getattr(self, f"{self._provider}_api_base"),
            "dimensions": self.dimensions,
            "task_type": self.task_type,
            "family": self.family,
            "query_prefix": self.query_prefix,
            "document_prefix": self.document_prefix,
            "too_long": self.too_long,
            "encoding_format": self.encoding_format,
            "batch_size": self.chunk_size,
            "max_concurrency": self.max_concurrency,
            "max_retries": self.max_retries,
            "max_retry_wait": self.max_retry_wait,
            "timeout": self.request_timeout,
            "rate_limiter": self.rate_limiter,
            "headers": dict(self.default_headers or {}),
            "extra_body": dict(self.model_kwargs),
            "http_client": self.http_client,
            "async_http_client": self.http_async_client,
            "allow_http": self.allow_http,
        }

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Connections and limiters cannot be copied; every kind of copy shares them.
        memo = {} if memo is None else memo
        shared = (self.http_client, self.http_async_client, self.rate_limiter, self._client)
        memo.update((id(one), one) for one in shared)
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        check_picklable(type(self).__name__, self.__dict__)
        return super().__getstate__()

    def _progress(self) -> AbstractContextManager[Progress | None]:
        return progress_bar() if self.show_progress_bar else nullcontext()

    def embed_documents(
        self,
        texts: list[str],
        *,
        titles: Sequence[str | None] | None = None,
        task_type: TaskType | str | None = None,
    ) -> list[list[float]]:
        """Embed texts that are to be searched.

        Args:
            texts: n strings, none empty.
            titles: n titles or None, for models that take titles (Google's).
            task_type: Instead of the object's.

        Returns:
            n vectors of d floats, in the order of the texts.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; `.partial` holds what was finished.
        """
        with self._progress() as progress:
            return self.client.embed(
                texts, titles=titles, task_type=task_type, progress=progress
            ).vectors

    def embed_query(self, text: str, *, task_type: TaskType | str | None = None) -> list[float]:
        """Embed a text that is searched with.

        Args:
            text: A string, not empty.
            task_type: Instead of the object's.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self.client.embed([text], role="query", task_type=task_type).vectors[0]

    async def aembed_documents(
        self,
        texts: list[str],
        *,
        titles: Sequence[str | None] | None = None,
        task_type: TaskType | str | None = None,
    ) -> list[list[float]]:
        """Embed texts that are to be searched, like `embed_documents`, with the same requests."""
        with self._progress() as progress:
            result = await self.client.aembed(
                texts, titles=titles, task_type=task_type, progress=progress
            )
        return result.vectors

    async def aembed_query(
        self, text: str, *, task_type: TaskType | str | None = None
    ) -> list[float]:
        """Embed a text that is searched with, like `embed_query`, with the same request."""
        result = await self.client.aembed([text], role="query", task_type=task_type)
        return result.vectors[0]


class AIMLAPIEmbeddings(_Embeddings):
    """Embedding models of the AI/ML API.

    Setup:
        Install `aimlapi-embeddings[langchain]` and set the environment variable
        `AIMLAPI_API_KEY`.

        ```bash
        pip install -U "aimlapi-embeddings[langchain]"
        export AIMLAPI_API_KEY="your-api-key"
        ```

    Key init args — embedding params:
        model:
            Id of the model, such as `text-multilingual-embedding-002`.
        dimensions:
            Floats per vector, where the model lets one choose.
        task_type:
            What the vectors are for, where the model knows task types (Google's).

    Key init args — client params:
        api_key:
            The key; else `AIMLAPI_API_KEY`.
        base_url:
            The host; else `AIMLAPI_API_BASE`, else the AI/ML API's own.
        chunk_size:
            Most texts in a request.
        max_concurrency:
            Most requests under way at a time.
        max_retries:
            Repeats of a request after its first attempt.

    See the fields below for all of them.

    Instantiate:
        ```python
        from langchain_aimlapi_embeddings import AIMLAPIEmbeddings

        embeddings = AIMLAPIEmbeddings(model="text-multilingual-embedding-002")
        ```

    Embed single text:
        ```python
        vector = embeddings.embed_query("What does the fox jump over?")
        len(vector)
        ```
        ```python
        768
        ```

    Embed multiple texts:
        ```python
        vectors = embeddings.embed_documents(["The fox jumps over the dog.", "The dog sleeps."])
        len(vectors), len(vectors[0])
        ```
        ```python
        (2, 768)
        ```

    Async:
        ```python
        vector = await embeddings.aembed_query("What does the fox jump over?")
        vectors = await embeddings.aembed_documents(["The fox jumps over the dog."])
        ```
    """

    _provider = "aimlapi"

    aimlapi_api_key: SecretStr | None = Field(
        alias="api_key", default_factory=secret_from_env("AIMLAPI_API_KEY", default=None)
    )
    """The key (alias `api_key`); else `AIMLAPI_API_KEY`."""
    aimlapi_api_base: str | None = Field(
        alias="base_url", default_factory=from_env("AIMLAPI_API_BASE", default=None)
    )
    """The host (alias `base_url`); else `AIMLAPI_API_BASE`, else the AI/ML API's own."""


class NugenEmbeddings(_Embeddings):
    """Embedding models of Nugen.

    Setup:
        Install `aimlapi-embeddings[langchain]` and set the environment variable `NUGEN_API_KEY`.

        ```bash
        pip install -U "aimlapi-embeddings[langchain]"
        export NUGEN_API_KEY="your-api-key"
        ```

    Key init args — embedding params:
        model:
            Id of the model, such as `nugen-flash-embed`.
        dimensions:
            Floats per vector.

    Key init args — client params:
        api_key:
            The key; else `NUGEN_API_KEY`.
        base_url:
            The host; else `NUGEN_API_BASE`, else Nugen's own.

    See the fields below for all of them.

    Instantiate:
        ```python
        from langchain_aimlapi_embeddings import NugenEmbeddings

        embeddings = NugenEmbeddings(model="nugen-flash-embed", dimensions=256)
        ```

    Embed single text:
        ```python
        vector = embeddings.embed_query("What does the fox jump over?")
        len(vector)
        ```
        ```python
        256
        ```

    Embed multiple texts:
        ```python
        vectors = embeddings.embed_documents(["The fox jumps over the dog.", "The dog sleeps."])
        ```

    Async:
        ```python
        vector = await embeddings.aembed_query("What does the fox jump over?")
        vectors = await embeddings.aembed_documents(["The fox jumps over the dog."])
        ```
    """

    _provider = "nugen"

    nugen_api_key: SecretStr | None = Field(
        alias="api_key", default_factory=secret_from_env("NUGEN_API_KEY", default=None)
    )
    """The key (alias `api_key`); else `NUGEN_API_KEY`."""
    nugen_api_base: str | None = Field(
        alias="base_url", default_factory=from_env("NUGEN_API_BASE", default=None)
    )
    """The host (alias `base_url`); else `NUGEN_API_BASE`, else Nugen's own."""
