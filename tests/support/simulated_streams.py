"""Drawn streams of a run: their sources, their consumers, and what came of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from aimlapi_embeddings import BudgetExceededError, EmbeddingResult, InvalidInputError, Usage
from tests.support.simulated_server import FILTERED, LONG

# Steps of an event loop in which what was dropped ends.
_STEPS = 30


class SourceFailed(Exception):
    """A source raised."""


class ConsumerFailed(Exception):
    """The body of the consumer's loop raised."""


@dataclass(frozen=True)
class StreamPlan:
    """One stream.

    Attributes:
        texts: How many its source has.
        filtered: Places of texts that the server refuses for what they say.
        long: Places of texts that have many tokens.
        missing: Places of items that are missing or empty.
        other: The place of an item that is no text at all, or None.
        period: After so many, the same texts come again; 0 when each occurs once.
        source: Its kind. A list tells its length, the others do not.
        fails_at: The place at which the source raises, or None.
        source_waits: Seconds before every third item of a source that is no list.
        window: See `embed_iter`, like the next two.
        batches_of: Places of a result.
        on_invalid: Whether None takes the place of an invalid text.
        consumer_waits: Seconds after each item.
        stops_after: Items after which the consumer stops, or None.
        leaves: How it stops: it closes the stream, drops it, keeps it, or raises within `with`.
        starts: Seconds after its loop began.
        cancelled_after: Seconds after its start, or None.
        stumbles: Its progress callback raises at this call of it, or None.
        interrupts: Whether it raises KeyboardInterrupt there.
    """

    texts: int
    filtered: frozenset[int] = frozenset()
    long: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()
    other: int | None = None
    period: int = 0
    source: Literal["list", "iterator", "async"] = "iterator"
    fails_at: int | None = None
    source_waits: float = 0.0
    window: int | None = None
    batches_of: int | None = None
    on_invalid: Literal["raise", "none"] = "raise"
    consumer_waits: float = 0.0
    stops_after: int | None = None
    leaves: Literal["close", "drop", "keep", "raise"] = "close"
    starts: float = 0.0
    cancelled_after: float | None = None
    stumbles: int | None = None
    interrupts: bool = False

    @property
    def longest_waits(self) -> float:
        """Seconds that its source and its consumer take by themselves."""
        return self.texts * (self.source_waits + self.consumer_waits)


@dataclass
class StreamOutcome:
    """How a stream ended.

    Attributes:
        plan: Of the stream.
        name: Each of its texts begins with it.
        items: What its source has.
        got: What was handed over, one vector or None for each place.
        results: In which results, where it was asked for these.
        read: How many items the source gave.
        most_held: Most items that were read and not handed over.
        finished: Whether the stream came to its end.
        stopped: Whether its consumer stopped.
        started: When.
        ended: When.
        error: What it raised.
        usage: What it says it has cost.
        invalid_count: How many places without a vector it says there are.
        requests: How many requests the server had seen when it ended.
        stream: The stream, where it was kept.
    """

    plan: StreamPlan
    name: str
    items: list[Any]
    got: list[list[float] | None] = field(default_factory=list)
    results: list[EmbeddingResult] = field(default_factory=list)
    read: int = 0
    most_held: int = 0
    finished: bool = False
    stopped: bool = False
    started: float = math.nan
    ended: float = math.nan
    error: BaseException | None = None
    usage: Usage = field(default_factory=Usage)
    invalid_count: int = 0
    requests: int = 0
    stream: Any = None

    @classmethod
    def of(cls, plan: StreamPlan, name: str) -> StreamOutcome:
        """Prepare a stream."""
        return cls(plan, name, _items_of(plan, name))

    @property
    def texts(self) -> list[str]:
        """Those of its items that are texts, as far as they could have been read."""
        return [item for item in self.items[: self.plan.fails_at] if item and isinstance(item, str)]

    @property
    def was_kept(self) -> bool:
        """Whether it may have gone on until the end of the loop."""
        return self.stream is not None

    @property
    def options(self) -> dict[str, Any]:
        """Of `embed_iter`."""
        plan = self.plan
        return {
            "window": plan.window,
            "batches_of": plan.batches_of,
            "on_invalid": plan.on_invalid,
        }

    def take(self, item: Any) -> bool:
        """Note what was handed over; tell whether the consumer stops."""
        if isinstance(item, EmbeddingResult):
            self.results.append(item)
            self.got += item.vectors
            count = len(self.results)
        else:
            self.got.append(item)
            count = len(self.got)
        self.stopped = count == self.plan.stops_after
        return self.stopped

    def note(self, stream: Any) -> None:
        """Note what the stream says of itself."""
        self.usage, self.invalid_count = stream.usage, stream.invalid_count

    def give(self, place: int) -> Any:
        """Return what the source gives at a place, or raise."""
        self.read += 1
        self.most_held = max(self.most_held, self.read - len(self.got))
        if place == self.plan.fails_at:
            raise SourceFailed
        return self.items[place]

    @property
    def count(self) -> int:
        """How many items the source gives or raises."""
        failing = self.plan.fails_at
        return len(self.items) if failing is None else min(len(self.items), failing + 1)


def ended_by_itself(outcome: StreamOutcome) -> bool:
    """Tell whether a stream ended when nothing of it was in flight."""
    return outcome.finished or isinstance(
        outcome.error, SourceFailed | InvalidInputError | BudgetExceededError
    )


def _items_of(plan: StreamPlan, name: str) -> list[Any]:
    """Write the items of a source. Their place is in them, so each has a vector of its own."""
    items: list[Any] = []
    for place in range(plan.texts):
        k = place % plan.period if plan.period else place
        long = LONG if k in plan.long else ""
        items.append(f"{name} {k} {long}{FILTERED if k in plan.filtered else ''}")
        if place in plan.missing:
            items[-1] = (None, "", math.nan)[place % 3]
        if place == plan.other:
            items[-1] = 17
    return items


def source_in_thread(outcome: StreamOutcome, sleep: Callable[[float], object]) -> Any:
    """Make the source of a stream that is read in a thread."""
    plan = outcome.plan
    if plan.source == "list" and plan.fails_at is None:
        return outcome.items

    def read() -> Iterator[Any]:
        for place in range(outcome.count):
            if plan.source_waits and place % 3 == 2:
                sleep(plan.source_waits)
            yield outcome.give(place)

    return read()


def _source_in_task(outcome: StreamOutcome) -> Any:
    plan = outcome.plan
    if plan.source != "async":
        return source_in_thread(outcome, lambda _: None)

    async def read() -> AsyncIterator[Any]:
        for place in range(outcome.count):
            if plan.source_waits and place % 3 == 2:
                await asyncio.sleep(plan.source_waits)
            yield outcome.give(place)

    return read()


async def read_in_task(client: Any, outcome: StreamOutcome, progress: Any) -> None:
    """Read a stream in a task, as its plan says; what it raises goes into the outcome."""
    plan = outcome.plan
    try:
        stream = client.aembed_iter(_source_in_task(outcome), progress=progress, **outcome.options)
        try:
            if plan.leaves == "raise":
                async with stream:
                    await _consume(stream, outcome)
                    if outcome.stopped:
                        raise ConsumerFailed
            else:
                await _consume(stream, outcome)
        finally:
            if plan.leaves == "close":
                await stream.aclose()
            outcome.note(stream)
            if plan.leaves == "keep" and not outcome.finished:
                outcome.stream = stream
            del stream
    except BaseException as error:
        outcome.error = error
        if plan.leaves == "drop" and isinstance(error, asyncio.CancelledError):
            error.__traceback__ = None  # its frames would hold the stream
    for _ in range(_STEPS if plan.leaves == "drop" else 0):
        await asyncio.sleep(0)


async def _consume(stream: Any, outcome: StreamOutcome) -> None:
    plan = outcome.plan
    if plan.stops_after == 0:
        outcome.stopped = True
        return
    async for item in stream:
        if outcome.take(item):
            return
        if plan.consumer_waits:
            await asyncio.sleep(plan.consumer_waits)
    outcome.finished = True


def read_in_thread(
    client: Any, outcome: StreamOutcome, progress: Any, sleep: Callable[[float], object]
) -> None:
    """Read a stream in this thread, as its plan says; what it raises goes into the outcome."""
    plan = outcome.plan

    try:
        stream = client.embed_iter(
            source_in_thread(outcome, sleep), progress=progress, **outcome.options
        )
        try:
            if plan.leaves == "raise":
                with stream:
                    _consume_in_thread(stream, outcome, sleep)
                    if outcome.stopped:
                        raise ConsumerFailed
            else:
                _consume_in_thread(stream, outcome, sleep)
        finally:
            if plan.leaves == "close":
                stream.close()
            outcome.note(stream)
            del stream
    except BaseException as error:
        outcome.error = error


def _consume_in_thread(
    stream: Any, outcome: StreamOutcome, sleep: Callable[[float], object]
) -> None:
    plan = outcome.plan
    if plan.stops_after == 0:
        outcome.stopped = True
        return
    for item in stream:
        if outcome.take(item):
            return
        if plan.consumer_waits:
            sleep(plan.consumer_waits)
    outcome.finished = True
