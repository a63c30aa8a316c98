"""How long does the server ask us to wait?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite


def parse_retry_after(headers: Mapping[str, str], wall_clock: Callable[[], float]) -> float | None:
    """Read `Retry-After` as seconds from now; None when it is missing or cannot be read.

    RFC 9110, 10.2.3: a whole number of seconds or an HTTP date. Fractions are understood too.
    """
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            # The oldest form of a date names no zone; RFC 9110, 5.6.7: it is GMT too.
            seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - wall_clock()
        except (ValueError, OverflowError, OSError):
            return None
    return max(seconds, 0.0) if isfinite(seconds) else None
