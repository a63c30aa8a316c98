"""At most so many requests and tokens a minute, evenly spaced, and who is next.

This is the generic cell rate algorithm (ITU-T I.371). For each rate it keeps one moment, the
theoretical arrival time (TAT): when everything granted so far would have been sent, had it been
spaced evenly. What a request uses moves it on by that share of a minute. A request may leave while
the moment is not more than a burst ahead, and a burst is one second. A request that uses more than
one second's worth by itself leaves when all before it is paid off.

A request does not reserve its moment. It stands in a line, and takes its share when it leaves. So
one that gives up has used nothing, and interactive calls go before those that came earlier.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

_MINUTE = 60.0
_BURST = 1.0  # seconds
# Of the rate that was asked for. A server that counts by the minute sees 60 seconds' worth and a
# burst in one of its minutes, 61 in all, and 0.98 of those are less than 60. The rest is for clocks
# and networks that are not even.
_SHARE = 0.98
# Seconds for which the first in line may let its turn pass. Its event loop may be blocked.
_GRACE = 0.05

_REQUESTS, _TOKENS = 0, 1


class Place:
    """A request that waits.

    Attributes:
        lane: The number of its line; those of smaller numbers go first.
        tokens: Estimated, which it will use.
    """

    __slots__ = ("lane", "tokens")

    def __init__(self, lane: int, tokens: int) -> None:
        self.lane = lane
        self.tokens = tokens


class Rates:
    """The rates of one client, for all of its calls. Not locked: that is up to the caller.

    Args:
        requests_per_minute: None is no limit.
        tokens_per_minute: The same for tokens.
        before: The rates that these replace. What those granted counts here too, and the other way
            round, as long as both are used.

    Attributes:
        limited: Whether there is any limit.
        most_tokens: That one request can ever be granted: those of a minute.
        packed_tokens: That several texts in one request should have together at most. Small
            requests are spaced more evenly and let others pass; but where requests are limited too,
            each one has to carry its share of the tokens.
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        before: Rates | None = None,
    ) -> None:
        given = {_REQUESTS: requests_per_minute, _TOKENS: tokens_per_minute}
        self._seconds = {  # that one request, or one token, takes
            kind: _MINUTE / (_SHARE * rate) for kind, rate in given.items() if rate is not None
        }
        tat = None if before is None else before._tat
        self._tat: list[float] = tat or [-math.inf, -math.inf]
        self._lines: tuple[deque[Place], deque[Place]] = (deque(), deque())
        self.limited = bool(self._seconds)
        self.most_tokens = tokens_per_minute or math.inf
        share = max(_BURST / _MINUTE, 1.0 / (requests_per_minute or math.inf))
        self.packed_tokens = self.most_tokens * min(share, 1.0)

    def join(self, lane: int, tokens: int) -> Place:
        """Stand in line."""
        place = Place(lane, tokens)
        if self.limited:
            self._lines[lane].append(place)
        return place

    def quit(self, place: Place) -> None:
        """Leave the line. Takes no lock, and may be called by a finalizer, and twice."""
        if self.limited:
            with suppress(ValueError):
                self._lines[place.lane].remove(place)

    def opens(self, place: Place) -> float:
        """Return the moment from which a request may leave, as things are now.

        It is the turn of the first in line. When that one has let its turn pass, the others need
        not wait for it: it may never run again.
        """
        if not self.limited:
            return -math.inf
        first, opens = self._first(place), self._conforms(place)
        return opens if first is place else max(opens, self._conforms(first) + _GRACE)

    def take(self, place: Place, now: float) -> None:
        """Use the rates for a request that leaves now, and leave the line."""
        if self.limited:
            for kind, seconds in self._uses(place):
                self._tat[kind] = max(self._tat[kind], now) + seconds
            self.quit(place)

    def correct(self, estimated: int, actual: int) -> None:
        """Use more or fewer tokens than were estimated, as a reply has shown."""
        self._tat[_TOKENS] += (actual - estimated) * self._seconds.get(_TOKENS, 0.0)

    def _conforms(self, place: Place) -> float:
        return max(
            self._tat[kind] - max(_BURST - seconds, 0.0) for kind, seconds in self._uses(place)
        )

    def _uses(self, place: Place) -> Iterator[tuple[int, float]]:
        """Tell how many seconds' worth of each rate a request uses."""
        for kind, seconds in self._seconds.items():
            yield kind, seconds * (place.tokens if kind == _TOKENS else 1)

    def _first(self, place: Place) -> Place:
        for line in self._lines[: place.lane + 1]:
            with suppress(IndexError):  # empty
                return line[0]
        return place
