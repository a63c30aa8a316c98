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

from aimlapi_embeddings._protocol.error_body import find_message

# Formats seen: "6m0s", "1h30m", "20s", "1.5s", "250ms", as Go and OpenAI write durations; "30
# seconds"; "PT30S" of ISO 8601.
_UNIT = r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
_AMOUNT = rf"(\d{{1,9}}(?:\.\d{{1,9}})?|\b(?:an?|one)\b)\s*{_UNIT}"
_DURATION = r"(?i)(?:pt)?((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+)"
_PART = r"(?i)(\d+(?:\.\d+)?)\s*([a-z]+)"
_WHOLE_UNIT = rf"(?i){_UNIT}"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = (
    r"(?i)"
    r"(?:try (?:your request |it )?again|retry(?: your request| the request)?|retrying|wait|"
    r"(?<!not )available|(?<!connection )(?<!was )resets?)"
    r"(?: again| later)?,? ?(?:in|after|for|within)?\s*"
    r"(?:about |approximately |around )?"
    rf"((?:{_AMOUNT}[\s,]*(?:and )?)+)"
)
# Chinese and Japanese, "after 20 seconds": seconds, minutes, hours; after.
_HAN_WORDS = (
    r"(\d{1,9}(?:\.\d{1,9})?)\s*(\u79d2|\u5206|\u5c0f\u65f6|\u5c0f\u6642|\u6642)"
    r"[\u949f\u9418\u95f4\u9593]?(?:\u4e4b|\u4ee5)?[\u540e\u5f8c]"
)
_HAN_UNITS = {"\u79d2": 1.0, "\u5206": 60.0}  # else hours
# `retryDelay` of Google, and fields that others named after the header.
_RETRY_FIELD = (
    r'(?i)"retry[_-]?(?:after|delay)(?:[_-]?(ms|milliseconds|s|sec|seconds?))?"\s*:\s*'
    r'"?([^"{}\[\],]{1,40})'
)
# Only the beginning of an error page can hold the words; the rest of a large one is not searched.
_SEARCHED = 8192  # characters
# A number above this is a moment and not a wait: 2001-09-09 in seconds since 1970.
_EPOCH = 1e9
# Where a budget is told: "x-ratelimit-remaining-requests"; the last as drafts of the IETF have it.
_BUDGETS = tuple(
    (f"{start}-remaining{end}", f"{start}-reset{end}")
    for start, end in (
        ("x-ratelimit", "-requests"),
        ("x-ratelimit", "-tokens"),
        ("x-ratelimit", ""),
        ("ratelimit", ""),
    )
)


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
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (seconds := _number(headers.get(name, ""))) is not None:
            return RetryHint(seconds / 1000, binding=True)
    if (seconds := _retry_after(headers.get("retry-after", ""), now)) is not None:
        return RetryHint(seconds, binding=True)
    text = bytes(body[:_SEARCHED]).decode(errors="replace")
    if "\\u" in text:  # JSON in ASCII
        text += find_message(bytes(body))
    text = text.replace("\\", "")  # JSON of a vendor inside a message has its quotes escaped
    if (seconds := _wait_in(text, now)) is not None:
        return RetryHint(seconds, binding=True)
    resets = [_reset(headers, *names, now) for names in _BUDGETS]
    known = [seconds for seconds in resets if seconds is not None]
    return RetryHint(max(known), binding=False) if known else None


def _wait_in(text: str, now: float) -> float | None:
    """Read the wait that a body asks for, in a field or in words."""
    if match := re.search(_RETRY_FIELD, text):
        wait = _until(match[2].strip(), now)
        if wait is not None:
            return wait * _seconds_of(match[1] or "s")
    if match := re.search(_WORDS, text):
        parts = re.findall(_AMOUNT, match[1], re.I)
        return sum((float(n) if n[0].isdigit() else 1.0) * _seconds_of(unit) for n, unit in parts)
    if match := re.search(_HAN_WORDS, text):
        return float(match[1]) * _HAN_UNITS.get(match[2], _UNITS["h"])
    return None


def _retry_after(value: str, now: float) -> float | None:
    """Read `Retry-After`: seconds, fractions and signs too, or an HTTP date.

    What else servers send is read as a reset is. Of a header that came twice the longest wait
    counts, whose values HTTP libraries put together with a comma and a blank.
    """
    value = value.strip().strip("\"'")
    seconds = _until(value, now)
    if seconds is None and ", " in value:
        waits = [_retry_after(each, now) for each in value.split(", ", 8) if ", " not in each]
        return max((each for each in waits if each is not None), default=None)
    return seconds


def _reset(headers: Mapping[str, str], remaining: str, reset: str, now: float) -> float | None:
    """Read when a budget that is used up is full again."""
    left = _number(headers.get(remaining, ""))
    if left is None or left > 0:
        return None
    return _until(headers.get(reset, "").strip(), now)


def _until(value: str, now: float) -> float | None:
    """Read seconds, a duration, or a moment, in any of the forms that servers use."""
    if (seconds := _number(value)) is not None:
        if seconds > _EPOCH * 1000:  # milliseconds since 1970
            seconds /= 1000
        return seconds - now if seconds > _EPOCH else seconds
    if match := re.fullmatch(_DURATION, value):
        parts = re.findall(_PART, match[1])
        if all(re.fullmatch(_WHOLE_UNIT, unit) for _, unit in parts):
            return sum(float(number) * _seconds_of(unit) for number, unit in parts)
    moment = _moment(value)
    return None if moment is None else moment - now


def _seconds_of(unit: str) -> float:
    unit = unit.lower()
    return _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[0]]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: str) -> float | None:
    """Read a date of ISO 8601 or of HTTP as seconds since 1970."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value.strip())
            # The oldest form of an HTTP date names no zone; RFC 9110, 5.6.7: it is GMT too.
            return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError, OSError, IndexError, TypeError):
            continue
    return None
