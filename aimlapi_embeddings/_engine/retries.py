"""Is a failed request repeated, and after how long?

A server that says how long to wait is obeyed, by every request of the client. A failure that says
nothing delays only the request it met, by full jitter (a random share of an exponentially growing
bound), which spreads many repeats best:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (2026-11-20).

A 429 without a hint has two meanings. While other requests get through, too many were in flight:
the bound is lowered, and the repeat follows soon. When none gets through, a budget is used up,
and budgets are counted per minute: all waits together are longer than a minute.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

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
    "Lower max_concurrency, or set requests_per_minute or a rate_limiter, so that fewer requests "
    "are refused; or raise {option}."
)


class RetryPolicy(msgspec.Struct, frozen=True):
    """How often, and how long at most.

    Attributes:
        max_retries: Repeats after the first attempt.
        max_retry_wait: Longest wait, in seconds, that a server may ask for.
        retry_for: Seconds after the first failure for which a request is repeated, however often;
            then `max_retries` does not matter. None counts attempts.
    """

    max_retries: int
    max_retry_wait: float
    retry_for: float | None = None

    @property
    def limit(self) -> str:
        """The option that bounds the repeats, as it was given."""
        if self.retry_for is None:
            return f"max_retries={self.max_retries}"
        return f"retry_for={self.retry_for:g}"


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
        now: A monotonic clock, in seconds.
        failures: Attempts that failed.
        counted: Those that cost one of the retries.
        got_through: How many requests of the client had brought vectors at the last failure.
        ends: The moment after which it is not repeated; infinite where repeats are counted.
    """

    policy: RetryPolicy
    pacer: Pacer
    now: Callable[[], float]
    failures: int = 0
    counted: int = 0
    got_through: int = -1
    ends: float = math.inf

    def __post_init__(self) -> None:
        self.got_through = self.pacer.got_through

    @property
    def used(self) -> str:
        """How much of the bound is used, for people."""
        if self.policy.retry_for is None:
            return f"{self.counted} of {self.policy.max_retries} used"
        return f"{self.counted} used, {self.left:,.0f} s left"

    @property
    def is_used_up(self) -> bool:
        """Whether the next failure ends the request, if it is one that counts."""
        if self.policy.retry_for is not None:
            return self.left <= 0
        return self.counted >= self.policy.max_retries

    @property
    def left(self) -> float:
        """Seconds for which the request is still repeated; infinite where repeats are counted."""
        return self.ends - self.now()

    def after_connection_error(self, error: APIConnectionError) -> float | GiveUp:
        """Say how many seconds to wait after a lost connection."""
        self._fail()
        if error.permanent:
            return GiveUp()
        return self._give_up() if self._none_left() else self._back_off()

    def after_status_error(
        self, error: APIStatusError, hint: RetryHint | None, *, outage: bool
    ) -> float | GiveUp:
        """Say how many seconds to wait after an error status.

        Args:
            error: What the server answered.
            hint: When it wants to be asked again.
            outage: For a 429, whether no request succeeded since the refusals before. It counts as
                one only when none succeeded since this request's own last failure either:
                a slow server refuses often between two successes.
        """
        self._fail()
        if not is_repeated(error):
            return GiveUp()
        longest = self.policy.max_retry_wait
        if hint and hint.binding and hint.seconds > min(longest, self.left):
            asks = f"the server asks to wait {hint.seconds:,.0f} s, more than"
            if hint.seconds > longest:
                most, option = f"max_retry_wait={longest:g}", "max_retry_wait"
            else:
                most, option = f"is left of {self.policy.limit}", "retry_for"
            return GiveUp(f"{asks} {most}", f"Call again after that time, or raise {option}.")
        limited = error.status_code == 429
        got_through = self.pacer.got_through
        outage = outage and got_through == self.got_through
        self.got_through = got_through
        counts = outage or not limited or self.failures - self.counted > _MOST_UNCOUNTED
        if self._none_left(counts=counts):
            return self._give_up(_FEWER_REQUESTS if limited else "")
        if hint and hint.seconds > 0:
            self.pacer.wait_for(min(hint.seconds, longest))
            return 0.0
        if limited and outage and hint is None:
            wait = _OUTAGE_WAITS[min(self.counted, len(_OUTAGE_WAITS)) - 1]
            return min(wait * (1.0 + random.uniform(0.0, _OUTAGE_JITTER)), longest, self.left)
        return self._back_off()

    def _fail(self) -> None:
        self.failures += 1
        if self.failures == 1 and self.policy.retry_for is not None:
            self.ends = self.now() + self.policy.retry_for

    def _none_left(self, *, counts: bool = True) -> bool:
        """Note one more repeat, if it counts; return whether none was left."""
        if self.policy.retry_for is not None:
            used_up = self.left <= 0
        else:
            most = self.policy.max_retries
            used_up = self.counted >= most and (counts or most == 0)
        self.counted += counts
        return used_up

    def _give_up(self, advice: str = "") -> GiveUp:
        option = self.policy.limit.partition("=")[0]
        return GiveUp(f"{self.policy.limit} is used up", advice.format(option=option))

    def _back_off(self) -> float:
        bound = _FIRST_BOUND * 2.0 ** min(self.failures - 1, 99)
        longest = min(bound, _LARGEST_BOUND, self.policy.max_retry_wait, self.left)
        return random.uniform(0.0, max(longest, 0.0))
