"""Retries: which failures are retried, how often, and after which wait."""

from __future__ import annotations

from email.utils import formatdate

import httpx
import pytest

from aimlapi_embeddings import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
)
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import OPENAI, Clock, EntryPoint, FakeServer

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 520, 529)
NOT_RETRIED = (400, 401, 403, 404, 413, 422, 301, 418, 501, 505, 511)
CONNECTION_FAILURES = (
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("half a body"),
    httpx.ReadTimeout("slow"),
    httpx.ConnectTimeout("slow"),
)


@pytest.mark.parametrize("status", RETRIED)
def test_a_temporary_failure_is_retried(entry_point: EntryPoint, clock: Clock, status: int) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(status), Fault(status))
    assert len(entry_point.documents(["a"])) == 1
    assert len(entry_point.fake_server.requests) == 3
    assert entry_point.client.usage.requests == 3
    assert entry_point.client.usage.retries == 2


@pytest.mark.parametrize("failure", CONNECTION_FAILURES, ids=lambda f: type(f).__name__)
def test_a_broken_connection_is_retried(
    entry_point: EntryPoint, clock: Clock, failure: Exception
) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(failure)
    assert len(entry_point.documents(["a"])) == 1
    assert len(entry_point.fake_server.requests) == 2


@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize("status", RETRIED)
def test_attempts_are_one_more_than_max_retries(
    entry_point: EntryPoint, clock: Clock, max_retries: int, status: int
) -> None:
    entry_point.make(OPENAI, max_retries=max_retries)
    entry_point.fake_server.will(*[Fault(status)] * 9)
    with pytest.raises(APIStatusError) as caught:
        entry_point.documents(["a"])
    assert caught.value.status == status
    assert len(entry_point.fake_server.requests) == 1 + max_retries


def test_connection_errors_use_up_the_same_retries(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, max_retries=2)
    entry_point.fake_server.will(
        httpx.ConnectError("refused"), Fault(503), httpx.ReadTimeout("slow")
    )
    with pytest.raises(APITimeoutError, match="3 attempts") as caught:
        entry_point.documents(["a"])
    assert isinstance(caught.value, APIConnectionError)
    assert isinstance(caught.value.__cause__, httpx.ReadTimeout)


@pytest.mark.parametrize("status", NOT_RETRIED)
def test_a_permanent_refusal_is_not_retried(
    entry_point: EntryPoint, clock: Clock, status: int
) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(status))
    with pytest.raises(APIStatusError) as caught:
        entry_point.documents(["a"])
    assert caught.value.status == status
    assert len(entry_point.fake_server.requests) == 1
    assert clock.waits == []


def test_waits_without_a_hint_of_the_server_are_jittered_and_grow(clock: Clock) -> None:
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    for _ in range(20):
        clock.waits.clear()
        fake_server = FakeServer()
        fake_server.will(*[Fault(500)] * (1 + len(bounds)))
        entry_point = EntryPoint("core", "sync", fake_server).make(OPENAI, max_retries=len(bounds))
        with pytest.raises(APIStatusError):
            entry_point.documents(["a"])
        assert all(0 <= wait <= most for wait, most in zip(clock.waits, bounds, strict=True))
        assert len(set(clock.waits)) > 1


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_obeyed(
    entry_point: EntryPoint, clock: Clock, status: int
) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(status, retry_after="7"))
    before = clock.now
    entry_point.documents(["a"])
    assert 7.0 <= clock.now - before <= 7.0 * 1.25 + 1e-9


def test_retry_after_as_a_date_is_obeyed(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(429, retry_after=formatdate(clock.time() + 30, usegmt=True)))
    before = clock.now
    entry_point.documents(["a"])
    assert 29.0 <= clock.now - before <= 30.0 + 5.0


def test_a_wait_above_max_retry_wait_raises_at_once(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, max_retry_wait=10.0)
    entry_point.fake_server.will(Fault(429, retry_after="11"))
    with pytest.raises(RateLimitError, match="max_retry_wait") as caught:
        entry_point.documents(["a"])
    assert caught.value.retry_after == 11.0
    assert clock.waits == []


def test_retry_after_delays_every_batch(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, batch_size=1, max_concurrency=1)
    entry_point.fake_server.will(Fault(429, retry_after="5"))
    entry_point.documents(["a", "b", "c"])
    assert len(entry_point.fake_server.requests) == 4
    assert 5.0 <= sum(clock.waits) <= 5.0 * 1.25 + 1e-9
