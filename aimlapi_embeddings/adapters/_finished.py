"""What is finished and paid for is not lost when the framework, a handler or a store raises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from aimlapi_embeddings._engine.meter import track_usage
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._result import PartialResult, attach_partial
from aimlapi_embeddings._types import Vector

# Seconds by which storing what is finished may delay a cancellation.
_LONGEST = 1.0


@contextmanager
def keeping_finished() -> Iterator[list[Vector]]:
    """Give a list for vectors; an error that is raised when they are in it carries them.

    The error of a call that brought no vectors keeps the `partial` that it has. One that is raised
    after the call is of others, such as a handler that embeds too, and a `partial` that it has is
    of other texts.
    """
    vectors: list[Vector] = []
    with track_usage() as usage:
        try:
            yield vectors
        except BaseException as error:
            if vectors:
                attach_partial(error, lambda: PartialResult(_buffer_of(vectors), usage.snapshot()))
            raise


@contextmanager
def storing_before(error: BaseException, store: str) -> Iterator[None]:
    """Let what is finished be stored before an error is raised; a store that fails becomes a note.

    A store that takes long is ended by a second Ctrl-C. Then the first one is raised, which carries
    what was finished.

    Args:
        error: That ends the call.
        store: What the user calls it.
    """
    try:
        yield
    except BaseException as failure:
        if not isinstance(failure, Exception | type(error)):
            raise
        said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
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
