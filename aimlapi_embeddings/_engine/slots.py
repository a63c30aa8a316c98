"""How many requests are under way?

One bound for all threads, tasks and event loops that share a client. A slot is held while a
request is on the wire and never across a wait. Two things lower the bound for a while:

- A rate that is refused (429 without a word on how long) halves it. It grows back fast to just
  below where it was refused, and from there on slowly, with more patience each time the same bound
  is refused again: the server's own limit is found, and seldom run into.
- A request that is too large leaves one slot; each smaller one that succeeds doubles that again. So
  a size is tried out by one request and not by all.

Who waited longest is woken first, but whoever asks in between may be faster: no fairness promised.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


# Rounds (as many successes as the bound allows) before a bound that was refused is tried again.
# With a server that takes 8 at once and 8 at first, one request in 65 is refused, then in 129.
_FIRST_PATIENCE = 8
_MOST_PATIENCE = 64


class Slots:
    """At most `limit` holders at a time."""

    def __init__(self, limit: int) -> None:
        self.most = limit
        self._limit = limit
        self._taken = 0
        self._granted = 0  # slots given so far; a slot's number tells what it left under
        self._halved_at = 0
        self._ceiling = limit + 1  # the bound that was refused last
        self._patience = _FIRST_PATIENCE
        self._successes = 0
        self._tried_since = 0
        self._trial = limit  # the bound while a size is tried out
        self._lock = threading.Lock()
        self._sleepers: deque[Callable[[], None]] = deque()

    @property
    def limit(self) -> int:
        """The bound as it is now."""
        return min(self._limit, self._trial)

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
        import asyncio  # which takes 20 ms that sync callers need not wait

        loop = asyncio.get_running_loop()
        while True:
            future = loop.create_future()

            def wake(future: asyncio.Future[None] = future) -> None:
                loop.call_soon_threadsafe(_resolve, future)

            if ticket := self._take(wake):
                return ticket
            try:
                await future
            except BaseException:  # cancelled, or thrown away with its loop
                self._forget(wake)
                raise

    def release(self) -> None:
        """Give a slot back and wake those who wait for it."""
        with self._lock:
            self._taken -= 1
        self._wake_next()

    def succeeded(self, ticket: int) -> None:
        """Note a request that brought vectors: a size is proven, the bound grows back."""
        with self._lock:
            if self._trial < self.most and ticket > self._tried_since:
                self._trial *= 2
            if self._limit < self.most:
                self._successes += 1
                if self._successes >= self._successes_to_grow():
                    self._limit += 1
                    self._successes = 0
        self._wake_next()

    def _successes_to_grow(self) -> int:
        if self._limit + 1 < self._ceiling:
            return 1
        return self._limit * (self._patience if self._limit < self._ceiling else 1)

    def refused(self, ticket: int) -> None:
        """Halve the bound, once for all requests that left under the old one."""
        with self._lock:
            if ticket <= self._halved_at:
                return
            again = self._limit == self._ceiling
            self._patience = min(self._patience * 2, _MOST_PATIENCE) if again else _FIRST_PATIENCE
            self._ceiling = self._limit
            self._limit = max(1, self._limit // 2)
            self._halved_at = self._granted
            self._successes = 0

    def try_one(self) -> None:
        """Leave one slot, and double it with each request from now on that succeeds."""
        with self._lock:
            self._tried_since = self._granted
            self._trial = 1

    def try_all(self) -> None:
        """Take `try_one` back: the size was not at fault."""
        with self._lock:
            self._trial = self.most
        self._wake_next()

    def _take(self, wake: Callable[[], None]) -> int | None:
        with self._lock:
            if self._taken < self.limit:
                self._taken += 1
                self._granted += 1
                return self._granted
            self._sleepers.append(wake)
            return None

    def _wake_next(self) -> None:
        """Wake as many as there are free slots for."""
        # Whoever came to sleep before a slot was freed is in sight; who came later found the slot.
        while self._sleepers and (wakes := self._next_sleepers()):
            gone = 0
            for wake in wakes:
                try:
                    wake()
                except RuntimeError:  # its event loop is closed: nobody waits there any more
                    gone += 1
            if not gone:
                return

    def _next_sleepers(self) -> list[Callable[[], None]]:
        with self._lock:
            free = max(0, self.limit - self._taken)
            return [self._sleepers.popleft() for _ in range(min(free, len(self._sleepers)))]

    def _forget(self, wake: Callable[[], None]) -> None:
        """Take a sleeper out; when it was already woken, its turn goes to the next one."""
        with self._lock:
            if wake in self._sleepers:
                self._sleepers.remove(wake)
                return
        self._wake_next()
