"""A short form for every day: `pytest tests/benchmarks --benchmark-only`. Fails on no ratio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks import bench
from tests.benchmarks.works import Case, cases
from tests.benchmarks.works_cached import cached
from tests.benchmarks.works_felt import beside, stalls, users
from tests.benchmarks.works_streams import streams

SHARE = 0.1


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with bench.server() as url:
        yield url


CASES = [
    *cases(SHARE),
    *users(SHARE),
    *beside(SHARE),
    *stalls(SHARE),
    *cached(SHARE),
    *streams(SHARE),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_ratio_to_the_floor(case: Case, url: str, benchmark: Any) -> None:
    runs = benchmark.pedantic(bench.rounds, (case, url, 1), rounds=1)
    ratios = {driver: bench.value(case.judged, driver, runs) for driver in runs}
    benchmark.extra_info.update(ratios)
    print(f"\n{bench.markdown(case, runs)}")
