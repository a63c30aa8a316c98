"""What is measured, by whom, against what, and what is to be reached.

W1: many texts, no latency, base64; W1J: numbers instead. W2: latency. W3: single queries. W4: a
server that refuses what is too much. W5: a server that fails. W6: growth. W7 to W10, what users of
an application feel, are in works_felt.py; W12, caches, in works_cached.py. Q: questions on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

BOTH = ("sync", "async")
OURS = ("ours, LangChain", "ours, LlamaIndex")
SIZES = (50, 100, 200)
FRAMEWORK = "floor in LlamaIndex"
TRANSPORT = "floor, transport alone"
STEP = "ours, a step on PyArrow"
STEP_ON_PARQUET = "ours, a step in one process"
STEP_IN_RAY = "ours, a step in Ray, 2 workers"
AT_HAND_IN_RAY = "vectors at hand in Ray, 2 workers"
LOGGED = "ours, logged to nowhere"
UNRECORDED = "ours, OpenTelemetry's API alone"
RECORDED = "ours, OpenTelemetry's SDK"
RIVALS = ("langchain-openai", "llama-index-embeddings-openai")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked of a driver.

    Attributes:
        kind: The function that measures it: a key of `KINDS` in measure.py.
        texts: How many.
        queries: How many, one after the other; by each user, where there are several.
        users: How many ask at once.
        mode: "sync" or "async".
        concurrency: Most requests in flight; None leaves it to each driver's own default.
        batch: Texts in a request, for drivers that do not decide it themselves.
        dimensions: Of the server's vectors, for the check.
        store: The vector store that is filled: a key of `STORES` in stores.py.
    """

    kind: str = "texts"
    texts: int = 0
    queries: int = 0
    users: int = 0
    mode: str = "sync"
    concurrency: int | None = 16
    batch: int | None = 100
    dimensions: int = 1536
    store: str = ""


class Column(NamedTuple):
    """One figure of a table: a median over the runs.

    Attributes:
        figure: Its key in what a run returns.
        heading: What stands above it.
        scale: It is multiplied by this.
        digits: After the point.
        over: The driver whose figure of the same round it is divided by.
        share: The driver whose figure of the same round is divided by it.
    """

    figure: str
    heading: str
    scale: float = 1.0
    digits: int = 2
    over: str = ""
    share: str = ""


COUNTS = (
    Column("requests", "requests", digits=0),
    Column("failed", "failed", digits=0),
    Column("at once", "at once", digits=0),
)


def bulk_columns(base: str) -> tuple[Column, ...]:
    return (
        Column("wall", "wall s", digits=3),
        Column("wall", "x", over=base),
        Column("cpu", "CPU s", digits=3),
        Column("cpu", "x", over=base),
        Column("mb", "MB", digits=0),
        Column("mb of lists", "x"),
        *COUNTS,
    )


def query_columns(base: str) -> tuple[Column, ...]:
    return (
        Column("wall", "wall us", 1e6, 0),
        Column("wall", "x", over=base),
        Column("cpu", "CPU us", 1e6, 0),
        Column("cpu", "x", over=base),
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table of results.

    Attributes:
        name: What is done.
        work: How much of it.
        drivers: Who takes part, in this order.
        columns: What is shown.
        judged: The figure that the goals speak of.
        goals: Most that a driver may take.
        server: How the server behaves.
        slack: How much slower than an earlier version it may be; see compare.py.
    """

    name: str
    work: Work
    drivers: tuple[str, ...]
    columns: tuple[Column, ...]
    judged: Column
    goals: dict[str, float] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)
    slack: float = 1.05


def bulk(
    name: str, work: Work, *drivers: str, base: str = "floor", figure: str = "cpu", **options: Any
) -> Case:
    """A case of many texts, whose goal is a share of the base's wall or CPU time."""
    return Case(
        name=name,
        work=work,
        drivers=(base, *drivers),
        columns=bulk_columns(base),
        judged=Column(figure, figure, over=base),
        **options,
    )


def queries(name: str, work: Work, *drivers: str, base: str = "floor", **options: Any) -> Case:
    """A case of single queries, whose goal is a share of the base's CPU time."""
    options.setdefault("columns", query_columns(base))
    return Case(
        name=name,
        work=replace(work, kind="queries"),
        drivers=(base, *drivers),
        judged=Column("cpu", "cpu", over=base),
        **options,
    )


def cases(share: float = 1.0) -> list[Case]:
    """List the cases; a share below 1 makes them shorter."""
    texts = int(20_000 * share)
    many = Work(texts=texts)
    waves = {"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768}
    latency = Work(texts=int(5_000 * max(share, 0.2)), dimensions=768)
    lists = {"ours, LangChain": 0.95, "ours, LlamaIndex": 1.25}
    found = []
    for mode in BOTH:
        slack = {"slack": 1.03} if mode == "async" else {}
        found += [
            bulk(
                f"W1 {texts:,} texts x 1,536 as base64, {mode}",
                replace(many, mode=mode),
                *(*OURS, FRAMEWORK, *RIVALS),
                goals=lists,
                **slack,
            ),
            bulk(
                f"W1 to array(), 192 texts a request, 8 in flight, {mode}",
                replace(many, mode=mode, batch=192, concurrency=8),
                "ours, array()",
                goals={"ours, array()": 0.30},
                **slack,
            ),
            bulk(
                f"W1J {texts // 5:,} texts, the server answers numbers, {mode}",
                replace(many, texts=texts // 5, mode=mode),
                *OURS,
                server={"base64": False},
                goals=lists,
            ),
            bulk(
                f"W2 {latency.texts:,} texts, 100 ms a request, 0.5 ms a text, {mode}",
                replace(latency, mode=mode),
                *("floor", *OURS, *RIVALS),
                server=waves,
                base="floor-wave",
                figure="wall",
                goals=dict.fromkeys(OURS, 1.10),
            ),
            bulk(
                f"W4 the same, and the server takes 8 at once, else 429, {mode}",
                replace(latency, mode=mode),
                *OURS,
                server={**waves, "max_in_flight": 8},
                base="floor-8",
                figure="wall",
                goals=dict.fromkeys(OURS, 1.30),
            ),
            bulk(
                f"W5 {latency.texts:,} texts, 5 % of the answers are 500 or 503, {mode}",
                replace(latency, mode=mode),
                "ours, LlamaIndex",
                server={**waves, "fault_rate": 0.05},
                base="ours, LangChain",
                figure="wall",
            ),
            queries(
                f"W3 one query at a time, {mode}",
                Work(queries=int(1000 * max(share, 0.2)), mode=mode),
                *(TRANSPORT, *OURS, FRAMEWORK, *RIVALS, "pydantic-ai"),
                columns=(
                    *query_columns("floor"),
                    Column("cpu", "CPU over the transport alone", over=TRANSPORT),
                ),
                goals={"ours, LangChain": 0.95, "ours, LlamaIndex": 1.20},
            ),
            queries(
                f"W3 one query at a time, logging off and at DEBUG, {mode}",
                Work(queries=int(1000 * max(share, 0.2)), mode=mode),
                *("ours, LangChain", LOGGED),
                columns=(
                    *query_columns("floor"),
                    Column("cpu", "CPU over logging off", over="ours, LangChain"),
                ),
            ),
            queries(
                f"W3 one query at a time with and without OpenTelemetry, {mode}",
                Work(queries=int(1000 * max(share, 0.2)), mode=mode),
                *("ours, LangChain", UNRECORDED, RECORDED),
                columns=(
                    *query_columns("floor"),
                    Column("cpu", "CPU over that without", over="ours, LangChain"),
                ),
            ),
        ]
    return found


def growth(share: float = 1.0) -> list[Case]:
    """List the cases of W6: the same for 5,000, 20,000 and 80,000 texts."""
    return [
        bulk(
            f"W6 {texts:,} texts, {mode}",
            Work(texts=int(texts * share), mode=mode),
            "ours, LangChain",
        )
        for mode in BOTH
        for texts in (5_000, 20_000, 80_000)
    ]


def questions(share: float = 1.0) -> list[Case]:
    """List what else was asked on the way to the goals; no answer is a goal."""
    many = Work(texts=int(20_000 * share))
    single = Work(queries=int(1000 * share), mode="async")
    surroundings = ("ours, uvloop", "ours, httpx2", "ours, httpx-aiohttp")
    found = [
        bulk(
            f"Q garbage collection while floats are made, {mode}",
            replace(many, mode=mode),
            *("ours, collector off", "ours, heap frozen"),
            base="ours, LangChain",
        )
        for mode in BOTH
    ]
    found += [
        bulk(
            "Q decoded in worker threads or by the caller",
            many,
            "floor, decoded by the caller",
        ),
        bulk(
            "Q other loops and HTTP libraries, bulk, async",
            replace(many, mode="async"),
            *surroundings,
            base="ours, LangChain",
        ),
        queries(
            "Q other loops and HTTP libraries, a query, async",
            single,
            *surroundings,
            base="ours, LangChain",
        ),
        queries(
            "Q other HTTP libraries, a query, sync",
            replace(single, mode="sync"),
            "ours, httpx2",
            base="ours, LangChain",
        ),
    ]
    for per_text in (0.0005, 0.005):
        found.append(
            bulk(
                f"Q 100 ms a request and {per_text * 1000:g} ms a text: how many at once?",
                Work(texts=5_000, dimensions=768),
                *(f"ours, {size} texts a request" for size in SIZES),
                server={"latency": 0.1, "latency_per_text": per_text, "dimensions": 768},
                base="ours, LangChain",
                figure="wall",
            )
        )
    return found
