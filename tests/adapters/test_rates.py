"""`requests_per_minute` and `tokens_per_minute`, through the core and both adapters."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from aimlapi_embeddings import InvalidInputError, emulator
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import GOOGLE, OPENAI, Clock, EntryPoint, Mode, Package

SHARE = 0.98  # of the rate; the rest is for bursts and uneven networks
ROWS = [f"row {i}" for i in range(2_000)]


def test_requests_of_a_call_are_spaced(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, requests_per_minute=30, batch_size=1, max_concurrency=1)
    entry_point.documents(ROWS[:4])
    assert clock.now - 1_000 == pytest.approx(3 * 2 / SHARE, abs=0.01)


def test_tokens_of_a_call_are_spaced(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, tokens_per_minute=600, max_concurrency=1)
    entry_point.fake_server.answer = told(10)
    entry_point.documents(["x" * 29 + str(i) for i in range(4)])
    assert len(entry_point.fake_server.requests) == 4
    assert clock.now - 1_000 == pytest.approx(3 / SHARE, abs=0.2)


def told(tokens: int) -> Any:
    def answer(request: emulator.Request) -> emulator.Reply:
        reply = emulator.answer(request)
        body = {**json.loads(reply.body), "usage": {"total_tokens": tokens}}
        return reply._replace(body=json.dumps(body).encode())

    return answer


def test_replies_that_tell_fewer_tokens_speed_up_what_follows(
    entry_point: EntryPoint, clock: Clock
) -> None:
    entry_point.make(OPENAI, tokens_per_minute=600, max_concurrency=1)
    entry_point.fake_server.answer = told(5)
    entry_point.documents(["x" * 29 + str(i) for i in range(21)])
    assert clock.now - 1_000 == pytest.approx(20 * 0.5 / SHARE, abs=1.0)


def test_all_calls_of_an_object_share_a_rate(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, requests_per_minute=6)
    entry_point.query("a")
    entry_point.documents(["b"])
    client = entry_point.client
    client.embed(["c"])
    asyncio.run(client.aembed(["d"]))
    assert clock.now - 1_000 == pytest.approx(3 * 10 / SHARE, abs=0.01)


def test_a_repeat_takes_its_turn_too(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, requests_per_minute=6)
    entry_point.fake_server.will(emulator.Fault(503), emulator.Fault(503))
    entry_point.query("a")
    assert clock.now - 1_000 == pytest.approx(2 * 10 / SHARE, abs=0.01)


@pytest.mark.parametrize("package", ["langchain", "llama_index"])
def test_a_rate_that_is_assigned_counts_what_was_sent_before(
    package: Package, mode: Mode, fake_server: Any, clock: Clock
) -> None:
    entry_point = EntryPoint(package, mode, fake_server).make(OPENAI, requests_per_minute=6)
    entry_point.query("a")
    entry_point.embedder.requests_per_minute = 12
    entry_point.query("b")
    assert clock.now - 1_000 == pytest.approx(10 / SHARE, abs=0.01)


@pytest.mark.parametrize(("model", "few", "many"), [(GOOGLE, 8, 8), (OPENAI, 1, 8)])
def test_with_a_rate_a_call_makes_as_few_requests_as_the_model_allows(
    entry_point: EntryPoint, model: str, few: int, many: int
) -> None:
    entry_point.make(model, requests_per_minute=100_000).documents(ROWS)
    assert len(entry_point.fake_server.requests) == few
    entry_point.fake_server.requests.clear()
    entry_point.make(model).documents(ROWS)
    assert len(entry_point.fake_server.requests) == many


@pytest.mark.parametrize("requests", [None, 6])
def test_a_request_carries_its_share_of_the_tokens(
    entry_point: EntryPoint, clock: Clock, requests: int | None
) -> None:
    """A second's worth; or, where requests are few, as much as uses the tokens up."""
    entry_point.make(OPENAI, tokens_per_minute=6_000, requests_per_minute=requests)
    texts = ["x" * 26 + f"{i:03d}" for i in range(100)]  # of 10 tokens
    estimate = entry_point.client.estimate(texts)
    assert estimate.tokens == 1_000
    assert estimate.requests == (10 if requests is None else 1)


def test_a_text_that_can_never_be_granted_is_refused_by_name(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, tokens_per_minute=100)
    with pytest.raises(InvalidInputError, match=r"texts\[1\] .*tokens_per_minute=100") as caught:
        entry_point.documents(["short", "x" * 300])
    assert caught.value.indices == (1,)
    assert entry_point.fake_server.requests == []


def test_a_rate_and_a_limiter_apply_together(entry_point: EntryPoint, clock: Clock) -> None:
    class Counting:
        asked = 0

        def acquire(self) -> None:
            self.asked += 1

        async def aacquire(self) -> None:
            self.asked += 1

    limiter = Counting()
    entry_point.make(
        OPENAI, requests_per_minute=6, rate_limiter=limiter, batch_size=1, max_concurrency=1
    )
    entry_point.documents(ROWS[:3])
    assert limiter.asked == 3
    assert clock.now - 1_000 == pytest.approx(2 * 10 / SHARE, abs=0.01)


@pytest.mark.parametrize("option", ["requests_per_minute", "tokens_per_minute", "retry_for"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "many"])
def test_a_rate_that_is_no_amount_is_refused_by_name(
    entry_point: EntryPoint, option: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=option):
        entry_point.make(GOOGLE, **{option: value})


class Strict:
    """A server with a token bucket for requests and one for tokens, of two seconds' worth each.

    Attributes:
        granted: Seconds and tokens of each request that was granted.
        refused: How many were not.
    """

    def __init__(self, requests: float, tokens: float) -> None:
        self._rates = (requests, tokens)
        self._left = [2.0 * requests, 2.0 * tokens]
        self._at = time.monotonic()
        self._lock = threading.Lock()
        self.granted: list[tuple[float, int]] = []
        self.refused = 0

    def judge(self, request: emulator.Request) -> emulator.Fault | None:
        """Refuse what is above a rate."""
        tokens = json.loads(emulator.answer(request).body)["usage"]["total_tokens"]
        with self._lock:
            now = time.monotonic()
            for i, rate in enumerate(self._rates):
                self._left[i] = min(2.0 * rate, self._left[i] + rate * (now - self._at))
            self._at = now
            left = [self._left[0] - 1.0, self._left[1] - tokens]
            if min(left) < 0.0:
                self.refused += 1
                return emulator.Fault(429, retry_after="1")
            self._left = left
            self.granted.append((now, tokens))
            return None

    def share(self) -> float:
        """How much of the scarcer rate was used, without the burst of the first second."""
        seconds = self.granted[-1][0] - self.granted[0][0]
        used = (len(self.granted), sum(tokens for _, tokens in self.granted))
        return max((u - rate) / rate / seconds for u, rate in zip(used, self._rates, strict=True))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("requests", "tokens"), [(40, 10_000), (400, 700)])
def test_a_server_that_enforces_its_rates_refuses_nothing_and_is_used_fully(
    mode: Mode, requests: int, tokens: int
) -> None:
    """In real time: once the requests are scarce, and once the tokens."""
    server = Strict(requests, tokens)
    texts = [f"The ship {i} left the harbour before the fog had risen." for i in range(300)]
    with serving(judge=server.judge, latency=0.05) as (_, base_url):
        entry_point = connected(
            "core",
            mode,
            base_url,
            requests_per_minute=60 * requests,
            tokens_per_minute=60 * tokens,
            batch_size=2,
        )
        entry_point.documents(texts)
        entry_point.client.close()
    assert server.refused == entry_point.client.usage.retries == 0
    assert server.share() >= 0.95
