"""What is finished and paid for outlasts the errors that end a call, and those of the framework."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aimlapi_embeddings._engine.meter import track_usage
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._result import PartialResult, attach_partial, partial_of
from aimlapi_embeddings._types import Vector

# Seconds by which storing what is finished may delay a cancellation.
_LONGEST = 1.0


@contextmanager
def keeping_finished() -> Iterator[list[Vector]]:
    """Give a list for vectors; an error that is raised when they are in it carries them.

    An error of the client has a `partial` of its own, and keeps it.
    """
    vectors: list[Vector] = []
    with track_usage() as usage:
        try:
            yield vectors
        except BaseException as error:
            if vectors and partial_of(error) is None:
                attach_partial(error, lambda: PartialResult(_buffer_of(vectors), usage.snapshot()))
            raise


@contextmanager
def storing_before(error: BaseException, store: str) -> Iterator[None]:
    """Let what is finished be stored before an error is raised; a store that fails becomes a note.

    Args:
        error: That ends the call.
        store: What the user calls it.
    """
    try:
        yield
    except Exception as failure:
        said = f"{type(failure).__name__}: {failure}"
        error.add_note(f"{store} did not take all that was finished: {said}")


@asynccontextmanager
async def astoring_before(error: BaseException, store: str) -> AsyncIterator[None]:
    """Do as `storing_before`; a cancellation waits for a second at most."""
    import asyncio

    longest = _LONGEST if isinstance(error, asyncio.CancelledError) else None
    with storing_before(error, store):
        async with asyncio.timeout(longest):
            yield


def _buffer_of(vectors: Sequence[Vector]) -> VectorBuffer:
    buffer = VectorBuffer(len(vectors))
    buffer.place(range(len(vectors)), vectors)
    return buffer
