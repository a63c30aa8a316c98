"""Can nobody who has a ticket run, because every event loop is blocked?

A request in flight ends, unless the event loop that awaits it is blocked, perhaps by the very
thread that waits for the ticket of this request. An event loop shows that it runs by running a
callback.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aimlapi_embeddings._engine.bound import Bound
from aimlapi_embeddings._engine.steps import Caller

if TYPE_CHECKING:
    import asyncio

# Seconds without an answer after which an event loop counts as blocked. A loop that is
# merely busy for so long can cost one request above the bound.
_SILENCE = 0.1


class BlockedLoops:
    """Asks the event loops that await replies of one client. The caller holds a lock."""

    def __init__(self) -> None:
        self._pings: dict[asyncio.AbstractEventLoop, float] = {}

    def nobody_can_run(self, bound: Bound, caller: Caller) -> bool:
        """Tell whether no request in flight can end, because every event loop is blocked."""
        loops = set(bound.holders.values())
        closed = {loop for loop in loops if loop is not None and loop.is_closed()}
        if closed:
            for ticket, loop in list(bound.holders.items()):
                if loop in closed:
                    bound.holders.pop(ticket, None)
            for loop in closed:
                self._pings.pop(loop, None)
        loops -= closed
        if None in loops or caller.loop in loops:
            return False
        # All loops are asked before the answers are judged, so that they are waited for together.
        silent = [loop is caller.blocked or self._is_silent(loop) for loop in loops if loop]
        return all(silent)

    def _is_silent(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Ask an event loop to run a callback; True when it has not run the last one."""
        # Real time, whatever the client's clock: it is about threads that run or do not.
        now = time.monotonic()
        if (asked := self._pings.get(loop)) is not None:
            return now - asked >= _SILENCE
        self._pings[loop] = now
        try:
            loop.call_soon_threadsafe(self._pings.pop, loop, None)
        except RuntimeError:  # closed in between; the next look forgets it
            return True
        return False
