"""How many requests are under way?

One bound for all threads, tasks and event loops that share a client. A slot is held while a
request is on the wire and never across a wait. A refused rate (429 without a word on how long)
halves the bound; it then grows back by one each time as many requests as it allows have succeeded.
Who waited longest is woken first, but whoever asks in between may be faster: no fairness promised.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Slots:
    """At most `limit` holders at a time."""

    def __init__(self, limit: int) -> None:
        self.most = limit
        self._limit = limit
        self._taken = 0
        self._granted = 0  # slots given so far, to tell requests from before a halving
        self._halved_at = 0
        self._successes = 0
        self._lock = threading.Lock()
        self._sleepers: deque[Callable[[], None]] = deque()

    @property
    def limit(self) -> int:
        """The bound as it is now."""
        return self._limit

    def acquire(self, wake: threading.Event, stopped: Callable[[], bool]) -> int | None:
        """Take a slot, waiting in this thread; None when stopped.

        Args:
            wake: The thread's own event; whoever stops the thread sets it.
            stopped: Asked after each wait.
        """
        while True:
            wake.clear()  # before the question, or a stop in between would go unheard
            if stopped():
                self._forget(wake.set)
                return None
            if ticket := self._take(wake.set):
                return ticket
            try:
                wake.wait()
            except BaseException:  # Ctrl-C: the turn that may have come goes to the next one
                self._forget(wake.set)
                raise

    async def acquire_async(self) -> int:
        """Take a slot, waiting in this task."""
        loop = asyncio.get_running_loop()
        while True:
            future = loop.create_future()

            def wake(future: asyncio.Future[None] = future) -> None:
                loop.call_soon_threadsafe(_resolve, future)

            if ticket := self._take(wake):
                return ticket
            try:
                await future
            except asyncio.CancelledError:
                self._forget(wake)
                raise

    def release(self) -> None:
        """Give a slot back and wake one who waits for it."""
        with self._lock:
            self._taken -= 1
        self._wake_next()

    def succeeded(self) -> None:
        """Note a request that was not refused; the bound grows back by one now and then."""
        with self._lock:
            if self._limit == self.most:
                return
            self._successes += 1
            if self._successes < self._limit:
                return
            self._successes = 0
            self._limit += 1
        self._wake_next()

    def refused(self, ticket: int) -> None:
        """Halve the bound, once for all requests that left under the old one."""
        with self._lock:
            if ticket > self._halved_at:
                self._limit = max(1, self._limit // 2)
                self._halved_at = self._granted
                self._successes = 0

    def _take(self, wake: Callable[[], None]) -> int | None:
        with self._lock:
            if self._taken < self._limit:
                self._taken += 1
                self._granted += 1
                return self._granted
            self._sleepers.append(wake)
            return None

    def _wake_next(self) -> None:
        while True:
            with self._lock:
                if not self._sleepers or self._taken >= self._limit:
                    return
                wake = self._sleepers.popleft()
            try:
                wake()
            except RuntimeError:  # its event loop is closed: nobody waits there any more
                continue
            return

    def _forget(self, wake: Callable[[], None]) -> None:
        """Take a sleeper out; when it was already woken, its turn goes to the next one."""
        with self._lock:
            if wake in self._sleepers:
                self._sleepers.remove(wake)
                return
        self._wake_next()
