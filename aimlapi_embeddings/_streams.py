"""What `embed_iter` and `aembed_iter` give back."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Generator,
    Iterator,
    Mapping,
    Set,
)
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

from aimlapi_embeddings._engine.stream_run import ended
from aimlapi_embeddings._engine.stream_window import Window
from aimlapi_embeddings._types import Usage

if TYPE_CHECKING:
    from asyncio import Task

T = TypeVar("T")


class _Stream:
    """What streams of both modes share: what they have cost, and the texts without a vector."""

    _other_reader: ClassVar[str]

    def __init__(self, window: Window[Any]) -> None:
        self._window = window

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled: its source and its requests in "
            "flight belong to one process. Pickle the client instead, and begin a stream there."
        )

    def _refuse_second_reader(self, *, is_read: bool) -> None:
        """Raise when another caller is reading this stream."""
        if is_read:
            raise RuntimeError(
                f"this stream is being read already, by another {self._other_reader}, or by what "
                "called its own source or progress. Only one at a time may read or close it."
            ) from None

    @property
    def usage(self) -> Usage:
        """What the replies so far have cost."""
        return self._window.bill.usage

    @property
    def invalid(self) -> Mapping[int, str]:
        """Why a text was handed over as None, by its position in the stream.

        It holds the first 1,000 of them, so that it stays small; `invalid_count` counts all.
        """
        return MappingProxyType(self._window.invalid)

    @property
    def invalid_count(self) -> int:
        """How many texts were handed over as None so far."""
        return self._window.invalid_count


class EmbeddingStream(_Stream, Iterator[T], Generic[T]):
    """Vectors, or results, in the order of the texts; see `EmbeddingsClient.embed_iter`.

    It reads its source and sends requests only while the next vector is requested. Requests in
    flight go on in between. It ends with its source, with an error, or by `close()`. Close it
    where a loop ends early, with `with` or `close()`; deleting it closes it too.
    """

    _other_reader = "thread"

    def __init__(self, steps: Generator[T, None, None], window: Window[Any]) -> None:
        super().__init__(window)
        self._steps = steps

    def __next__(self) -> T:
        try:
            return next(self._steps)
        except ValueError:  # of a generator that is running
            self._check_reader()
            raise

    def close(self) -> None:
        """End the stream: nothing more is read or sent, and requests in flight are cancelled.

        Raises:
            RuntimeError: The stream is being read, by another thread or by the caller.
        """
        try:
            self._steps.close()
        except ValueError:  # of a generator that is running
            self._check_reader()
            raise

    def _check_reader(self) -> None:
        is_read = inspect.getgeneratorstate(self._steps) == inspect.GEN_RUNNING
        self._refuse_second_reader(is_read=is_read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class AsyncEmbeddingStream(_Stream, AsyncIterator[T], Generic[T]):
    """Vectors, or results, in the order of the texts; see `EmbeddingsClient.aembed_iter`.

    Like `EmbeddingStream`. It belongs to the event loop in which its first vector was requested.
    When a wait for a vector is cancelled, the stream ends.
    """

    _other_reader = "task"

    def __init__(
        self, steps: AsyncGenerator[T, None], window: Window[Any], tasks: Set[Task[None]]
    ) -> None:
        super().__init__(window)
        self._steps: Any = steps  # whose `ag_running` the type does not name
        self._tasks = tasks

    def __anext__(self) -> Awaitable[T]:
        if self._window.was_cut_off:  # without this it would look like its end
            raise RuntimeError(
                "this stream has ended with the event loop in which it was begun, before all of "
                "its texts were embedded; begin one in this loop."
            )
        self._refuse_second_reader(is_read=self._steps.ag_running)
        step: Awaitable[T] = self._steps.__anext__()
        return step

    async def aclose(self) -> None:
        """End the stream: nothing more is read or sent, and requests in flight are cancelled.

        Raises:
            RuntimeError: The stream is being read, by another task or by the caller.
        """
        self._refuse_second_reader(is_read=self._steps.ag_running)
        self._window.is_closed = True
        await self._steps.aclose()
        await ended(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
