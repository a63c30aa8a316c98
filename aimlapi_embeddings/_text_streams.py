"""The client's methods that begin a stream of vectors: `embed_iter` and `aembed_iter`."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from aimlapi_embeddings._engine.progress import progress_context
from aimlapi_embeddings._engine.stream_forms import Bill
from aimlapi_embeddings._engine.stream_run import read_in_task, read_in_thread
from aimlapi_embeddings._engine.streams import lay_out_stream
from aimlapi_embeddings._errors import ShortTraceback
from aimlapi_embeddings._result import EmbeddingResult
from aimlapi_embeddings._runtime import Runtimes
from aimlapi_embeddings._streams import AsyncEmbeddingStream, EmbeddingStream
from aimlapi_embeddings._types import Progress, Role, TaskType, Vector

if TYPE_CHECKING:
    from asyncio import Task

Item: TypeAlias = str | tuple[str, str | None]
"""Of a source: a text, or a text and its title."""
ProgressContext: TypeAlias = AbstractContextManager[Progress | None]
ProgressFactory: TypeAlias = Callable[[Bill], ProgressContext]
"""Makes what is entered with a stream's first vector, and left at its end."""


class TextStreams:
    """Adds `embed_iter` and `aembed_iter` to the client."""

    _runtimes: Runtimes

    @overload
    def embed_iter(
        self,
        texts: Iterable[Item],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise"] = "raise",
        batches_of: None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Vector]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[Item | None],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["none"],
        batches_of: None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Vector | None]: ...
    @overload
    def embed_iter(
        self,
        texts: Iterable[Item | None],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int,
        window: int | None = None,
    ) -> EmbeddingStream[EmbeddingResult]: ...
    def embed_iter(
        self,
        texts: Iterable[Any],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int | None = None,
        window: int | None = None,
    ) -> EmbeddingStream[Any]:
        """Embed any number of texts in bounded memory; `aembed_iter` is the same for async callers.

        Vectors are handed over in the order of the texts, while further texts are read and requests
        are in flight. The source is read in the thread that asks for vectors, and nowhere else.

        Args:
            texts: An iterable of texts, or of tuples (text, title) for families that take titles;
                not (id, text). It may be endless. Where it tells its length, as a list does,
                requests are cut as evenly as those of `embed`; else they are full but for the last
                one.
            role: `"document"` for texts that are stored and searched, `"query"` for a question.
            task_type: Instead of the client's.
            progress: True shows a bar. A function is called as `progress(done, total)`, in texts,
                as replies come in; the total is what has been read where the source does not tell.
            on_invalid: What becomes of a text that is missing (None, NaN), empty, not writable in
                UTF-8, or refused by the server: `"raise"` raises in its turn, when all before it
                were handed over; `"none"` hands None over in its place. `invalid` of the stream
                tells why. An item of another type, such as a number, raises in any case.
            batches_of: Hand over an `EmbeddingResult` of so many places at a time, whose `array()`
                writers of stores take as it is. The last one, and one before an error, may be
                shorter. None in it is a row of NaN in `array()`, and None in `vectors`.
            window: Most texts that are read and not yet handed over. When None, as many as fill 8
                requests for each one that may be in flight, and at most 128 MB of vectors. A text
                that occurs twice within it is paid for once.

        Returns:
            An iterator of vectors, each a list of d floats, or of results. It has `usage`, and
            `close()`, which ends what is in flight; so does leaving a `with` block of it, or
            dropping it.

        Raises:
            ConfigurationError: An argument that cannot work.
            InvalidInputError: `texts` is no iterable of texts; or, in its turn, an invalid text.
            AIMLAPIError: As of `embed`, when all before it was handed over. `partial` holds what
                was finished behind it, and `partial.start` the position of its first text.

        Example:
            >>> with open("texts.txt") as lines:  # doctest: +SKIP
            ...     for vector in client.embed_iter(line.strip() for line in lines):
            ...         store(vector)
        """
        context = progress_context(progress)
        how = role, task_type, on_invalid, batches_of, window
        return self._stream(texts, lambda _: context, *how)

    @overload
    def aembed_iter(
        self,
        texts: Iterable[Item] | AsyncIterable[Item],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise"] = "raise",
        batches_of: None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Vector]: ...
    @overload
    def aembed_iter(
        self,
        texts: Iterable[Item | None] | AsyncIterable[Item | None],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["none"],
        batches_of: None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Vector | None]: ...
    @overload
    def aembed_iter(
        self,
        texts: Iterable[Item | None] | AsyncIterable[Item | None],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[EmbeddingResult]: ...
    def aembed_iter(
        self,
        texts: Iterable[Any] | AsyncIterable[Any],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        progress: Progress | bool | None = None,
        on_invalid: Literal["raise", "none"] = "raise",
        batches_of: int | None = None,
        window: int | None = None,
    ) -> AsyncEmbeddingStream[Any]:
        """Embed any number of texts like `embed_iter`, with the same requests.

        The source may be an async iterable. It is read in the task that asks for vectors.
        """
        context = progress_context(progress)
        how = role, task_type, on_invalid, batches_of, window
        return self._astream(texts, lambda _: context, *how)

    def _stream(
        self, texts: Iterable[Any], new_progress: ProgressFactory, *how: Any
    ) -> EmbeddingStream[Any]:
        """Begin a stream, with a bar and events that are the caller's own."""
        runtime = self._runtimes.current
        with ShortTraceback():
            window, new_call = lay_out_stream(runtime, texts, *how, is_async=False)
            source = iter(texts)
        steps = read_in_thread(window, source, new_call, runtime, new_progress(window.bill))
        return EmbeddingStream(steps, window)

    def _astream(
        self, texts: Iterable[Any] | AsyncIterable[Any], new_progress: ProgressFactory, *how: Any
    ) -> AsyncEmbeddingStream[Any]:
        """Begin an async stream, with a bar and events that are the caller's own."""
        runtime = self._runtimes.current
        with ShortTraceback():
            window, new_call = lay_out_stream(runtime, texts, *how, is_async=True)
            source = aiter(texts) if isinstance(texts, AsyncIterable) else iter(texts)
        tasks: set[Task[None]] = set()
        steps = read_in_task(window, source, new_call, runtime, new_progress(window.bill), tasks)
        return AsyncEmbeddingStream(steps, window, tasks)
