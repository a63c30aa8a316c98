"""How long does the server ask us to wait, and may that wait be too long to be obeyed?

Servers say it in many places. Those that state a wait of their own are binding: `Retry-After`
(RFC 9110, 10.2.3), `retry-after-ms` (OpenAI, Azure), `retryDelay` (google.rpc.RetryInfo) and the
words of the message ("try again in 30s"). A rate-limit header only tells when a budget is full
again, which is later than when the next request fits: it is read where nothing else is said, for
the budget that is used up, and is never a reason to give up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

# Formats seen: "6m0s", "1h30m", "20s", "1.5s", "250ms", as Go and OpenAI write durations.
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|h|m|s))", re.I)
_WHOLE_DURATION = re.compile(rf"(?:{_DURATION.pattern})+", re.I)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT = (
    r"(\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)(?![a-z])"
)
_WORDS = re.compile(
    rf"(?:try again|retry|wait|retrying)(?: again)? (?:in|after|for)?\s*(?:about )?"
    rf"((?:{_AMOUNT}[\s,]*(?:and )?)+)",
    re.I,
)
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
# Only the beginning of an error page can hold the words; the rest of a large one is not searched.
_SEARCHED = 8192  # characters
# A number above this is a moment and not a wait: 2001-09-09 in seconds since 1970.
_EPOCH = 1e9
_BUDGETS = ("-requests", "-tokens", "")


class RetryHint(NamedTuple):
    """What a reply says about when to send again.

    Attributes:
        seconds: From now; 0 or less where the server says "now" or names a moment in the past.
        binding: Whether the server asks for this wait itself, so that a longer one than we are
            allowed to wait ends the call.
    """

    seconds: float
    binding: bool


def read_retry_hint(
    headers: Mapping[str, str], body: bytes | bytearray, wall_clock: Callable[[], float]
) -> RetryHint | None:
    """Read how long to wait; None when the reply does not tell.

    Args:
        headers: Of the reply, names in lower case.
        body: Of the reply.
        wall_clock: Seconds since 1970 here; only asked when the reply has no `Date` of its own,
            since a wrong local clock would turn a date into a wrong wait.
    """
    now = _moment(headers.get("date", "")) or wall_clock()
    if (seconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return RetryHint(seconds / 1000, binding=True)
    if (seconds := _retry_after(headers.get("retry-after", ""), now)) is not None:
        return RetryHint(seconds, binding=True)
    text = bytes(body[:_SEARCHED]).decode(errors="replace")
    if match := _RETRY_DELAY.search(text):
        return RetryHint(float(match[1]), binding=True)
    if match := _WORDS.search(text):
        seconds = sum(float(n) * _unit(unit) for n, unit in re.findall(_AMOUNT, match[1], re.I))
        return RetryHint(seconds, binding=True)
    resets = [_reset(headers, budget, now) for budget in _BUDGETS]
    known = [seconds for seconds in resets if seconds is not None]
    return RetryHint(max(known), binding=False) if known else None


def _retry_after(value: str, now: float) -> float | None:
    """Read `Retry-After`: seconds, fractions and signs too, or an HTTP date."""
    if (seconds := _number(value)) is not None:
        return seconds
    moment = _moment(value)
    return None if moment is None else moment - now


def _reset(headers: Mapping[str, str], budget: str, now: float) -> float | None:
    """Read when a budget that is used up is full again."""
    if _number(headers.get(f"x-ratelimit-remaining{budget}", "")) != 0:
        return None
    value = headers.get(f"x-ratelimit-reset{budget}", "").strip()
    if (seconds := _number(value)) is not None:
        if seconds > _EPOCH * 1000:  # milliseconds since 1970
            seconds /= 1000
        return seconds - now if seconds > _EPOCH else seconds
    if _WHOLE_DURATION.fullmatch(value):
        return sum(
            float(number) * _UNITS[unit.lower()] for number, unit in _DURATION.findall(value)
        )
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now


def _unit(name: str) -> float:
    name = name.lower()
    if name.startswith(("ms", "milli")):
        return 0.001
    return _UNITS[name[0]]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: str) -> float | None:
    """Read an HTTP date as seconds since 1970."""
    try:
        moment = parsedate_to_datetime(value.strip())
        # The oldest form of a date names no zone; RFC 9110, 5.6.7: it is GMT too.
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, OSError, IndexError, TypeError):
        return None
