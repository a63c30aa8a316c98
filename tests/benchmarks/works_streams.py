"""W14: any number of texts through `embed_iter`, whose vectors are looked at and dropped."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.works import BOTH, COUNTS, Case, Column, Work

EMBED = "ours, embed().vectors"
STREAM = "ours, stream"
BATCHES = "ours, stream of results"
MB = Column("mb", "MB", digits=0)
COLUMNS = (
    Column("wall", "wall s", digits=3),
    Column("wall", "x", over=EMBED),
    Column("cpu", "CPU s", digits=3),
    Column("cpu", "x", over=EMBED),
    Column("first", "first vector s", digits=3),
    MB,
    *COUNTS,
)


def streams(share: float = 1.0) -> list[Case]:
    """List the cases of W14."""
    many = Work(kind="stream", texts=int(20_000 * share))
    latency = Work(kind="stream", texts=int(5_000 * max(share, 0.2)), dimensions=768)
    long = Work(kind="stream", texts=int(1_000_000 * share), dimensions=64, concurrency=8)
    wall = Column("wall", "wall", over=EMBED)
    found = []
    for mode in BOTH:
        found += [
            Case(
                name=f"W14 W1 as a stream: {mode}",
                work=replace(many, mode=mode),
                drivers=(EMBED, STREAM, BATCHES),
                columns=COLUMNS,
                judged=wall,
                goals={STREAM: 0.60},
            ),
            Case(
                name=f"W14 W2 as a stream: {mode}",
                work=replace(latency, mode=mode),
                drivers=(EMBED, STREAM, BATCHES),
                columns=COLUMNS,
                judged=wall,
                goals={STREAM: 1.05},
                server={"latency": 0.1, "latency_per_text": 0.0005, "dimensions": 768},
            ),
            Case(
                name=f"W14 {long.texts:,} texts x 64 from a generator, 1,000 a request: {mode}",
                work=replace(long, mode=mode, batch=1000),
                drivers=(STREAM,),
                columns=(Column("wall", "wall s", digits=2), MB, *COUNTS),
                judged=MB,
                goals={STREAM: 100.0},
                server={"dimensions": 64},
            ),
        ]
    return found
