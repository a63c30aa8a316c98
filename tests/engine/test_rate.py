"""Requests and tokens per minute: evenly spaced, in turn, never more than a server counts."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings._engine.pacing import Lane, Pacer
from aimlapi_embeddings._engine.steps import Sleep, Wait
from tests.support.entry_points import Clock
from tests.support.waiting import Request

SHARE = 0.98  # of the rate that was asked for; the rest is for uneven networks and bursts
LOOK = 0.05


class Rig:
    """A pacer with rates and a simulated clock. Requests that get leave are answered at once."""

    def __init__(
        self, requests: float | None = None, tokens: float | None = None, most: int | None = 64
    ) -> None:
        self.clock = Clock()
        self.pacer = Pacer(
            most,
            self.clock.monotonic,
            None,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
        )

    def request(self, tokens: int = 1, lane: Lane = Lane.BULK) -> Request:
        return Request(self.pacer, lane, tokens=tokens)

    def leave(self, waiting: Sequence[Request]) -> list[float]:
        """Let requests wait until each has left; return when, in their order."""
        began = self.clock.now
        wakes = dict.fromkeys(waiting, began)
        left: dict[Request, float] = {}
        while wakes:
            request = min(wakes, key=lambda each: wakes[each])
            self.clock.now = max(self.clock.now, wakes[request])
            if request.step is not None and self.clock.now > began:
                request.look()
            if request.permit:
                left[request] = self.clock.now - began
                request.release()
                del wakes[request]
            else:
                assert isinstance(request.step, Sleep | Wait)
                wakes[request] = self.clock.now + request.step.seconds
        return [left[request] for request in waiting]


def in_a_minute(times: Sequence[float], amounts: Sequence[float]) -> float:
    """The most that a server sees in any minute of its clock."""
    return max(sum(amounts[i : bisect_left(times, start + 60.0)]) for i, start in enumerate(times))


def test_without_a_rate_nobody_waits() -> None:
    rig = Rig()
    assert all(rig.request().permit for _ in range(64))


def test_requests_are_spaced_evenly_behind_a_burst_of_one_second() -> None:
    rig = Rig(requests=600)
    times = rig.leave([rig.request() for _ in range(20)])
    assert times[:9] == [0.0] * 9
    spaces = [after - before for before, after in itertools.pairwise(times[9:])]
    assert spaces == pytest.approx([0.1 / SHARE] * len(spaces), abs=1e-6)


@pytest.mark.parametrize("rate", [0.5, 3, 60])
def test_a_burst_below_one_request_a_second_is_one_request(rate: float) -> None:
    rig = Rig(requests=rate)
    times = rig.leave([rig.request() for _ in range(4)])
    space = 60 / rate / SHARE
    assert times == pytest.approx([0, space, 2 * space, 3 * space], abs=LOOK)


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    rig = Rig(requests=600)
    rig.leave([rig.request() for _ in range(30)])
    rig.clock.now += 3600.0
    assert sum(time == 0.0 for time in rig.leave([rig.request() for _ in range(30)])) == 9


@given(rate=st.integers(1, 3000), count=st.integers(2, 150))
def test_a_server_that_counts_by_the_minute_sees_no_more_than_the_rate(
    rate: int, count: int
) -> None:
    rig = Rig(requests=rate, most=10_000)
    times = sorted(rig.leave([rig.request() for _ in range(count)]))
    assert in_a_minute(times, [1] * count) <= rate
    assert (count - 1) / max(times[-1], 1e-9) >= 0.95 * rate / 60


@given(
    rate=st.integers(60, 1_000_000),
    requests=st.one_of(st.none(), st.integers(60, 3000)),
    sizes=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=40),
)
def test_a_server_that_counts_tokens_sees_no_more_than_the_rate(
    rate: int, requests: int | None, sizes: list[float]
) -> None:
    rig = Rig(requests, rate, most=10_000)
    packed = rig.pacer.rates.packed_tokens
    tokens = [max(1, int(size * packed)) for size in sizes]
    waiting = [rig.request(each) for each in tokens]
    times = rig.leave(waiting)
    ordered = sorted(zip(times, tokens, strict=True))
    assert in_a_minute([time for time, _ in ordered], [each for _, each in ordered]) <= rate


@pytest.mark.parametrize(
    ("requests", "tokens", "packed"),
    [
        (None, 60_000, 1_000),  # one second's worth
        (600, 60_000, 1_000),
        (6, 60_000, 10_000),  # a sixth of the tokens for a sixth of the requests
        (0.5, 60_000, 60_000),
        (600, None, math.inf),
        (None, None, math.inf),
    ],
)
def test_texts_are_packed_so_that_few_requests_can_carry_all_tokens(
    requests: float | None, tokens: float | None, packed: float
) -> None:
    assert Rig(requests, tokens).pacer.rates.packed_tokens == packed


def test_a_request_of_more_than_a_second_leaves_when_all_before_it_is_paid_off() -> None:
    rig = Rig(tokens=6_000)
    sizes = [3_000, 3_000, 10]
    times = rig.leave([rig.request(size) for size in sizes])
    half = 30 / SHARE
    assert times == pytest.approx([0.0, half, 2 * half - 0.9], abs=0.1)


def test_both_rates_hold() -> None:
    rig = Rig(requests=60, tokens=600)
    times = rig.leave([rig.request(size) for size in (1, 1, 100, 1)])
    second = 1 / SHARE
    assert times == pytest.approx([0, second, 2 * second, 12 * second - 0.9], abs=0.1)


def test_what_a_reply_tells_of_its_tokens_replaces_the_estimate() -> None:
    few, many = Rig(tokens=600), Rig(tokens=600)
    for rig, actual in ((few, 60), (many, 200)):
        rig.leave([rig.request(100)])
        rig.pacer.correct_tokens(100, actual)
    assert few.leave([few.request(100)]) == pytest.approx([6 / SHARE])
    assert many.leave([many.request(100)]) == pytest.approx([20 / SHARE])


def test_a_reply_without_tokens_changes_nothing() -> None:
    rig = Rig(tokens=600)
    rig.leave([rig.request(100)])
    rig.pacer.correct_tokens(100, 0)
    assert rig.leave([rig.request(100)]) == pytest.approx([10 / SHARE])


# Turns


def test_requests_leave_in_order_of_arrival() -> None:
    rig = Rig(requests=60)
    times = rig.leave([rig.request() for _ in range(8)])
    assert times == sorted(times)
    assert len(set(times)) == 8


@pytest.mark.parametrize("most", [None, 64], ids=["two bounds", "one bound"])
def test_interactive_calls_go_first(most: int | None) -> None:
    rig = Rig(requests=60, most=most)
    bulk = [rig.request() for _ in range(4)]
    interactive = rig.request(lane=Lane.INTERACTIVE)
    *of_bulk, of_interactive = rig.leave([*bulk, interactive])
    assert of_bulk[0] == 0.0, "it had left before the other came"
    assert of_interactive < min(of_bulk[1:])
    assert of_interactive == pytest.approx(1 / SHARE, abs=LOOK)


def test_a_large_request_is_not_overtaken_by_small_ones_for_ever() -> None:
    rig = Rig(tokens=600)
    large = [rig.request(300) for _ in range(2)]
    small = [rig.request(1) for _ in range(100)]
    times = rig.leave([*large, *small])
    assert times[1] < min(times[2:])


def test_who_gives_up_has_used_nothing() -> None:
    rig = Rig(requests=60)
    first, *dropped, last = [rig.request() for _ in range(10)]
    for request in dropped:
        request.give_up()
    assert first.permit
    assert rig.leave([last]) == pytest.approx([1 / SHARE], abs=LOOK)


def test_who_gives_up_is_not_waited_for() -> None:
    alone, behind = Rig(requests=60), Rig(requests=60)
    for rig in (alone, behind):
        rig.leave([rig.request()])
    behind.request().give_up()
    expected = alone.leave([alone.request()])
    assert behind.leave([behind.request()]) == pytest.approx(expected, abs=LOOK / 5)


def test_who_waits_behind_one_that_gives_up_looks_again_within_a_second() -> None:
    rig = Rig(tokens=60)
    rig.leave([rig.request(60)])
    large, small = rig.request(60), rig.request(1)
    large.give_up()
    assert isinstance(small.step, Sleep)
    assert small.step.seconds <= 1.0


@pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())
def test_who_never_runs_again_holds_the_others_up_for_one_look_each(lane: Lane) -> None:
    rig = Rig(requests=60)
    rig.leave([rig.request()])
    _dead = rig.request(lane=lane)
    times = rig.leave([rig.request(), rig.request()])
    assert times == pytest.approx([1 / SHARE + LOOK, 2 / SHARE + 2 * LOOK], abs=2 * LOOK)


def test_a_request_that_waits_for_a_slot_has_used_no_rate() -> None:
    rig = Rig(requests=6, most=1)
    holder = rig.request()
    waiting = rig.request()
    rig.clock.now += 20.0
    assert isinstance(waiting.step, Sleep)
    assert not waiting.look()
    assert isinstance(waiting.step, Wait), "the rate has room, the bound has not"
    rig.clock.now += 20.0
    holder.release()
    assert waiting.look()
    waiting.release()
    assert rig.leave([rig.request()]) == pytest.approx([10 / SHARE], abs=LOOK)


# After a wait that the server asked for


def test_after_a_wait_that_the_server_asked_for_no_more_than_a_burst_leaves_at_once() -> None:
    rig = Rig(requests=600)
    rig.pacer.wait_for(30.0)
    times = sorted(rig.leave([rig.request() for _ in range(60)]))
    assert times[0] >= 30.0
    for i, time in enumerate(times):
        assert bisect_left(times, time + 1.0) - i <= 9 + 1.0 * 10 * SHARE + 1


# A client that goes on for another


def test_changed_rates_count_what_the_former_have_granted() -> None:
    rig = Rig(requests=60)
    rig.leave([rig.request()])
    rig.pacer = Pacer(64, rig.clock.monotonic, None, rig.pacer, requests_per_minute=120)
    assert rig.leave([rig.request(), rig.request()]) == pytest.approx(
        [1 / SHARE - 0.5, 1 / SHARE], abs=LOOK
    )


def test_a_rate_that_is_removed_delays_no_request() -> None:
    rig = Rig(requests=1, tokens=60)
    rig.leave([rig.request(60)])
    rig.pacer = Pacer(64, rig.clock.monotonic, None, rig.pacer)
    assert rig.request().permit
