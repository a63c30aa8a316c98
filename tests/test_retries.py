"""Law 7: one retry layer, one gate."""

from __future__ import annotations

from email.utils import formatdate

import httpx
import pytest
from surfaces import OPENAI, Clock, Surface

from aimlapi_embeddings import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
)
from aimlapi_embeddings.emulator import Fault

RETRIED = (408, 409, 429, 500, 502, 503, 504)
NOT_RETRIED = (400, 401, 403, 404, 413, 422, 301, 418, 501)
CONNECTION_FAILURES = (
    httpx.ConnectError("refused"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("half a body"),
    httpx.ReadTimeout("slow"),
    httpx.ConnectTimeout("slow"),
)


@pytest.mark.parametrize("status", RETRIED)
def test_a_passing_failure_is_retried(surface: Surface, clock: Clock, status: int) -> None:
    surface.make(OPENAI)
    surface.wire.will(Fault(status), Fault(status))
    assert len(surface.documents(["a"])) == 1
    assert len(surface.wire.requests) == 3
    assert surface.client.usage.requests == 3
    assert surface.client.usage.retries == 2


@pytest.mark.parametrize("failure", CONNECTION_FAILURES, ids=lambda f: type(f).__name__)
def test_a_broken_connection_is_retried(surface: Surface, clock: Clock, failure: Exception) -> None:
    surface.make(OPENAI)
    surface.wire.will(failure)
    assert len(surface.documents(["a"])) == 1
    assert len(surface.wire.requests) == 2


@pytest.mark.parametrize("max_retries", [0, 1, 3])
@pytest.mark.parametrize("status", RETRIED)
def test_attempts_are_one_more_than_max_retries(
    surface: Surface, clock: Clock, max_retries: int, status: int
) -> None:
    surface.make(OPENAI, max_retries=max_retries)
    surface.wire.will(*[Fault(status)] * 9)
    with pytest.raises(APIStatusError) as caught:
        surface.documents(["a"])
    assert caught.value.status == status
    assert len(surface.wire.requests) == 1 + max_retries


def test_connection_errors_use_up_the_same_retries(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, max_retries=2)
    surface.wire.will(httpx.ConnectError("refused"), Fault(503), httpx.ReadTimeout("slow"))
    with pytest.raises(APITimeoutError, match="3 attempts") as caught:
        surface.documents(["a"])
    assert isinstance(caught.value, APIConnectionError)
    assert isinstance(caught.value.__cause__, httpx.ReadTimeout)


@pytest.mark.parametrize("status", NOT_RETRIED)
def test_a_lasting_refusal_is_not_retried(surface: Surface, clock: Clock, status: int) -> None:
    surface.make(OPENAI)
    surface.wire.will(Fault(status))
    with pytest.raises(APIStatusError) as caught:
        surface.documents(["a"])
    assert caught.value.status == status
    assert len(surface.wire.requests) == 1
    assert clock.waits == []


def test_waits_without_a_word_from_the_server_are_jittered_and_grow(clock: Clock) -> None:
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    for _ in range(20):
        clock.waits.clear()
        surface = Surface("core", "sync", _failing()).make(OPENAI, max_retries=len(bounds))
        with pytest.raises(APIStatusError):
            surface.documents(["a"])
        assert all(0 <= wait <= most for wait, most in zip(clock.waits, bounds, strict=True))
        assert len(set(clock.waits)) > 1


def _failing() -> object:
    from surfaces import Wire

    wire = Wire()
    wire.will(*[Fault(500)] * 20)
    return wire


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_obeyed(surface: Surface, clock: Clock, status: int) -> None:
    surface.make(OPENAI)
    surface.wire.will(Fault(status, retry_after="7"))
    before = clock.now
    surface.documents(["a"])
    assert 7.0 <= clock.now - before <= 7.7 + 1e-9


def test_retry_after_as_a_date_is_obeyed(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI)
    surface.wire.will(Fault(429, retry_after=formatdate(clock.time() + 30, usegmt=True)))
    before = clock.now
    surface.documents(["a"])
    assert 29.0 <= clock.now - before <= 33.0


def test_a_wait_that_is_too_long_raises_at_once(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, max_retry_wait=10.0)
    surface.wire.will(Fault(429, retry_after="11"))
    with pytest.raises(RateLimitError, match="max_retry_wait") as caught:
        surface.documents(["a"])
    assert caught.value.retry_after == 11.0
    assert clock.waits == []


def test_retry_after_closes_the_gate_for_every_batch(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, batch_size=1, max_concurrency=1)
    surface.wire.will(Fault(429, retry_after="5"))
    surface.documents(["a", "b", "c"])
    assert len(surface.wire.requests) == 4
    assert 5.0 <= sum(clock.waits) <= 5.5 + 1e-9


def test_a_429_without_a_word_halves_the_concurrency(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, max_concurrency=8, max_retries=0)
    surface.wire.will(Fault(429))
    with pytest.raises(RateLimitError):
        surface.documents(["a"])
    assert surface.client._runtime.slots.limit == 4
    for i in range(60):
        surface.documents([f"text {i}"])
    assert surface.client._runtime.slots.limit == 8


def test_a_429_whose_wait_cannot_be_read_halves_it_too(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, max_concurrency=8, max_retries=0)
    surface.wire.will(Fault(429, retry_after="soon"))
    with pytest.raises(RateLimitError):
        surface.documents(["a"])
    assert surface.client._runtime.slots.limit == 4


def test_a_429_that_names_a_wait_leaves_the_concurrency(surface: Surface, clock: Clock) -> None:
    surface.make(OPENAI, max_concurrency=8)
    surface.wire.will(Fault(429, retry_after="1"))
    surface.documents(["a"])
    assert surface.client._runtime.slots.limit == 8
