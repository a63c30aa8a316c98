"""W12: what a file of vectors costs, read and written."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.works import BOTH, Case, Column, Work, bulk, queries

BARE = "floor, bare sqlite3"
READING = {"ours, find()": 1.3, "ours, cached array()": 1.8}


def cached(share: float = 1.0) -> list[Case]:
    """List the cases of W12."""
    texts = int(50_000 * share)
    read = Work(kind="cached", texts=texts, dimensions=768)
    latency = Work(texts=int(5_000 * max(share, 0.2)), dimensions=768)
    found = []
    for mode in BOTH:
        found += [
            bulk(
                f"W12 {texts:,} texts x 768, all of them cached: {mode}",
                replace(read, mode=mode),
                *READING,
                base=BARE,
                figure="wall",
                server={"dimensions": 768},
                goals=READING,
            ),
            bulk(
                f"W12 W2 with a cache that is empty: {mode}",
                replace(latency, mode=mode),
                "ours, LangChain, cached",
                base="ours, LangChain",
                figure="wall",
                server={"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768},
                goals={"ours, LangChain, cached": 1.10},
            ),
            replace(
                queries(
                    f"W12 one cached query at a time: {mode}",
                    Work(queries=int(1000 * max(share, 0.2)), mode=mode),
                    base="ours, cached array()",
                    columns=(Column("wall", "wall us", 1e6, 0), Column("cpu", "CPU us", 1e6, 0)),
                    goals={"ours, cached array()": 100e-6},
                ),
                work=Work(kind="cached queries", queries=int(1000 * max(share, 0.2)), mode=mode),
                judged=Column("wall", "wall us", 1e6, 0),
            ),
        ]
    return found
