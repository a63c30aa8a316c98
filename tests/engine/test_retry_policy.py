"""Is a failed request repeated, and after which wait? The failures of one request, in turn."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import (
    APIConnectionError,
    APITimeoutError,
    InternalServerError,
    RateLimitError,
    RequestTooLargeError,
)
from aimlapi_embeddings._engine.pacing import Pacer
from aimlapi_embeddings._engine.retries import GiveUp, Retries, RetryPolicy
from aimlapi_embeddings._engine.steps import Sleep
from aimlapi_embeddings._protocol.retry_hints import RetryHint
from tests.support.entry_points import Clock
from tests.support.waiting import Request

REPEATED = [408, 409, 425, 429, 500, 502, 503, 504, 520, 529, 599]
NOT_REPEATED = [301, 401, 402, 403, 404, 405, 410, 418, 501, 505, 511]


class Failing:
    """One request that fails again and again."""

    def __init__(
        self, max_retries: int = 99, max_retry_wait: float = 60.0, retry_for: float | None = None
    ) -> None:
        self.clock = Clock()
        self.pacer = Pacer(8, self.clock.monotonic, None)
        policy = RetryPolicy(max_retries, max_retry_wait, retry_for)
        self.retries = Retries(policy, self.pacer, self.clock.monotonic)

    def status(
        self,
        status: int,
        *,
        asks: float | None = None,
        binding: bool = True,
        outage: bool = True,
        **details: Any,
    ) -> float | GiveUp:
        """Fail with a status; return the wait, or the reason for giving up."""
        kind = RateLimitError if status == 429 else InternalServerError
        hint = None if asks is None else RetryHint(asks, binding)
        error = kind("x", status, **details)
        return self.retries.after_status_error(error, hint, outage=outage)

    def connection(self, error: APIConnectionError | None = None) -> float | GiveUp:
        """Fail without a reply."""
        return self.retries.after_connection_error(error or APIConnectionError("reset"))

    def everybody_waits(self) -> float:
        """Seconds for which no request of the client leaves, the jitter included."""
        step = Request(self.pacer).step
        return step.seconds if isinstance(step, Sleep) else 0.0


def assert_used_up(wait: float | GiveUp, max_retries: int) -> None:
    """A 429 ended the retries: the reason and the advice speak of that."""
    assert isinstance(wait, GiveUp)
    assert wait.reason == f"max_retries={max_retries} is used up"
    assert "raise max_retries" in wait.advice
    assert "max_concurrency" in wait.advice


@pytest.mark.parametrize("status", REPEATED)
def test_a_temporary_failure_is_repeated(status: int) -> None:
    assert not isinstance(Failing().status(status), GiveUp)


@pytest.mark.parametrize("status", NOT_REPEATED)
def test_a_lasting_failure_is_not_repeated(status: int) -> None:
    failing = Failing()
    assert failing.status(status, asks=1.0) == GiveUp()
    assert failing.everybody_waits() == 0.0


@pytest.mark.parametrize("max_retries", [0, 1, 5])
@pytest.mark.parametrize("status", [429, 503, None], ids=["429", "503", "connection"])
def test_attempts_are_one_more_than_max_retries(status: int | None, max_retries: int) -> None:
    failing = Failing(max_retries)
    waits = [failing.status(status) if status else failing.connection() for _ in range(7)]
    assert [isinstance(wait, GiveUp) for wait in waits] == [i >= max_retries for i in range(7)]


def test_all_kinds_of_failure_use_up_the_same_retries() -> None:
    failing = Failing(3)
    for fail in (failing.connection, lambda: failing.status(503), lambda: failing.status(429)):
        assert not isinstance(fail(), GiveUp)
    assert failing.connection(APITimeoutError("slow")) == GiveUp("max_retries=3 is used up")


def test_a_connection_that_can_never_succeed_is_not_repeated() -> None:
    error = APIConnectionError("no such host")
    error.permanent = True
    assert Failing().connection(error) == GiveUp()


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_quota_that_is_used_up_is_not_repeated(code: str) -> None:
    assert Failing().status(429, body={"error": {"code": code}}) == GiveUp()


def test_a_request_that_is_too_large_is_not_repeated_whatever_the_status() -> None:
    failing = Failing()
    for status in (429, 500):
        error = RequestTooLargeError("x", status)
        assert failing.retries.after_status_error(error, None, outage=True) == GiveUp()


# Waits of our own


@pytest.mark.parametrize("kind", ["connection", "5xx", "429 while others get through"])
def test_waits_are_drawn_from_all_of_a_bound_that_doubles_up_to_twenty_seconds(kind: str) -> None:
    drawn: list[list[float]] = []
    for _ in range(200):
        failing = Failing()
        act = {
            "connection": failing.connection,
            "5xx": partial(failing.status, 500),
            "429 while others get through": partial(failing.status, 429, outage=False),
        }[kind]
        drawn.append([act() for _ in range(8)])  # type: ignore[misc]
    bounds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    for waits, bound in zip(zip(*drawn, strict=True), bounds, strict=True):
        assert 0.0 <= min(waits) < 0.1 * bound
        assert 0.9 * bound < max(waits) <= bound


def test_waits_when_nobody_gets_through_outlast_a_minute_and_are_never_shortened() -> None:
    drawn = []
    for _ in range(200):
        failing = Failing(6)
        drawn.append([failing.status(429) for _ in range(6)])
    for waits, least in zip(zip(*drawn, strict=True), [1, 4, 10, 20, 30, 30], strict=True):
        assert least <= min(waits) < 1.05 * least
        assert 1.2 * least < max(waits) <= 1.25 * least


@given(st.floats(0, 100), st.integers(1, 40), st.booleans(), st.sampled_from([429, 500]))
def test_no_wait_of_ours_is_longer_than_max_retry_wait(
    longest: float, failures: int, outage: bool, status: int
) -> None:
    failing = Failing(max_retry_wait=longest)
    for _ in range(failures):
        wait = failing.status(status, outage=outage)
        assert not isinstance(wait, GiveUp)
        assert 0.0 <= wait <= longest


# Waits that the server asks for


@pytest.mark.parametrize("status", [429, 503, 408])
@pytest.mark.parametrize("binding", [True, False])
def test_a_wait_that_the_server_asks_for_holds_every_request(status: int, binding: bool) -> None:
    failing = Failing()
    assert failing.status(status, asks=8.0, binding=binding) == 0.0
    assert 8.0 <= failing.everybody_waits() <= 10.0


def test_a_failure_without_a_time_to_wait_delays_no_other_request() -> None:
    failing = Failing()
    failing.status(429)
    failing.status(503)
    failing.connection()
    assert failing.everybody_waits() == 0.0


@pytest.mark.parametrize("seconds", [0.0, -3.0, -1e9])
def test_a_server_that_says_now_gets_the_ordinary_jittered_wait(seconds: float) -> None:
    waits = []
    for _ in range(100):
        failing = Failing()
        waits.append(failing.status(429, asks=seconds))
        assert failing.everybody_waits() == 0.0
    assert 0.4 < max(waits) <= 0.5  # type: ignore[type-var]
    assert len(set(waits)) == 100


def test_a_binding_wait_above_max_retry_wait_gives_up_and_names_both() -> None:
    failing = Failing(max_retry_wait=10.0)
    assert failing.status(429, asks=10.0) == 0.0
    gave_up = failing.status(429, asks=3600.0)
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "the server asks to wait 3,600 s, more than max_retry_wait=10"
    assert "raise max_retry_wait" in gave_up.advice


def test_a_reset_header_never_gives_up_and_is_capped_at_max_retry_wait() -> None:
    failing = Failing(max_retry_wait=10.0)
    assert failing.status(429, asks=3600.0, binding=False) == 0.0
    assert 10.0 <= failing.everybody_waits() <= 12.5


# What a 429 costs


def test_a_429_costs_no_retry_while_others_get_through() -> None:
    failing = Failing(1)
    for _ in range(20):
        assert not isinstance(failing.status(429, outage=False), GiveUp)
    assert not isinstance(failing.status(429), GiveUp)
    gave_up = failing.status(429)
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "max_retries=1 is used up"
    assert "max_concurrency" in gave_up.advice


def test_a_429_costs_no_retry_when_another_request_succeeded_since_the_last_failure() -> None:
    """A slow server refuses often between two successes, so refusals alone are no outage."""
    failing = Failing(1)
    for _ in range(20):
        other = Request(failing.pacer)
        assert other.permit
        failing.pacer.succeeded(other.permit)
        other.release()
        assert not isinstance(failing.status(429, outage=True), GiveUp)


def test_an_outage_after_somebody_got_through_costs_retries_again() -> None:
    failing = Failing(1)
    other = Request(failing.pacer)
    assert other.permit
    failing.pacer.succeeded(other.permit)
    other.release()
    assert not isinstance(failing.status(429), GiveUp), "somebody got through since its beginning"
    assert not isinstance(failing.status(429), GiveUp), "nobody since: this costs the one retry"
    assert isinstance(failing.status(429), GiveUp)


@pytest.mark.parametrize("status", [500, 503])
def test_a_status_other_than_429_costs_a_retry_whoever_gets_through(status: int) -> None:
    failing = Failing(1)
    assert not isinstance(failing.status(status, outage=False), GiveUp)
    assert isinstance(failing.status(status, outage=False), GiveUp)


def test_a_429_while_others_get_through_ends_nothing_when_all_retries_are_used() -> None:
    failing = Failing(1)
    assert not isinstance(failing.status(503), GiveUp)
    assert not isinstance(failing.status(429, outage=False), GiveUp)
    assert isinstance(failing.status(503), GiveUp)


def test_a_request_that_alone_never_gets_through_ends_too() -> None:
    failing = Failing(3)
    waits = 0
    while not isinstance(failing.status(429, outage=False), GiveUp):
        waits += 1
        assert waits < 1000
    assert 50 <= waits <= 60


def test_without_retries_the_first_429_ends_it() -> None:
    assert isinstance(Failing(0).status(429, outage=False), GiveUp)


def test_failures_that_cost_nothing_lengthen_the_ordinary_waits() -> None:
    longest = 0.0
    for _ in range(30):
        failing = Failing()
        for _ in range(9):
            failing.status(429, outage=False)
        wait = failing.status(503)
        assert not isinstance(wait, GiveUp)
        longest = max(longest, wait)
    assert longest > 10.0


# Repeats that are bounded by time


def test_with_retry_for_a_request_may_fail_any_number_of_times() -> None:
    failing = Failing(retry_for=1e9)
    waits = [failing.connection() for _ in range(1_100)]
    assert not any(isinstance(wait, GiveUp) for wait in waits)


@pytest.mark.parametrize("status", [429, 503, None], ids=["429", "503", "connection"])
@pytest.mark.parametrize("max_retries", [0, 3])
def test_with_retry_for_a_request_is_repeated_until_the_time_is_over(
    status: int | None, max_retries: int
) -> None:
    failing = Failing(max_retries, retry_for=100.0)

    def fail() -> float | GiveUp:
        return failing.status(status) if status else failing.connection()

    began, failures = failing.clock.now, 0
    while not isinstance(wait := fail(), GiveUp):
        failures += 1
        failing.clock.now += wait
        assert failing.clock.now <= began + 100.0, "the last repeat is within the time"
    assert failing.clock.now == pytest.approx(began + 100.0)
    assert failures > max_retries
    assert wait.reason == "retry_for=100 is used up"
    assert "max_retries" not in wait.advice
    assert ("raise retry_for" in wait.advice) is (status == 429)


def test_the_time_begins_with_the_first_failure_and_not_with_the_wait_for_leave() -> None:
    failing = Failing(retry_for=10.0)
    failing.clock.now += 3600.0
    assert not isinstance(failing.status(503), GiveUp)
    failing.clock.now += 10.0
    assert isinstance(failing.status(503), GiveUp)


def test_with_retry_for_a_429_while_others_get_through_ends_with_the_time_too() -> None:
    failing = Failing(retry_for=10.0)
    assert not isinstance(failing.status(429, outage=False), GiveUp)
    failing.clock.now += 10.0
    assert isinstance(failing.status(429, outage=False), GiveUp)


def test_with_retry_for_a_lasting_failure_is_still_not_repeated() -> None:
    failing = Failing(retry_for=100.0)
    assert failing.status(401) == GiveUp()
    assert Failing(retry_for=100.0).status(501) == GiveUp()


def test_a_binding_wait_beyond_retry_for_gives_up_at_once_and_names_both() -> None:
    failing = Failing(retry_for=10.0)
    assert failing.status(429, asks=8.0) == 0.0
    failing.clock.now += 8.0
    gave_up = failing.status(429, asks=8.0)
    assert isinstance(gave_up, GiveUp)
    assert gave_up.reason == "the server asks to wait 8 s, more than is left of retry_for=10"
    assert "raise retry_for" in gave_up.advice
