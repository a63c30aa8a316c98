"""Fields, names and docstrings of LangChain on the shared client."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Required, Unpack

from langchain_core.embeddings import Embeddings
from pydantic import Field, SecretStr
from pydantic.json_schema import SkipJsonSchema

from aimlapi_embeddings import TaskType
from aimlapi_embeddings.adapters import (
    BaseURL,
    EmbeddingsModel,
    Integer,
    Key,
    Options,
    ProgressFactory,
    Timeout,
    TimeoutLike,
    warn_user,
)

# What a subclass may replace to embed in a way of its own; each has an async twin.
_REPLACEABLE = ("embed_documents", "embed_query")


class LangChainOptions(Options, total=False):
    """Keyword arguments of both classes, for type checkers."""

    model: Required[str]
    chunk_size: int | None
    batch_size: int | None
    request_timeout: TimeoutLike | None
    timeout: TimeoutLike | None
    show_progress_bar: bool
    model_kwargs: dict[str, Any]
    http_async_client: Any
    api_key: SecretStr | str | None
    base_url: str | None


class AIMLAPIOptions(LangChainOptions, total=False):
    """Keyword arguments of `AIMLAPIEmbeddings`, for type checkers."""

    aimlapi_api_key: SecretStr | str | None
    aimlapi_api_base: str | None


class NugenOptions(LangChainOptions, total=False):
    """Keyword arguments of `NugenEmbeddings`, for type checkers."""

    nugen_api_key: SecretStr | str | None
    nugen_api_base: str | None


class _Embeddings(EmbeddingsModel, Embeddings):
    """What both providers' classes share: all but the key, the base URL and their names."""

    _options: ClassVar[dict[str, str]] = {
        "model": "model",
        "batch_size": "chunk_size",
        "timeout": "request_timeout",
        "extra_body": "model_kwargs",
        "async_http_client": "http_async_client",
    }
    _bar_field: ClassVar[str] = "show_progress_bar"
    _left_out: ClassVar[set[str]] = set()
    """Methods that a subclass replaces without their async twins."""
    _classes: ClassVar[dict[str, str]] = {
        "aimlapi": "AIMLAPIEmbeddings",
        "nugen": "NugenEmbeddings",
    }

    model: str
    """Id of the model. There is no default: vectors of different models cannot be compared."""
    chunk_size: Integer | None = Field(default=None, alias="batch_size")
    """Maximum number of texts in a request (alias `batch_size`). It can only lower the limits that
    hold without it, such as that of the model."""
    request_timeout: Timeout | None = Field(default=None, alias="timeout")
    """Seconds for connecting, for sending, and for each wait for more of a reply (alias `timeout`).
    None means 60, or the timeout of an HTTP client of your own. A pair `(connect, read)` or an
    `httpx.Timeout` sets them separately. An attempt as a whole may take three times as long as one
    wait for a reply."""
    show_progress_bar: bool = False
    """Whether `embed_documents` and `embed_documents_iter` show a bar."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Additional fields of the body of each request. They replace fields of the same name."""
    http_async_client: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` for async calls, in its own event loop. It is not closed by this
    client."""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        cls._left_out = {n for n in _REPLACEABLE if cls._place(n) < cls._place(f"a{n}")}

    def _warn_left_out(self, name: str) -> None:
        if name in self._left_out:
            warn_user(
                f"a{name} does not call the {name} that {type(self).__name__} replaces, so its "
                f"vectors may differ; replace a{name} too."
            )

    @classmethod
    def _place(cls, name: str) -> int:
        """Find the first class of the user's that has this method, else the framework's.

        Not in our own classes, where a tool that traces calls may have put its wrappers.
        """
        return next(
            place
            for place, each in enumerate(cls.__mro__)
            if name in vars(each) and each.__module__ != __name__
        )

    @classmethod
    def _replaces(cls, name: str) -> bool:
        """Whether a subclass of the user's has a method of its own under this name."""
        return cls._place(name) < cls.__mro__.index(_Embeddings)

    def _progress_factory(self, method: str) -> ProgressFactory:
        if self._replaces("embed_documents"):
            warn_user(
                f"a stream does not call the embed_documents that {type(self).__name__} replaces, "
                "so its vectors may differ from those of lists."
            )
        return super()._progress_factory(method)

    @property
    def cache_namespace(self) -> str:
        """The `namespace` for a `CacheBackedEmbeddings`. It is different for each kind of vectors.

        Documents and queries share it, so `query_embedding_cache` must be a store of its own. A
        subclass that embeds in a way of its own has another one, by its name and its fields.
        """
        namespace = self.client.cache_namespace
        if not any(self._replaces(f"{mode}{name}") for name in _REPLACEABLE for mode in ("", "a")):
            return namespace
        ours = {*_Embeddings.model_fields, *self._fields().values()}
        own = self.model_dump(include=type(self).model_fields.keys() - ours)
        way = hashlib.sha256(f"{type(self).__name__} {own}".encode()).hexdigest()
        return f"{namespace}-{way[:16]}"

    def embed_documents(
        self,
        texts: list[str],
        *,
        titles: Sequence[str | None] | None = None,
        task_type: TaskType | str | None = None,
    ) -> list[list[float]]:
        """Embed documents: texts that are stored and searched.

        Args:
            texts: n strings, none empty.
            titles: n titles or None, for models that take titles (Google's).
            task_type: Instead of the object's.

        Returns:
            n vectors of d floats, in the order of the texts.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; `.partial` holds what was finished.
        """
        with self._show_bar(self.show_progress_bar) as progress:
            return self.client.embed(
                texts, titles=titles, task_type=task_type, progress=progress
            ).vectors

    def embed_query(self, text: str, *, task_type: TaskType | str | None = None) -> list[float]:
        """Embed a query.

        Args:
            text: A string, not empty.
            task_type: Instead of the object's.

        Returns:
            d floats.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`.
        """
        return self.client.embed([text], role="query", task_type=task_type)[0]

    async def aembed_documents(
        self,
        texts: list[str],
        *,
        titles: Sequence[str | None] | None = None,
        task_type: TaskType | str | None = None,
    ) -> list[list[float]]:
        """Embed documents, like `embed_documents`, with the same requests."""
        if self._left_out:
            self._warn_left_out("embed_documents")
        with self._show_bar(self.show_progress_bar) as progress:
            result = await self.client.aembed(
                texts, titles=titles, task_type=task_type, progress=progress
            )
        return await result.avectors()

    async def aembed_query(
        self, text: str, *, task_type: TaskType | str | None = None
    ) -> list[float]:
        """Embed a query, like `embed_query`, with the same request."""
        if self._left_out:
            self._warn_left_out("embed_query")
        result = await self.client.aembed([text], role="query", task_type=task_type)
        return result[0]


class AIMLAPIEmbeddings(_Embeddings, defer_build=False):
    """Embedding models of the AI/ML API.

    Setup:
        Install `aimlapi-embeddings[langchain]` and set the environment variable
        `AIMLAPI_API_KEY`.

        ```bash
        pip install -U "aimlapi-embeddings[langchain]"
        export AIMLAPI_API_KEY="your-api-key"
        ```

    Key init args - embedding params:
        - `model`: Id of the model, such as `text-multilingual-embedding-002`.
        - `dimensions`: Size of the vectors, for models that offer several.
        - `task_type`: The task that the vectors are for (Google's models).

    Key init args - client params:
        - `api_key`: The key. None means the environment variable `AIMLAPI_API_KEY`.
        - `base_url`: The host. None means `AIMLAPI_API_BASE`, else the URL of the AI/ML API.
        - `chunk_size`: Maximum number of texts in a request.
        - `max_concurrency`: Maximum number of requests in flight.
        - `max_retries`: Maximum number of repeats of a request.

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
    _options: ClassVar[dict[str, str]] = {
        **_Embeddings._options,
        "api_key": "aimlapi_api_key",
        "base_url": "aimlapi_api_base",
    }

    aimlapi_api_key: Key | None = Field(default=None, alias="api_key")
    """The key (alias `api_key`). None means the environment variable `AIMLAPI_API_KEY`. It is not
    part of JSON dumps."""
    aimlapi_api_base: BaseURL | None = Field(default=None, alias="base_url")
    """The host (alias `base_url`). None means the environment variable `AIMLAPI_API_BASE`, else the
    URL of the AI/ML API. It is shown and dumped without its query string."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[AIMLAPIOptions]) -> None: ...


class NugenEmbeddings(_Embeddings, defer_build=False):
    """Embedding models of Nugen.

    Setup:
        Install `aimlapi-embeddings[langchain]` and set the environment variable `NUGEN_API_KEY`.

        ```bash
        pip install -U "aimlapi-embeddings[langchain]"
        export NUGEN_API_KEY="your-api-key"
        ```

    Key init args - embedding params:
        - `model`: Id of the model, such as `nugen-flash-embed`.
        - `dimensions`: Size of the vectors.

    Key init args - client params:
        - `api_key`: The key. None means the environment variable `NUGEN_API_KEY`.
        - `base_url`: The host. None means `NUGEN_API_BASE`, else the URL of Nugen.

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
    _options: ClassVar[dict[str, str]] = {
        **_Embeddings._options,
        "api_key": "nugen_api_key",
        "base_url": "nugen_api_base",
    }

    nugen_api_key: Key | None = Field(default=None, alias="api_key")
    """The key (alias `api_key`). None means the environment variable `NUGEN_API_KEY`. It is not
    part of JSON dumps."""
    nugen_api_base: BaseURL | None = Field(default=None, alias="base_url")
    """The host (alias `base_url`). None means the environment variable `NUGEN_API_BASE`, else the
    URL of Nugen. It is shown and dumped without its query string."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[NugenOptions]) -> None: ...
