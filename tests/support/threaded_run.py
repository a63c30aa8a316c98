"""Runs drawn calls and streams of one client from several threads and event loops, in real time.

The server is the emulator on a loopback socket. The client's own waits pass faster, so that a run
takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from tests.support.emulator_server import serving
from tests.support.simulated_run import (
    CallPlan,
    ClientPlan,
    Outcome,
    client_of,
    progress_of,
)
from tests.support.simulated_server import Server, ServerPlan, judge_of
from tests.support.simulated_streams import (
    StreamOutcome,
    StreamPlan,
    read_in_task,
    read_in_thread,
)
from tests.support.sockets import SOON, ports_to

# Seconds after which everything that goes on by itself must have ended: less than the client lets
# idle threads and connections stay, and than an attempt may take.
_SETTLED = 3.0
FASTER = 50.0  # the client's clock, and so its waits, against real time


class FastClock:
    """Real time that passes faster."""

    def monotonic(self) -> float:
        return FASTER * time.monotonic()

    def time(self) -> float:
        return FASTER * time.time()

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        wake.wait(seconds / FASTER)

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds / FASTER)


Kind = Literal["thread", "loop", "on a loop", "joined by a loop", "streams", "close"]


@dataclass(frozen=True)
class Actor:
    """One thread of a run.

    Attributes:
        kind: "thread" makes its calls one after the other; "loop" makes them at once in an event
            loop; "on a loop" makes the first ones in an event loop, and the last one there as a
            sync call, so that the loop stands still; "joined by a loop" does so in a thread that
            the loop waits for; "streams" reads its streams, and makes no calls; "close" closes the
            client now and then.
        calls: Its calls.
        streams: Its streams: the first one in this thread, the others then in an event loop.
    """

    kind: Kind
    calls: tuple[CallPlan, ...]
    streams: tuple[StreamPlan, ...] = ()


@dataclass(frozen=True)
class ThreadedPlan:
    """A server, a client, and who uses it."""

    server: ServerPlan
    client: ClientPlan
    actors: tuple[Actor, ...]


@dataclass
class ThreadedRun:
    """A run in real time and what came of it."""

    plan: ThreadedPlan
    outcomes: list[Outcome] = field(default_factory=list)
    streams: list[StreamOutcome] = field(default_factory=list)
    was_interrupted: bool = False
    peak_in_flight: int = 0

    @property
    def options(self) -> ClientPlan:
        return self.plan.client

    @contextmanager
    def going(self) -> Iterator[None]:
        """Run everything to its end; in the block, the server still answers."""
        threads = set(threading.enumerate())
        clock = FastClock()
        self.server = Server(self.plan.server, clock.monotonic)
        with serving(judge=judge_of(self.server), strict=False) as (emulator, base_url):
            self.client = client_of(self.plan.client, clock, base_url)
            actors = [
                threading.Thread(target=self._work(actor, f"{i}"), daemon=True)
                for i, actor in enumerate(self.plan.actors)
            ]
            for thread in actors:
                thread.start()
            deadline = time.monotonic() + SOON
            for thread in actors:
                thread.join(max(deadline - time.monotonic(), 0.0))
            assert not any(thread.is_alive() for thread in actors), "a call never ended"
            self.peak_in_flight = emulator.peak_in_flight
            yield
            self.client.close()
            settle(lambda: _assert(not ports_to(base_url), "a socket stays"))
        settle(lambda: _assert(set(threading.enumerate()) <= threads, "a thread stays"))

    def _work(self, actor: Actor, name: str) -> Callable[[], None]:
        outcomes = [Outcome.of(call, f"{name}.{i}:") for i, call in enumerate(actor.calls)]
        streams = [StreamOutcome.of(each, f"{name}.s{i}:") for i, each in enumerate(actor.streams)]
        if actor.kind == "streams":
            self.streams += streams
        elif actor.kind != "close":
            self.outcomes += outcomes

        def in_a_thread() -> None:
            for outcome in outcomes:
                self._call(outcome)

        def in_a_loop() -> None:
            asyncio.run(together())

        async def together() -> None:
            await asyncio.gather(*map(self._call_async, outcomes))
            await self.client.aclose()

        def on_a_loop() -> None:
            asyncio.run(standing_still())

        async def standing_still() -> None:
            first = asyncio.gather(*map(self._call_async, outcomes[:-1]))
            await asyncio.sleep(self.plan.server.latency / 2)  # they are in flight
            if actor.kind == "on a loop":
                self._call(outcomes[-1])
            else:
                thread = threading.Thread(target=self._call, args=(outcomes[-1],), daemon=True)
                thread.start()
                thread.join()
            await first
            await self.client.aclose()

        def read_streams() -> None:
            for outcome in streams[:1]:
                outcome.started = time.monotonic()
                read_in_thread(self.client, outcome, progress_of(outcome.plan), time.sleep)
            if streams[1:]:
                asyncio.run(read_together(streams[1:]))

        async def read_together(outcomes: list[StreamOutcome]) -> None:
            await asyncio.gather(*map(self._read_async, outcomes))
            await self.client.aclose()

        def close() -> None:
            for _ in range(5):
                time.sleep(self.plan.server.latency)
                self.client.close()

        return {
            "thread": in_a_thread,
            "loop": in_a_loop,
            "on a loop": on_a_loop,
            "joined by a loop": on_a_loop,
            "streams": read_streams,
            "close": close,
        }[actor.kind]

    async def _read_async(self, outcome: StreamOutcome) -> None:
        outcome.started = time.monotonic()
        reading = asyncio.ensure_future(read_in_task(self.client, outcome, None))
        if outcome.plan.cancelled_after is not None:
            asyncio.get_running_loop().call_later(outcome.plan.cancelled_after, reading.cancel)
        with suppress(asyncio.CancelledError):  # before it has begun
            await reading

    def _call(self, outcome: Outcome) -> None:
        outcome.in_task = False
        try:
            outcome.result = self.client.embed(outcome.texts, progress=progress_of(outcome.plan))
        except BaseException as error:
            outcome.error = error

    async def _call_async(self, outcome: Outcome) -> None:
        task = asyncio.ensure_future(self.client.aembed(outcome.texts))
        if outcome.plan.cancelled_after is not None:
            asyncio.get_running_loop().call_later(outcome.plan.cancelled_after, task.cancel)
        try:
            outcome.result = await task
        except BaseException as error:
            outcome.error = error


def _assert(holds: bool, otherwise: str) -> None:
    assert holds, otherwise


def settle(happened: Callable[[], None]) -> None:
    """Wait until an assertion holds: replies of calls that have ended may still be on their way."""
    deadline = time.monotonic() + _SETTLED
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            return happened()
        time.sleep(0.005)
    return happened()
