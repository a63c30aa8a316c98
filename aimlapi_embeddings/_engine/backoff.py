"""When may the next request leave?

Every batch of a client passes the same gate. A server that says how long to wait (`Retry-After`)
shuts it for all of them; a failure that says nothing delays only the batch it met, by full jitter
(a random share of an exponentially growing bound), which spreads the repeats of many batches best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (2026-11-20).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import msgspec

_FIRST_BOUND = 0.5  # seconds
_LARGEST_BOUND = 20.0  # seconds
# Requests that waited together must not leave together.
_REOPENING_SPREAD = 0.1  # of the wait


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often, and how long at most.

    Attributes:
        max_retries: Repeats after the first attempt.
        max_retry_wait: Longest wait, in seconds, that a server may ask for.
    """

    max_retries: int
    max_retry_wait: float

    def delay(self, retry: int) -> float:
        """Draw the seconds to wait before repeat number `retry`, counted from 0."""
        bound = min(_FIRST_BOUND * 2.0 ** min(retry, 99), _LARGEST_BOUND, self.max_retry_wait)
        return random.uniform(0.0, bound)


class Gate:
    """Opens again at a time; shared by all batches of a client, by threads and tasks alike."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._opens_at = float("-inf")
        self._lock = threading.Lock()  # held for one comparison, never across a wait

    def remaining(self) -> float:
        """Tell how many seconds to wait; 0 or less when the gate is open."""
        return self._opens_at - self._now()

    def shut_for(self, seconds: float) -> None:
        """Shut the gate, unless it is already shut for longer."""
        spread = seconds * random.uniform(0.0, _REOPENING_SPREAD)
        with self._lock:
            self._opens_at = max(self._opens_at, self._now() + seconds + spread)
