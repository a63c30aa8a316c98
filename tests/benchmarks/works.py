"""What is measured, by whom, against what, and what is to be reached.

W1: many texts, no latency, base64; W1J: numbers instead. W2: latency. W3: single queries. W4: a
server that refuses what is too much. W5: a server that fails. W6: growth. Q: questions on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

BOTH = ("sync", "async")
OURS = ("ours, LangChain", "ours, LlamaIndex")
SIZES = (50, 100, 200)
FRAMEWORK = "floor in LlamaIndex"
RIVALS = ("langchain-openai", "llama-index-embeddings-openai")


@dataclass(frozen=True)
class Work:
    """What is asked of a driver.

    Attributes:
        texts: How many; 0 for queries.
        queries: How many, one after the other; 0 for texts.
        colour: "sync" or "async".
        concurrency: Requests under way at most.
        batch: Texts in a request, for drivers that do not decide it themselves.
        dimensions: Of the server's vectors, for the check.
    """

    texts: int = 0
    queries: int = 0
    colour: str = "sync"
    concurrency: int = 16
    batch: int | None = 100
    dimensions: int = 1536

    @property
    def megabytes_of_floats(self) -> float:
        """What n lists of d floats take: 8 bytes for a place, 32 for a float of its own."""
        return self.texts * self.dimensions * 40 / 2**20


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table of results.

    Attributes:
        name: What is done.
        work: How much of it.
        server: How the server behaves.
        base: The driver that others are compared with.
        drivers: Who takes part besides.
        figure: "wall", "cpu" or "mb": the one that the goal speaks of.
        goals: Most that a driver may take of the base's figure.
    """

    name: str
    work: Work
    server: dict[str, Any] = field(default_factory=dict)
    base: str = "floor"
    drivers: tuple[str, ...] = OURS
    figure: str = "cpu"
    goals: dict[str, float] = field(default_factory=dict)


def cases(share: float = 1.0) -> list[Case]:
    """List the cases; a share below 1 makes them shorter."""
    texts = int(20_000 * share)
    bulk = Work(texts=texts)
    waves = {"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768}
    latency = Work(texts=int(5_000 * max(share, 0.2)), dimensions=768)
    found = []
    for colour in BOTH:
        found += [
            Case(
                name=f"W1 {texts:,} texts x 1,536 as base64, {colour}",
                work=replace(bulk, colour=colour),
                drivers=(*OURS, FRAMEWORK, *RIVALS),
                goals={"ours, LangChain": 0.95, "ours, LlamaIndex": 1.25},
            ),
            Case(
                name=f"W1 to array(), 192 texts a request, 8 under way, {colour}",
                work=replace(bulk, colour=colour, batch=192, concurrency=8),
                drivers=("ours, array()",),
                goals={"ours, array()": 0.30},
            ),
            Case(
                name=f"W1J {texts // 5:,} texts, the server answers numbers, {colour}",
                work=replace(bulk, texts=texts // 5, colour=colour),
                server={"base64": False},
                goals={"ours, LangChain": 0.95, "ours, LlamaIndex": 1.25},
            ),
            Case(
                name=f"W2 {latency.texts:,} texts, 100 ms a request, 0.5 ms a text, {colour}",
                work=replace(latency, colour=colour),
                server=waves,
                base="floor-wave",
                drivers=("floor", *OURS, *RIVALS),
                figure="wall",
                goals=dict.fromkeys(OURS, 1.10),
            ),
            Case(
                name=f"W4 the same, and the server takes 8 at once, else 429, {colour}",
                work=replace(latency, colour=colour),
                server={**waves, "max_in_flight": 8},
                base="floor-8",
                drivers=OURS,
                figure="wall",
                goals=dict.fromkeys(OURS, 1.30),
            ),
            Case(
                name=f"W5 {latency.texts:,} texts, 5 % of the answers are 500 or 503, {colour}",
                work=replace(latency, colour=colour),
                server={**waves, "fault_rate": 0.05},
                base="ours, LangChain",
                drivers=("ours, LlamaIndex",),
                figure="wall",
            ),
        ]
        found.append(
            Case(
                name=f"W3 one query at a time, {colour}",
                work=Work(queries=int(1000 * max(share, 0.2)), colour=colour),
                drivers=(*OURS, FRAMEWORK, *RIVALS),
                figure="wall",
                goals=dict.fromkeys(OURS, 1.15) if colour == "sync" else {},
            )
        )
    return found


def growth(share: float = 1.0) -> list[Case]:
    """List the cases of W6: the same for 5,000, 20,000 and 80,000 texts."""
    return [
        Case(
            name=f"W6 {texts:,} texts, {colour}",
            work=Work(texts=int(texts * share), colour=colour),
            drivers=("ours, LangChain",),
            figure="mb",
        )
        for colour in BOTH
        for texts in (5_000, 20_000, 80_000)
    ]


def questions(share: float = 1.0) -> list[Case]:
    """List what else was asked on the way to the goals; no answer is a goal."""
    bulk = Work(texts=int(20_000 * share))
    queries = Work(queries=int(1000 * share), colour="async")
    found = [
        Case(
            name=f"Q garbage collection while floats are made, {colour}",
            work=replace(bulk, colour=colour),
            base="ours, LangChain",
            drivers=("ours, collector off", "ours, heap frozen"),
        )
        for colour in BOTH
    ]
    surroundings = ("ours, uvloop", "ours, httpx2", "ours, httpx-aiohttp")
    found += [
        Case(
            name="Q decoded in worker threads or by the caller",
            work=bulk,
            drivers=("floor, decoded by the caller",),
        ),
        Case(
            name="Q other loops and HTTP libraries, bulk, async",
            work=replace(bulk, colour="async"),
            base="ours, LangChain",
            drivers=surroundings,
        ),
        Case(
            name="Q other loops and HTTP libraries, a query, async",
            work=queries,
            base="ours, LangChain",
            drivers=surroundings,
        ),
        Case(
            name="Q other HTTP libraries, a query, sync",
            work=replace(queries, colour="sync"),
            base="ours, LangChain",
            drivers=("ours, httpx2",),
        ),
    ]
    for per_text in (0.0005, 0.005):
        found.append(
            Case(
                name=f"Q 100 ms a request and {per_text * 1000:g} ms a text: how many at once?",
                work=Work(texts=5_000, dimensions=768),
                server={"latency": 0.1, "latency_per_text": per_text, "dimensions": 768},
                base="ours, LangChain",
                drivers=tuple(f"ours, {size} texts a request" for size in SIZES),
                figure="wall",
            )
        )
    return found
