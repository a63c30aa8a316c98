"""W7 to W10: what users of an application feel, with each package's own defaults.

W7: many users ask at once. W8: a query beside an ingestion. W9: stalls of the event loop. W10: from
chunks to a filled vector store. The server answers after 100 ms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.benchmarks.works import BOTH, COUNTS, OURS, RIVALS, Case, Column, Work

# pydantic-ai's sync methods run its async client in a loop for each thread, where it fails as soon
# as two threads share it ("bound to a different event loop"): no row of its own with threads.
OTHERS = {"sync": RIVALS, "async": (*RIVALS, "pydantic-ai")}
LATENCY: dict[str, Any] = {"latency": 0.1}
P50 = Column("p50", "p50 ms", 1e3, 0)
P99 = Column("p99", "p99 ms", 1e3, 0)
GAP = Column("longest gap", "longest gap ms", 1e3, 0)

# Most seconds at the 99th percentile, for LangChain and LlamaIndex.
USERS: dict[str, dict[int, tuple[float, float] | None]] = {
    "async": {1: None, 50: (0.25, 0.25), 200: (0.40, 0.45)},
    "sync": {1: None, 40: (0.15, 0.15), 50: None, 200: (0.40, 0.40)},
}

# In each framework: the rival, ours, and a stand-in that has all vectors at hand.
FRAMEWORKS = {
    "LangChain": ("langchain-openai", "ours, LangChain", "vectors at hand, LangChain"),
    "LlamaIndex": (
        "llama-index-embeddings-openai",
        "ours, LlamaIndex",
        "vectors at hand, LlamaIndex",
    ),
}
# The most that ours may take of the rival's wall time; None: the store itself takes most of it.
STORES: dict[str, dict[str, float | None]] = {
    "LangChain": {"FAISS": 0.42, "LanceDB": 0.42, "Chroma": None, "Qdrant": None},
    "LlamaIndex": {"simple": 0.20, "FAISS": None, "LanceDB": None, "Chroma": None, "Qdrant": None},
}


def users(share: float = 1.0) -> list[Case]:
    """List the cases of W7."""
    return [
        of_users(count, mode, share, limits)
        for mode, rows in USERS.items()
        for count, limits in rows.items()
    ]


def of_users(
    count: int, mode: str, share: float = 1.0, limits: tuple[float, float] | None = None
) -> Case:
    """A case of W7: all users ask, and, when all are answered, ask again."""
    times = 20 if count == 1 else 4
    return Case(
        name=f"W7 {count} users ask at once, {'threads' if mode == 'sync' else 'tasks'}",
        work=Work(
            kind="users",
            users=count,
            queries=max(1, int(times * share)),
            mode=mode,
            concurrency=None,
        ),
        drivers=("floor", *OURS, *OTHERS[mode]),
        columns=(P50, P99, Column("cpu", "CPU s"), *COUNTS),
        judged=P99,
        goals=dict(zip(OURS, limits, strict=True)) if limits else {},
        server=LATENCY,
    )


def beside(share: float = 1.0) -> list[Case]:
    """List the cases of W8: a query is due every 50 ms."""
    texts = int(20_000 * share)
    return [
        Case(
            name=f"W8 queries beside an ingestion of {texts:,} texts by the same object, {mode}",
            work=Work(kind="beside", texts=texts, mode=mode, concurrency=None),
            drivers=("floor", *OURS, *OTHERS[mode]),
            columns=(
                P50,
                Column("longest", "longest ms", 1e3, 0),
                Column("asked", "queries", digits=0),
                Column("wall", "ingestion s"),
                *COUNTS,
            ),
            judged=P50,
            goals=dict.fromkeys(OURS, 0.20),
            server=LATENCY,
        )
        for mode in BOTH
    ]


def stalls(share: float = 1.0) -> list[Case]:
    """List the cases of W9: how long a task that sleeps 1 ms was kept from running."""
    work = Work(kind="stalls", mode="async", concurrency=None)
    many, more, numbers = int(20_000 * share), int(100_000 * share), int(4_000 * share)
    rows: list[tuple[str, int, tuple[str, ...], dict[str, Any]]] = [
        (f"{many:,} texts x 1,536 as base64", many, OTHERS["async"], {}),
        (f"{more:,} texts x 1,536 as base64", more, (), {}),
        (f"{numbers:,} texts x 1,536 as JSON numbers", numbers, OTHERS["async"], {"base64": False}),
        (f"{many:,} texts x 1,536 as JSON numbers", many, (), {"base64": False}),
    ]
    return [
        Case(
            name=f"W9 the loop beside {name}",
            work=replace(work, texts=texts),
            drivers=("floor", *OURS, *others),
            columns=(
                GAP,
                Column("gaps", "gaps over 50 ms", digits=0),
                Column("stalled", "their sum, s"),
                Column("wall", "wall s"),
                Column("cpu", "CPU s"),
                Column("requests", "requests", digits=0),
            ),
            judged=GAP,
            goals=dict.fromkeys(OURS, 0.05),
            server={**LATENCY, **server},
        )
        for name, texts, others, server in rows
    ]


def end_to_end(share: float = 1.0) -> list[Case]:
    """List the cases of W10."""
    chunks = int(20_000 * share)
    found = []
    for framework, stores in STORES.items():
        rival, ours, at_hand = FRAMEWORKS[framework]
        for store, goal in stores.items():
            found.append(
                Case(
                    name=f"W10 {chunks:,} chunks into {store}, {framework}",
                    work=Work(
                        kind="store", texts=chunks, concurrency=None, store=f"{framework} {store}"
                    ),
                    drivers=(rival, ours, at_hand),
                    columns=(
                        Column("wall", "wall s"),
                        Column("wall", "x", over=rival),
                        Column("wall", "the store's own share", share=at_hand),
                        Column("cpu", "CPU s"),
                        Column("mb", "MB", digits=0),
                        Column("mb", "x", over=rival),
                        *COUNTS,
                    ),
                    judged=Column("wall", "wall", over=rival),
                    goals={} if goal is None else {ours: goal},
                    server=LATENCY,
                )
            )
    return found


def felt(share: float = 1.0) -> list[Case]:
    """List W7 to W10."""
    return [*users(share), *beside(share), *stalls(share), *end_to_end(share)]
