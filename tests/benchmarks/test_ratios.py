"""A short form for every day: `pytest tests/benchmarks --benchmark-only`. Fails on no ratio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks import bench
from tests.benchmarks.works import Case, cases

SHARE = 0.1


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with bench.server() as url:
        yield url


@pytest.mark.parametrize("case", cases(SHARE), ids=lambda case: case.name)
def test_the_ratio_to_the_floor(case: Case, url: str, benchmark: Any) -> None:
    table = benchmark.pedantic(bench.rounds, (case, url, 1), rounds=1)
    ratios = {driver: round(row[f"{case.figure} ratio"], 2) for driver, row in table.items()}
    benchmark.extra_info.update(ratios)
    print(f"\n{case.name}: {case.figure} as a share of {case.base}: {ratios}")
