"""Where requests are what is scarce, a call makes as few of them as it can."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint

ROWS = [f"row {i}" for i in range(2_000)]


class Unlimited:
    """A limiter in the shape of both frameworks' that grants everything, and counts."""

    tokens_per_minute = None

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self, num_tokens: int = 0) -> bool:
        self.asked += 1
        return True

    async def aacquire(self, num_tokens: int = 0) -> bool:
        return self.acquire(num_tokens)


@pytest.mark.parametrize(("model", "few", "many"), [(GOOGLE, 8, 8), (OPENAI, 1, 8)])
def test_a_call_with_a_rate_limiter_makes_as_few_requests_as_the_model_allows(
    entry_point: EntryPoint, model: str, few: int, many: int
) -> None:
    limiter = Unlimited()
    found = entry_point.make(model, rate_limiter=limiter).documents(ROWS)
    assert len(found) == len(ROWS)
    assert len(entry_point.fake_server.requests) == limiter.asked == few
    entry_point.fake_server.requests.clear()
    entry_point.make(model).documents(ROWS)
    assert len(entry_point.fake_server.requests) == many


@pytest.mark.parametrize(("limiter", "requests"), [(Unlimited(), 2), (None, 4)])
def test_a_job_of_windows_makes_one_request_of_each(
    entry_point: EntryPoint, limiter: Any, requests: int
) -> None:
    entry_point.make(GOOGLE, rate_limiter=limiter)
    for start in (0, 250):
        entry_point.documents(ROWS[start : start + 128])
    assert len(entry_point.fake_server.requests) == requests
