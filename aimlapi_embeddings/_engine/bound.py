"""A bound on requests in flight that adapts to what the server takes.

Three rules change it, and it never exceeds the figure it began with:

- A 429 halves what is in flight, once for all requests that had left by then; the others that are
  refused with it show how many the server really took, and the bound follows.
- Successes raise it again: fast to just below the figure that was refused, from there slowly, and
  more slowly each time the same figure is refused again. So a server's own limit is found,
  and seldom exceeded.
- After a batch that was too large, requests leave one at a time, and each success doubles that. So
  one request probes for a size that fits, and not all of them at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

# Rounds (as many successes as the bound allows) before a bound that was refused is tried again.
# With a server that takes 8 at once and 8 at first, one request in 65 is refused, then in 129.
_FIRST_PATIENCE = 8
_MOST_PATIENCE = 64

WakeUp = Callable[[], None]


class Bound:
    """At most `limit` requests in flight, for those that hold its tickets.

    Attributes:
        most: The figure it began with.
        holders: Requests in flight by ticket, with the event loop that awaits each one, or None
            where a thread waits. Only single dict operations change it, which need no lock.
        waiting: Wake-ups of those that wait for a ticket, by priority: interactive calls, then
            the rest, each in order of arrival.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.holders: dict[int, asyncio.AbstractEventLoop | None] = {}
        self.waiting: tuple[deque[WakeUp], deque[WakeUp]] = (deque(), deque())
        self._limit = most
        self._refused_at = most + 1  # the figure that was refused last
        self._newest_refused = 0  # requests up to this ticket left before the last halving
        self._patience = _FIRST_PATIENCE
        self._successes = 0
        self._probing = most  # the bound while a size is probed
        self._probing_since = 0
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """The bound as it is now."""
        return min(self._limit, self._probing)

    @property
    def free(self) -> int:
        """How many more requests may leave now."""
        return self.limit - len(self.holders)

    def succeeded(self, ticket: int) -> None:
        """Note a request that brought vectors."""
        with self._lock:
            if self._probing < self.most and ticket > self._probing_since:
                self._probing *= 2
            if self._limit < self.most:
                self._successes += 1
                if self._successes >= self._successes_to_grow():
                    self._limit += 1
                    self._successes = 0
                    if self._limit > self._refused_at:  # the server takes more than it did
                        self._refused_at = self.most + 1

    def _successes_to_grow(self) -> int:
        if self._limit + 1 < self._refused_at:
            return 1
        return self._limit * (self._patience if self._limit < self._refused_at else 1)

    def refused(self, ticket: int, newest: int) -> None:
        """Note a 429.

        Args:
            ticket: Of the refused request, which is still among the holders if it is of this bound.
            newest: The newest ticket given so far.
        """
        others = len(self.holders) - (ticket in self.holders)
        with self._lock:
            if ticket <= self._newest_refused:
                # Refused together with another: what is left in flight is what the server took.
                self._limit = max(1, min(self._limit, others))
                return
            figure = min(self._limit, others + 1)
            if figure > 1:  # a single request is refused for a rate, which tells no figure
                again = figure == self._refused_at
                self._patience = (
                    min(self._patience * 2, _MOST_PATIENCE) if again else (_FIRST_PATIENCE)
                )
                self._refused_at = figure
            self._limit = max(1, figure // 2)
            self._newest_refused = newest
            self._successes = 0

    def probe(self, newest: int) -> None:
        """Let requests leave one at a time, and double that with each success from now on."""
        with self._lock:
            self._probing_since = newest
            self._probing = 1

    def wake(self) -> None:
        """Wake as many waiters as may leave, those of interactive calls first.

        A waiter stays in its queue until it has a ticket, so a wake-up that no waiter receives
        is not lost: each waiter also checks by itself from time to time.
        """
        if not any(self.waiting):
            return
        free = self.free
        for queue in self.waiting:
            for wake_up in list(queue)[: max(free, 0)]:
                free -= 1
                wake_up()
