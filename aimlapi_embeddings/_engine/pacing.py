"""When may a request be sent?

One pacer for all calls of a client: threads, tasks and event loops. A request may be sent when the
user's rate limiter grants it, when the server has not asked to wait, when the rates that the user
gave have room (`rate`), and when a bound on requests in flight has. What replies tell comes back
through `succeeded` and `refused`.

Interactive calls (one request of few texts) go first. Unless the user gave a number, they have a
bound of their own, so that users of a web server do not wait for an ingestion.

Every wait ends. Each waiter checks every 50 ms by itself, and when no holder of a ticket can run
(`blocked_loops`), one ticket more than the bound allows is given. Its holder can run, so one such
ticket at a time is enough.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import IntEnum
from typing import Any, NamedTuple

from aimlapi_embeddings._engine.blocked_loops import BlockedLoops
from aimlapi_embeddings._engine.bound import Bound, WakeUp
from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.rate import Place, Rates
from aimlapi_embeddings._engine.steps import Ask, Caller, Sleep, Step, Wait
from aimlapi_embeddings._log import ENGINE

# Requests in flight where the user gave no number.
BULK = 8
INTERACTIVE = 256
# Seconds after which a waiter checks by itself. This makes up for a wake-up that was lost with its
# event loop, and is the longest time until Ctrl-C takes effect.
_CHECK_INTERVAL = 0.05
# Where many wait, each one checks less often, so that all of them make 5,000 checks a second at
# most. With 2,000 tasks at once, checks took a quarter of a CPU.
_CHECK_SHARE = 0.0002  # seconds
# Requests that waited for the same moment leave spread over this share of the wait.
_SPREAD = 0.25
_LONGEST_SPREAD = 5.0  # seconds
# Seconds after which a request that waits for a rate looks again: others may have given up, or have
# had fewer tokens than was estimated.
_LONGEST_SLEEP = 1.0
# Seconds. A longer wait is logged as a warning, since the program may seem to hang.
LONG_WAIT = 5.0


class Lane(IntEnum):
    """Which calls go first; the number is the place of their queue."""

    INTERACTIVE = 0
    BULK = 1


class Permit(NamedTuple):
    """The permission to send one request; given back with `release`."""

    bound: Bound
    ticket: int


class Pacer:
    """Permits requests to be sent, and learns from their replies.

    Args:
        max_concurrency: The user's bound on all requests in flight; None for one bound each for
            bulk and for interactive calls.
        now: A monotonic clock, in seconds.
        limiter: The user's rate limiter, or None.
        before: A pacer that this one goes on for, with another bound or limiter. Requests in
            flight count for both, so that the change of an option does not lift the bound.
        requests_per_minute: The user's rate, or None.
        tokens_per_minute: The same for tokens.

    Attributes:
        rates: Those that the user gave.
    """

    def __init__(
        self,
        max_concurrency: int | None,
        now: Callable[[], float],
        limiter: Limiter | None,
        before: Pacer | None = None,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        rates_before: Rates | None = None if before is None else before.rates
        self.rates: Rates = Rates(requests_per_minute, tokens_per_minute, rates_before)
        bulk = Bound(max_concurrency or BULK)
        self._bounds = (Bound(INTERACTIVE) if max_concurrency is None else bulk, bulk)
        self._limiter = limiter
        self._now = now
        self._tickets = itertools.count(1)
        self._newest = 0
        self._opens_at = float("-inf")
        self._spread = 0.0
        self._warned_until = float("-inf")
        self._succeeded = 0
        self._succeeded_before = 0  # before the last 429s that came together
        self._newest_refused = 0
        self._outage = False
        self._loops = BlockedLoops()
        self._lock = threading.Lock()
        if before is not None:
            self._lock, self._tickets = before._lock, before._tickets
            self._opens_at, self._spread = before._opens_at, before._spread
            bulk.holders = before._bounds[Lane.BULK].holders

    @property
    def most(self) -> int:
        """Most requests of bulk calls in flight, for packing and for worker threads."""
        return self._bounds[Lane.BULK].most

    @property
    def got_through(self) -> int:
        """How many requests brought vectors so far."""
        return self._succeeded

    @property
    def closed_for(self) -> float:
        """Seconds for which no request may leave, as the server asked."""
        return max(self._opens_at - self._now(), 0.0)

    def acquire(self, lane: Lane, tokens: int, caller: Caller) -> Generator[Step, Any, Permit]:
        """Wait until a request of so many tokens may be sent."""
        if self._limiter is not None:
            yield Ask(tokens)
        due = float("-inf")
        place = self.rates.join(lane, tokens)
        try:
            while True:
                now = self._now()
                if self._opens_at > now:  # each request draws its own moment after it
                    due = self._opens_at + random.uniform(0.0, self._spread)
                if due > now:
                    yield Sleep(due - now)
                elif (opens := self.rates.opens(place)) > now:
                    self._warn_of_wait(opens, now)
                    yield Sleep(min(opens - now, _LONGEST_SLEEP))
                elif permit := (yield from self._queue(place, lane, caller)):
                    return permit
        finally:
            self.rates.quit(place)

    def _warn_of_wait(self, opens: float, now: float) -> None:
        """Log a long wait for the user's own rate, once for all requests that wait for it."""
        if opens - now > LONG_WAIT:
            with self._lock:
                first = now >= self._warned_until
                self._warned_until = max(self._warned_until, opens)
            if first:
                ENGINE.warning(
                    "waiting %.1f s before the next request, to keep to the requests or tokens "
                    "per minute of this client",
                    opens - now,
                )

    def _queue(
        self, place: Place, lane: Lane, caller: Caller
    ) -> Generator[Step, Any, Permit | None]:
        """Wait for a ticket; None when the server, or a rate, asks to wait in between."""
        bound = self._bounds[lane]
        if ticket := self._take(bound, place, lane, None, caller, timed_out=False):
            return Permit(bound, ticket)
        waiter = caller.waiter()
        wake_up = waiter.wake
        queue = bound.waiting[lane]
        queue.append(wake_up)
        timed_out = False
        try:
            while max(self._opens_at, self.rates.opens(place)) <= self._now():
                waiter.reset()  # before the look, so that no wake-up after it is missed
                if ticket := self._take(bound, place, lane, wake_up, caller, timed_out):
                    return Permit(bound, ticket)
                yield Wait(waiter, max(_CHECK_INTERVAL, len(queue) * _CHECK_SHARE))
                timed_out = not waiter.woken
            return None
        finally:
            with suppress(ValueError):
                queue.remove(wake_up)
            bound.wake()  # a wake-up that was meant for this waiter goes to the next one

    def release(self, permit: Permit) -> None:
        """Give the permission back. Takes no lock, since a finalizer may call it at any moment."""
        permit.bound.holders.pop(permit.ticket, None)
        permit.bound.wake()

    def succeeded(self, permit: Permit) -> None:
        """Note a request that brought vectors."""
        self._succeeded += 1
        permit.bound.succeeded(permit.ticket)

    def refused(self, permit: Permit) -> bool:
        """Note a 429, and lower the bounds.

        Returns:
            Whether no request succeeded since the refusals before: the server takes nothing at all
            now, and not only less than was in flight.
        """
        with self._lock:
            if permit.ticket > self._newest_refused:
                self._outage = self._succeeded == self._succeeded_before
                self._succeeded_before = self._succeeded
                self._newest_refused = self._newest
        for bound in set(self._bounds):
            bound.refused(permit.ticket, self._newest)
        return self._outage

    def wait_for(self, seconds: float) -> None:
        """Let no request leave for so long, unless it is already so for longer."""
        with self._lock:
            opens_at = self._now() + seconds
            if opens_at > self._opens_at:
                self._opens_at = opens_at
                self._spread = min(seconds * _SPREAD, _LONGEST_SPREAD)

    def probe(self) -> None:
        """Let bulk requests leave one at a time until some succeed: a batch was too large."""
        self._bounds[Lane.BULK].probe(self._newest)

    def correct_tokens(self, estimated: int, actual: int) -> None:
        """Note how many tokens a request had in truth; 0 where the reply does not tell."""
        if actual and self.rates.limited:
            with self._lock:
                self.rates.correct(estimated, actual)

    def _take(
        self,
        bound: Bound,
        place: Place,
        lane: Lane,
        wake_up: WakeUp | None,
        caller: Caller,
        timed_out: bool,
    ) -> int | None:
        """Take a ticket, where the rates and the bound have room and it is this waiter's turn.

        Args:
            bound: Whose ticket.
            place: In the line for the rates.
            lane: Whose turn.
            wake_up: This waiter in its queue; None when it has not begun to wait.
            caller: Who it is.
            timed_out: Whether the waiter has waited 50 ms in vain. Then it does not let the others
                go first any more, since those who would be first may never run again.
        """
        with self._lock:
            now = self._now()
            if self.rates.opens(place) > now:
                return None
            if not (bound.free > 0 and (timed_out or _is_next(bound, lane, wake_up))) and not (
                timed_out and self._loops.nobody_can_run(bound, caller)
            ):
                return None
            self._newest = ticket = next(self._tickets)
            bound.holders[ticket] = caller.loop
            self.rates.take(place, now)
            return ticket


def _is_next(bound: Bound, lane: Lane, wake_up: WakeUp | None) -> bool:
    """Tell whether no request of an earlier queue or place waits."""
    for earlier in bound.waiting[:lane]:
        if earlier:
            return False
    try:
        return bound.waiting[lane][0] == wake_up
    except IndexError:
        return True
