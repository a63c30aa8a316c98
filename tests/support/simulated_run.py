"""Runs drawn calls and streams of one client against a drawn server, in simulated time.

A run is a sequence of event loops, one after the other, that share one client. In each, calls and
streams start, are cancelled, trip over their progress callback, and the client is closed in
between.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from aimlapi_embeddings import EmbeddingsClient
from aimlapi_embeddings._result import EmbeddingResult
from tests.support.entry_points import KEY, OPENAI
from tests.support.simulated_server import (
    FILTERED,
    LONG,
    Seen,
    Server,
    ServerPlan,
    SimulatedNetwork,
)
from tests.support.simulated_streams import StreamOutcome, StreamPlan, read_in_task
from tests.support.simulated_time import SimulatedClock, SimulatedLoop

TIMEOUT = 2.0071  # of the client, seconds; no drawn reply takes exactly so long
LONGEST_RUN = 20_000.0  # seconds


class Stumbled(Exception):
    """A progress callback raised."""


@dataclass(frozen=True)
class CallPlan:
    """One call.

    Attributes:
        texts: How many.
        filtered: Places of texts that the server refuses for what they say.
        long: Places of texts that have many tokens.
        period: After so many, the same texts come again; 0 when each occurs once.
        starts: Seconds after its loop began.
        cancelled_after: Seconds after its start, or None.
        stumbles: Its progress callback raises at this call of it, or None.
        interrupts: Whether it raises KeyboardInterrupt there.
    """

    texts: int
    filtered: frozenset[int] = frozenset()
    long: frozenset[int] = frozenset()
    period: int = 0
    starts: float = 0.0
    cancelled_after: float | None = None
    stumbles: int | None = None
    interrupts: bool = False


@dataclass(frozen=True)
class LoopPlan:
    """One event loop.

    Attributes:
        calls: Made in it.
        streams: Read in it.
        closings: When the client is closed, and how.
        interrupted_after: Seconds until Ctrl-C, or None.
        aclosed: Whether the client is closed at the end; else the loop is just left.
    """

    calls: tuple[CallPlan, ...]
    closings: tuple[tuple[float, Literal["close", "aclose"]], ...] = ()
    interrupted_after: float | None = None
    aclosed: bool = True
    streams: tuple[StreamPlan, ...] = ()


@dataclass(frozen=True)
class ClientPlan:
    """Options of the client."""

    batch_size: int = 8
    max_concurrency: int | None = 4
    max_retries: int = 3
    max_retry_wait: float = 60.0
    max_tokens: int | None = None


@dataclass(frozen=True)
class RunPlan:
    """All of it."""

    server: ServerPlan
    client: ClientPlan
    loops: tuple[LoopPlan, ...]


@dataclass
class Outcome:
    """How a call ended.

    Attributes:
        plan: Of the call.
        name: Each of its texts begins with it.
        texts: Its texts.
        started: When.
        ended: When.
        result: What it returned.
        error: What it raised.
        requests: How many requests the server had seen by then.
        in_task: Whether it is an async call.
    """

    plan: CallPlan
    name: str
    texts: list[str]
    started: float = math.nan
    ended: float = math.nan
    result: EmbeddingResult | None = None
    error: BaseException | None = None
    requests: int = 0
    in_task: bool = True

    @classmethod
    def of(cls, plan: CallPlan, name: str) -> Outcome:
        """Prepare a call."""
        return cls(plan, name, texts_of(plan, name))

    @property
    def vectors(self) -> list[list[float] | None]:
        """What it brought, error or not."""
        if self.result is not None:
            return list(self.result.vectors)
        partial = getattr(self.error, "partial", None)
        return list(partial.vectors) if partial is not None else [None] * len(self.texts)


def texts_of(plan: CallPlan, name: str) -> list[str]:
    """Write the texts of a call. Their place is in them, so each has a vector of its own."""
    kinds = []
    for i in range(plan.texts):
        k = i % plan.period if plan.period else i
        long = LONG if k in plan.long else ""
        kinds.append(f"{name} {k} {long}{FILTERED if k in plan.filtered else ''}")
    return kinds


def client_of(plan: ClientPlan, clock: Any, base_url: str) -> EmbeddingsClient:
    """Make the client of a run, with a clock of its own."""
    kind: Any = type("Client", (EmbeddingsClient,), {"_clock": clock})
    client: EmbeddingsClient = kind(
        model=OPENAI,
        api_key=KEY,
        base_url=base_url,
        dimensions=4,
        encoding_format="float",
        timeout=TIMEOUT,
        batch_size=plan.batch_size,
        max_concurrency=plan.max_concurrency,
        max_retries=plan.max_retries,
        max_retry_wait=plan.max_retry_wait,
        max_tokens=plan.max_tokens,
    )
    return client


class Observed(Protocol):
    """What came of a run, in simulated or in real time."""

    outcomes: list[Outcome]
    streams: list[StreamOutcome]
    client: EmbeddingsClient
    server: Server

    @property
    def options(self) -> ClientPlan:
        """Of the client."""

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C has cancelled calls."""


def requests_of(run: Observed, outcome: Outcome | StreamOutcome) -> list[Seen]:
    """List the requests of a call or a stream that the server has read."""
    return [
        each for each in run.server.seen if each.texts and each.texts[0].startswith(outcome.name)
    ]


@dataclass
class Run:
    """A run in simulated time and what came of it."""

    plan: RunPlan
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    outcomes: list[Outcome] = field(default_factory=list)
    streams: list[StreamOutcome] = field(default_factory=list)
    left_open: list[int] = field(default_factory=list)
    left_tasks: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock.ends = self.clock.now + LONGEST_RUN
        self.server = Server(self.plan.server, self.clock.monotonic)
        self.client = client_of(self.plan.client, self.clock, "http://127.0.0.1:1")

    @property
    def options(self) -> ClientPlan:
        return self.plan.client

    @property
    def was_interrupted(self) -> bool:
        return any(
            loop.interrupted_after is not None
            or any(each.interrupts for each in (*loop.calls, *loop.streams))
            for loop in self.plan.loops
        )

    def go(self) -> None:
        """Run all loops."""
        for i, plan in enumerate(self.plan.loops):
            self._loop(plan, f"{i}")

    def together(self, outcomes: list[Outcome]) -> None:
        """Make calls at the same moment, in a loop of their own that ends with them."""

        async def main() -> None:
            await asyncio.gather(*map(self._call, outcomes))
            await self.client.aclose()

        with self._runner() as runner:
            runner.run(main())

    @contextmanager
    def _runner(self) -> Iterator[asyncio.Runner]:
        network = SimulatedNetwork(self.server, TIMEOUT)
        try:
            with asyncio.Runner(loop_factory=lambda: SimulatedLoop(self.clock, network)) as runner:
                yield runner
        finally:
            self.left_open.append(network.open_connections())
            network.close()

    def _loop(self, plan: LoopPlan, name: str) -> None:
        streams = [StreamOutcome.of(each, f"{name}.s{i}:") for i, each in enumerate(plan.streams)]
        self.streams += streams
        with self._runner() as runner, suppress(KeyboardInterrupt):
            runner.run(self._main(plan, name, streams))
        for kept in streams:
            kept.requests = len(self.server.seen) if kept.was_kept else kept.requests

    async def _main(self, plan: LoopPlan, name: str, streams: list[StreamOutcome]) -> None:
        loop = asyncio.get_running_loop()
        if plan.interrupted_after is not None:
            loop.call_later(plan.interrupted_after, _interrupt)
        outcomes = [Outcome.of(call, f"{name}.{i}:") for i, call in enumerate(plan.calls)]
        self.outcomes += outcomes
        closings = [asyncio.ensure_future(self._close(*closing)) for closing in plan.closings]
        calls = [asyncio.ensure_future(self._call(outcome)) for outcome in outcomes]
        calls += [asyncio.ensure_future(self._read(outcome)) for outcome in streams]
        for task, outcome in zip(calls, [*outcomes, *streams], strict=True):
            if (seconds := outcome.plan.cancelled_after) is not None:
                loop.call_later(outcome.plan.starts + seconds, task.cancel)
        await asyncio.wait(calls)
        for closing in closings:
            closing.cancel()
        await asyncio.gather(*closings, return_exceptions=True)
        if plan.aclosed:
            await self.client.aclose()
        if not any(outcome.was_kept for outcome in streams):
            self.left_tasks += asyncio.all_tasks() - {asyncio.current_task()}

    async def _close(self, seconds: float, how: str) -> None:
        await asyncio.sleep(seconds)
        if how == "close":
            self.client.close()
        else:
            await self.client.aclose()

    async def _call(self, outcome: Outcome) -> None:
        await asyncio.sleep(outcome.plan.starts)
        outcome.started = self.clock.now
        try:
            outcome.result = await self.client.aembed(
                outcome.texts, progress=progress_of(outcome.plan)
            )
        except BaseException as error:
            # Not raised again: KeyboardInterrupt has left the loop already where a task met it.
            outcome.error = error
        finally:
            outcome.ended = self.clock.now
            outcome.requests = len(self.server.seen)

    async def _read(self, outcome: StreamOutcome) -> None:
        await asyncio.sleep(outcome.plan.starts)
        outcome.started = self.clock.now
        try:
            await read_in_task(self.client, outcome, progress_of(outcome.plan))
        finally:
            outcome.ended = self.clock.now
            outcome.requests = len(self.server.seen)


def _interrupt() -> None:
    raise KeyboardInterrupt


def progress_of(plan: CallPlan | StreamPlan) -> Callable[[int, int], None] | None:
    """Make the progress callback of a call, where it is to raise."""
    if plan.stumbles is None:
        return None
    left = plan.stumbles

    def progress(done: int, total: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt if plan.interrupts else Stumbled

    return progress
