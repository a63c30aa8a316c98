"""Is a failed request repeated, and after how long?

A server that says how long to wait is obeyed, by every request of the client. A failure that says
nothing delays only the request it met, by full jitter (a random share of an exponentially growing
bound), which spreads many repeats best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (2026-11-20).

A 429 without a hint has two meanings. While other requests get through, too many were in flight:
the bound is lowered, and the repeat follows soon. When nobody gets through, a budget is used up,
and budgets are counted per minute: the waits outlast one.
"""

from __future__ import annotations

import random

import msgspec

from aimlapi_embeddings._engine.pacing import Pacer
from aimlapi_embeddings._errors import APIConnectionError, APIStatusError
from aimlapi_embeddings._protocol.retry_hints import RetryHint
from aimlapi_embeddings._protocol.status import is_repeated

_FIRST_BOUND = 0.5  # seconds
_LARGEST_BOUND = 20.0  # seconds
_OUTAGE_WAITS = (1.0, 4.0, 10.0, 20.0, 30.0)  # seconds; 65 in all
_OUTAGE_JITTER = 0.25  # of the wait, added to it
# A request that is refused while others get through is repeated without counting, but not for ever.
_MOST_UNCOUNTED = 50
_FEWER_REQUESTS = (
    "Lower max_concurrency or set a rate_limiter, so that fewer requests are refused, or raise "
    "max_retries."
)


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often, and how long at most.

    Attributes:
        max_retries: Repeats after the first attempt.
        max_retry_wait: Longest wait, in seconds, that a server may ask for.
    """

    max_retries: int
    max_retry_wait: float


class GiveUp(msgspec.Struct, frozen=True):
    """The request is not repeated.

    Attributes:
        reason: For the error's message; "" where its status says it all.
        advice: What to do about the reason; "" where the status's own advice holds.
    """

    reason: str = ""
    advice: str = ""


class Retries(msgspec.Struct):
    """The failures of one request so far.

    Attributes:
        policy: How often and how long.
        pacer: Of the client.
        failures: Attempts that failed.
        counted: Those that cost one of the retries.
        got_through: How many requests of the client had brought vectors at the last failure.
    """

    policy: RetryPolicy
    pacer: Pacer
    failures: int = 0
    counted: int = 0
    got_through: int = -1

    def __post_init__(self) -> None:
        self.got_through = self.pacer.got_through

    def after_connection_error(self, error: APIConnectionError) -> float | GiveUp:
        """Say how many seconds to wait after a lost connection."""
        self.failures += 1
        if error.permanent or self._is_used_up():
            return GiveUp()
        return self._back_off()

    def after_status_error(
        self, error: APIStatusError, hint: RetryHint | None, *, outage: bool
    ) -> float | GiveUp:
        """Say how many seconds to wait after an error status.

        Args:
            error: What the server answered.
            hint: When it wants to be asked again.
            outage: For a 429, whether nobody got through since the refusals before. It counts as
                one only when nobody got through since this request's own last failure either:
                a slow server refuses often between two successes.
        """
        self.failures += 1
        if not is_repeated(error):
            return GiveUp()
        longest = self.policy.max_retry_wait
        if hint and hint.binding and hint.seconds > longest:
            return GiveUp(
                f"the server asks to wait {hint.seconds:,.0f} s, more than "
                f"max_retry_wait={longest:g}",
                "Call again after that time, or raise max_retry_wait.",
            )
        limited = error.status_code == 429
        got_through = self.pacer.got_through
        outage = outage and got_through == self.got_through
        self.got_through = got_through
        counts = outage or not limited or self.failures - self.counted > _MOST_UNCOUNTED
        if (counts or self.policy.max_retries == 0) and self._is_used_up():
            reason = f"max_retries={self.policy.max_retries} is used up"
            return GiveUp(reason, _FEWER_REQUESTS if limited else "")
        if hint and hint.seconds > 0:
            self.pacer.wait_for(min(hint.seconds, longest))
            return 0.0
        if limited and outage and hint is None:
            wait = _OUTAGE_WAITS[min(self.counted, len(_OUTAGE_WAITS)) - 1]
            return min(wait * (1.0 + random.uniform(0.0, _OUTAGE_JITTER)), longest)
        return self._back_off()

    def _is_used_up(self) -> bool:
        """Count one retry, unless none is left."""
        if self.counted >= self.policy.max_retries:
            return True
        self.counted += 1
        return False

    def _back_off(self) -> float:
        bound = _FIRST_BOUND * 2.0 ** min(self.failures - 1, 99)
        return random.uniform(0.0, min(bound, _LARGEST_BOUND, self.policy.max_retry_wait))
