"""When may the next request leave?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from threading import Event

import pytest
from aimlapi_embeddings._engine.backoff import Gate, RetryPolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings._protocol.retry_hints import parse_retry_after
from tests.support.entry_points import Clock

FUZZ = settings(deadline=None, max_examples=100)
NOW = 1_790_000_000.0  # Mon, 21 Sep 2026 14:13:20 GMT


def retry_after(value: str) -> float | None:
    return parse_retry_after({"retry-after": value}, lambda: NOW)


@pytest.mark.parametrize(
    ("retry", "bound"),
    [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 20.0), (7, 20.0), (5000, 20.0)],
)
def test_a_wait_is_drawn_from_all_of_a_bound_that_doubles_up_to_twenty_seconds(
    retry: int, bound: float
) -> None:
    waits = [RetryPolicy(9, 60.0).delay(retry) for _ in range(300)]
    assert 0.0 <= min(waits) < 0.1 * bound
    assert 0.9 * bound < max(waits) <= bound


@FUZZ
@given(st.integers(0, 10**6), st.floats(0, 100))
def test_no_wait_is_longer_than_max_retry_wait(retry: int, longest: float) -> None:
    assert 0.0 <= RetryPolicy(9, longest).delay(retry) <= longest


def test_a_gate_is_open_until_it_is_shut() -> None:
    assert Gate(Clock().monotonic).remaining() <= 0


def test_a_shut_gate_opens_after_the_wait_and_at_most_a_tenth_more() -> None:
    for _ in range(50):
        clock = Clock()
        gate = Gate(clock.monotonic)
        gate.shut_for(10.0)
        assert 10.0 <= gate.remaining() <= 11.0


def test_those_who_waited_together_do_not_leave_together() -> None:
    gates = [Gate(Clock().monotonic) for _ in range(20)]
    for gate in gates:
        gate.shut_for(10.0)
    assert len({gate.remaining() for gate in gates}) > 10


def test_a_gate_opens_with_time() -> None:
    clock = Clock()
    gate = Gate(clock.monotonic)
    gate.shut_for(10.0)
    before = gate.remaining()
    clock.sleep(4.0, Event())
    assert gate.remaining() == pytest.approx(before - 4.0)
    clock.sleep(gate.remaining(), Event())
    assert gate.remaining() <= 0


def test_a_shorter_wait_does_not_open_a_gate_earlier() -> None:
    gate = Gate(Clock().monotonic)
    gate.shut_for(10.0)
    gate.shut_for(1.0)
    assert gate.remaining() >= 10.0


def test_a_longer_wait_keeps_a_gate_shut_for_longer() -> None:
    gate = Gate(Clock().monotonic)
    gate.shut_for(1.0)
    gate.shut_for(10.0)
    assert gate.remaining() >= 10.0


def test_no_wait_at_all_leaves_a_gate_open() -> None:
    gate = Gate(Clock().monotonic)
    gate.shut_for(0.0)
    assert gate.remaining() <= 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("0.25", 0.25), ("1e2", 100.0),
        ("-5", 0.0), ("-0.1", 0.0),
    ],
)  # fmt: skip
def test_seconds_are_read_and_never_negative(value: str, seconds: float) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["", " ", "soon", "inf", "-inf", "nan", "1e999", "7 seconds", "7,5", "0x10", "Wed",
     "Wed, 99 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015", ", , ,"],
)  # fmt: skip
def test_what_cannot_be_read_is_no_wait_at_all(value: str) -> None:
    assert retry_after(value) is None


def test_a_missing_header_is_no_wait_at_all() -> None:
    assert parse_retry_after({}, lambda: NOW) is None


@pytest.mark.parametrize(("offset", "seconds"), [(30, 30.0), (0, 0.0), (-30, 0.0), (-(10**9), 0.0)])
def test_a_date_is_read_as_seconds_from_now_and_a_past_one_as_now(
    offset: int, seconds: float
) -> None:
    assert retry_after(formatdate(NOW + offset, usegmt=True)) == seconds


def test_a_date_in_another_zone_is_the_same_moment() -> None:
    assert retry_after("Mon, 21 Sep 2026 19:45:00 +0530") == 100.0


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock is nine hours ahead."""
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its time zone")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
@pytest.mark.usefixtures("far_from_greenwich")
def test_each_form_of_a_date_that_http_ever_had_is_in_greenwich_time(form: str) -> None:
    assert retry_after(time.strftime(form, time.gmtime(NOW + 90))) == 90.0


@FUZZ
@given(st.text(max_size=30) | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,5} \d\d?:\d\d(:\d\d)? .*"))
def test_whatever_a_server_says_is_a_wait_of_some_seconds_or_none(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or 0.0 <= seconds < float("inf")
