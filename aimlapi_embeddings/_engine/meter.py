"""What has been spent: by a client, and in a block of the user's over all clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aimlapi_embeddings._types import Usage


class Meter:
    """Adds up what all calls of a client cost, as the replies come in."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._lock = threading.Lock()

    def add(self, usage: Usage) -> None:
        """Add what one request cost, here and in the blocks around it."""
        self._count(usage)
        for block in _blocks.get():
            block._count(usage)

    def _count(self, usage: Usage) -> None:
        with self._lock:
            self.usage += usage


_blocks: ContextVar[tuple[Meter, ...]] = ContextVar("aimlapi_embeddings_usage", default=())


class TrackedUsage:
    """The usage of a block, as it is at the moment it is read.

    It has the attributes of a `Usage`, and is updated with each reply, in the block and after it.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def __repr__(self) -> str:
        return f"TrackedUsage({self.snapshot()!r})"

    def snapshot(self) -> Usage:
        """Return the current figures as a `Usage` that does not change."""
        return self._meter.usage

    @property
    def prompt_tokens(self) -> int:
        """Tokens billed for the input, as counted by the server."""
        return self._meter.usage.prompt_tokens

    @property
    def total_tokens(self) -> int:
        """The same for embeddings; some servers report only this one."""
        return self._meter.usage.total_tokens

    @property
    def credits_used(self) -> int:
        """The gateway's credits."""
        return self._meter.usage.credits_used

    @property
    def usd_spent(self) -> float:
        """US dollars."""
        return self._meter.usage.usd_spent

    @property
    def requests(self) -> int:
        """Requests sent, the refused and the failed ones included."""
        return self._meter.usage.requests

    @property
    def retries(self) -> int:
        """How many of those repeated an earlier one."""
        return self._meter.usage.retries

    @property
    def deduplicated(self) -> int:
        """Texts that were not sent because the same call held them already."""
        return self._meter.usage.deduplicated

    @property
    def cached(self) -> int:
        """Texts that were not sent because the cache had their vectors."""
        return self._meter.usage.cached


@contextmanager
def track_usage() -> Iterator[TrackedUsage]:
    """Count the usage of all calls in a block, of all clients and of both frameworks.

    Calls belong to the block by their context (`contextvars`): those of tasks that are started in
    it, of threads that carry the context (`asyncio.to_thread`, LangChain's executors), and of our
    own worker threads. A bare `threading.Thread` does not carry it; start
    `contextvars.copy_context().run` there. Other processes are not counted. A block within a block
    counts for both. A reply that comes after the block counts too, if its call began in it.

    Returns:
        A context manager that gives a `TrackedUsage`: its figures move with each reply.

    Example:
        >>> with track_usage() as usage:  # doctest: +SKIP
        ...     index = VectorStoreIndex.from_documents(documents)
        >>> usage.usd_spent  # doctest: +SKIP
        0.000113
    """
    meter = Meter()
    _blocks.set((*_blocks.get(), meter))
    try:
        yield TrackedUsage(meter)
    finally:
        # Not by a token: a generator may leave the block in another context than it entered it.
        _blocks.set(tuple(each for each in _blocks.get() if each is not meter))
