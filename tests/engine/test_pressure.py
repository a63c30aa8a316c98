"""Servers that refuse what is too much: their bound or rate is found, used and rarely exceeded."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import pytest

from aimlapi_embeddings.emulator import Emulator, Fault, Reply, Request, running
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unencrypted")]
LATENCY = 0.05  # seconds
JOB, SAMPLE = 2.5, 0.6  # seconds that a job takes with k requests in flight all the time
SETTLED = 1.0  # seconds after which the bound must have been found
CONCURRENCY = 16
MOST_REFUSED = 0.10  # share of the requests
LEAST_THROUGHPUT = 0.80  # of what the server allows
TRIES = 3


@dataclass
class Watched(Emulator):
    """A server that notes for each request whether it refused it."""

    refused: list[bool] = field(default_factory=list, init=False)

    def reply(self, request: Request, fault: Fault) -> Reply:
        self.refused.append(fault.status == 429)
        return super().reply(request, fault)


class Run(NamedTuple):
    """The result of a job: texts a second, and for each request whether it was refused."""

    throughput: float
    refused: list[bool]


def run(mode: Mode, seconds: float, k: int, bound: int | None, concurrency: int) -> Run:
    """Embed as many texts as a server with k requests in flight answers in `seconds`."""
    server = Watched(latency=LATENCY, max_in_flight=bound)
    texts = [f"text {i}" for i in range(round(k * seconds / LATENCY))]
    entry_point = EntryPoint("core", mode, FakeServer())
    with running(server) as base_url:
        entry_point.make_plain(
            model=OPENAI,
            api_key=KEY,
            base_url=base_url,
            dimensions=4,
            batch_size=1,
            max_concurrency=concurrency,
        )
        start = time.perf_counter()
        vectors = entry_point.documents(texts)
        elapsed = time.perf_counter() - start
        entry_point.client.close()
    assert vectors == EntryPoint("core", "sync", FakeServer()).make(OPENAI, dimensions=4).documents(
        texts
    )
    assert entry_point.client.usage.requests == len(server.refused)
    return Run(len(texts) / elapsed, server.refused)


def refused_once_settled(job: Run, k: int) -> float:
    """Return the share of refusals after the answers that k requests in flight give in SETTLED."""
    unsettled = round(k * SETTLED / LATENCY)
    answered = accumulate(not refused for refused in job.refused)
    rest = [refused for refused, n in zip(job.refused, answered, strict=True) if n > unsettled]
    return sum(rest) / len(rest)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_bound_of_a_server_is_found_and_used(mode: Mode, k: int) -> None:
    # The throughput of k requests in flight depends on the load of this machine, so it is measured
    # before and after the job. The load may change in between, so a job that is too slow is tried
    # again. A client that does not find k is too slow each time.
    allowed = run(mode, SAMPLE, k, bound=None, concurrency=k).throughput
    for _ in range(TRIES):
        job = run(mode, JOB, k, bound=k, concurrency=CONCURRENCY)
        before, allowed = allowed, run(mode, SAMPLE, k, bound=None, concurrency=k).throughput
        reached = job.throughput / min(before, allowed)
        assert refused_once_settled(job, k) < MOST_REFUSED
        if reached >= LEAST_THROUGHPUT:
            return
    pytest.fail(f"reached {reached:.0%} of what the server allows")


class TokenBucket:
    """Refuses requests above a rate, as nginx's `limit_req` does."""

    def __init__(self, rate: float, burst: int, refusal: Fault) -> None:
        self.rate, self.burst, self.refusal = rate, burst, refusal
        self._tokens, self._at = float(burst), time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Fault | None:
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._tokens + (now - self._at) * self.rate, self.burst)
            self._at = now
            if self._tokens < 1:
                return self.refusal
            self._tokens -= 1
            return None


@pytest.mark.parametrize("retry_after", [None, "1", "0"], ids="Retry-After {}".format)
def test_every_request_gets_through_a_limited_rate_with_and_without_a_hint(
    mode: Mode, retry_after: str | None
) -> None:
    texts = [f"text {i}" for i in range(24)]
    judge = TokenBucket(rate=8, burst=3, refusal=Fault(429, retry_after=retry_after))
    with running(Emulator(latency=0.02, judge=judge)) as base_url:
        entry_point = EntryPoint("core", mode, FakeServer()).make_plain(
            model=OPENAI, api_key=KEY, base_url=base_url, dimensions=4, batch_size=1
        )
        started = time.perf_counter()
        assert len(entry_point.documents(texts)) == len(texts)
        seconds = time.perf_counter() - started
        entry_point.client.close()
    ideal = (len(texts) - judge.burst) / judge.rate
    assert seconds < 6 * ideal
