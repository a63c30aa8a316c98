"""An event loop in simulated time, with connections in memory.

The clock of the loop does not run. When nothing is ready, it jumps to the next timer, so an hour of
waiting takes no time, and the same run is the same each time. Connections to any host end at a
network that the test supplies: each one is a pair of real sockets, so that everything of the client
above the socket is exercised, its HTTP library included.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from typing import Any, Protocol

EPOCH = 1_790_000_000.0  # the wall clock at the simulated moment 0


class Stuck(AssertionError):
    """Nothing will ever happen again, or the run has taken longer than it may."""


class SimulatedClock:
    """The clock of a run: of its event loops, one after the other, its client and its server.

    Attributes:
        now: Seconds.
        ends: A moment that no run may reach.
    """

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ends = float("inf")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        if self.now > self.ends:
            raise Stuck(f"the run is not over at {self.now:.1f} s")

    def monotonic(self) -> float:
        """Return the moment, for the client."""
        return self.now

    def time(self) -> float:
        """Return the wall clock, for the client."""
        return EPOCH + self.now

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        """Wait in a thread: no thread waits in a simulated run."""
        raise AssertionError("a thread waits in simulated time")

    async def sleep_async(self, seconds: float) -> None:
        """Wait in a task."""
        await asyncio.sleep(seconds)


class Network(Protocol):
    """Where the connections of a loop end."""

    async def connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Return the client's end of a new connection, or raise an OSError."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck("nothing is ready, and nothing is waited for")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer, and whose connections are in memory."""

    def __init__(self, clock: SimulatedClock, network: Network) -> None:
        super().__init__(_JumpingSelector(clock))
        self._clock = clock
        self._network = network

    def time(self) -> float:
        return self._clock.now

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        end = await self._network.connect(self)
        return await super().create_connection(protocol_factory, sock=end)
