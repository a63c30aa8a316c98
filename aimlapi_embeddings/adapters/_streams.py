"""Streams of documents, the same in both frameworks."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._result import EmbeddingResult
from aimlapi_embeddings._streams import AsyncEmbeddingStream, EmbeddingStream
from aimlapi_embeddings._text_streams import Item, ProgressContext, ProgressFactory
from aimlapi_embeddings._types import TaskType, Vector


class DocumentStreams:
    """Adds `embed_documents_iter` and its async twin to a class that has a client."""

    _bar_field: ClassVar[str]
    """The framework's field that says whether bars are shown."""

    if TYPE_CHECKING:

        @property
        def client(self) -> EmbeddingsClient: ...

        def _show_bar(self, show: bool) -> ProgressContext: ...

    @overload
    def embed_documents_iter(
        self,
        texts: Iterable[Item],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise"] = "raise",
        batches_of: None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Vector]: ...
    @overload
    def embed_documents_iter(
        self,
        texts: Iterable[Item | None],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["none"],
        batches_of: None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Vector | None]: ...
    @overload
    def embed_documents_iter(
        self,
        texts: Iterable[Item | None],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int,
        window: int | None = None,
    ) -> EmbeddingStream[EmbeddingResult]: ...
    def embed_documents_iter(
        self,
        texts: Iterable[Any],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int | None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Any]:
        """Embed any number of texts that are to be searched, in bounded memory.

        Vectors are handed over in the order of the texts, while further texts are read and requests
        are in flight. The framework's caches are not part of it, such as LlamaIndex's
        `embeddings_cache`; `cache` of this object is.

        Args:
            texts: An iterable of texts, or of tuples (text, title); not (id, text).
            task_type: Instead of the object's.
            on_invalid: `"raise"` raises when it is the turn of a text that is missing (None, NaN),
                empty, not writable in UTF-8, or refused by the server; `"none"` hands None over in
                its place. An item of another type, such as a number, raises in any case.
            batches_of: Hand over an `EmbeddingResult` of so many places at a time instead, whose
                `array()` writers of stores take as it is.
            window: Most texts that are read and not yet handed over. When None, as many as fill 8
                requests for each one that may be in flight, and at most 128 MB of vectors.

        Returns:
            An iterator of vectors, each a list of d floats, or of results. Closing or dropping it
            ends what is in flight.

        Raises:
            AIMLAPIError: See `aimlapi_embeddings`; when all before it was handed over.
        """
        how = "document", task_type, on_invalid, batches_of, window
        return self.client._stream(texts, self._progress_factory("embed_documents_iter"), *how)

    @overload
    def aembed_documents_iter(
        self,
        texts: Iterable[Item] | AsyncIterable[Item],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise"] = "raise",
        batches_of: None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Vector]: ...
    @overload
    def aembed_documents_iter(
        self,
        texts: Iterable[Item | None] | AsyncIterable[Item | None],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["none"],
        batches_of: None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Vector | None]: ...
    @overload
    def aembed_documents_iter(
        self,
        texts: Iterable[Item | None] | AsyncIterable[Item | None],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[EmbeddingResult]: ...
    def aembed_documents_iter(
        self,
        texts: Iterable[Any] | AsyncIterable[Any],
        *,
        task_type: TaskType | str | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int | None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Any]:
        """Embed any number of texts like `embed_documents_iter`, with the same requests.

        The source may be an async iterable.
        """
        how = "document", task_type, on_invalid, batches_of, window
        return self.client._astream(texts, self._progress_factory("aembed_documents_iter"), *how)

    def _progress_factory(self, method: str) -> ProgressFactory:
        """Return what is entered with a stream's first vector and left at its end.

        Args:
            method: Of this class, which begins the stream.
        """
        show = getattr(self, self._bar_field)
        return lambda _: self._show_bar(show)
