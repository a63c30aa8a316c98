"""W15 and W16: the step that embeds a column of a table, beside one call and inside Ray."""

from __future__ import annotations

from tests.benchmarks.works import (
    AT_HAND_IN_RAY,
    COUNTS,
    STEP,
    STEP_IN_RAY,
    STEP_ON_PARQUET,
    Case,
    Column,
    Work,
    bulk,
)


def engines(share: float = 1.0) -> list[Case]:
    """List the cases."""
    texts = int(20_000 * share)
    return [
        bulk(
            f"W15 {texts:,} texts x 1,536 in a table of PyArrow, beside one call",
            Work(texts=texts, batch=192, concurrency=8),
            STEP,
            base="ours, array()",
            goals={STEP: 1.25},
        ),
        Case(
            name=f"W16 {texts:,} texts from Parquet to Parquet, 100 ms a request",
            work=Work(texts=texts, concurrency=16),
            drivers=(STEP_ON_PARQUET, STEP_IN_RAY, AT_HAND_IN_RAY),
            columns=(
                Column("wall", "wall s", digits=2),
                Column("wall", "x", over=STEP_ON_PARQUET),
                *COUNTS,
            ),
            judged=Column("wall", "wall", over=STEP_ON_PARQUET),
            server={"latency": 0.1},
        ),
    ]
