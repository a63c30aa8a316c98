"""The bound on requests under way: it holds, is lowered by refusals, and grows back."""

from __future__ import annotations

import asyncio
import threading

import pytest
from aimlapi_embeddings._engine.slots import Slots

SOON = 10.0  # seconds that nothing here takes, unless somebody was forgotten


def take(slots: Slots) -> int:
    """Take a slot that is free."""
    ticket = slots.acquire(threading.Event(), lambda: False)
    assert ticket is not None
    return ticket


def refuse(slots: Slots) -> None:
    """Send a request whose rate is refused."""
    slots.refused(take(slots))
    slots.release()


def succeed(slots: Slots) -> None:
    """Send a request that brings vectors."""
    ticket = take(slots)
    slots.release()
    slots.succeeded(ticket)


def successes_until(slots: Slots, limit: int) -> int:
    """Send requests that succeed until the bound is this."""
    count = 0
    while slots.limit != limit:
        succeed(slots)
        count += 1
        assert count < 10_000
    return count


class Meter:
    """Counts how many hold a slot at the same time."""

    def __init__(self) -> None:
        self.now = self.most = self.entered = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.entered += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self.now -= 1


def hammer(slots: Slots, meter: Meter) -> None:
    """Take slots from six threads, and from ten tasks in each of three loops, again and again."""

    def in_a_thread() -> None:
        wake = threading.Event()
        for _ in range(100):
            ticket = slots.acquire(wake, lambda: False)
            with meter:
                pause.wait(0.0001)
            finish(ticket)

    async def in_a_task() -> None:
        for _ in range(20):
            ticket = await slots.acquire_async()
            with meter:
                await asyncio.sleep(0)
            finish(ticket)

    def finish(ticket: int | None) -> None:
        assert ticket is not None
        slots.release()
        slots.refused(ticket) if ticket % 50 == 0 else slots.succeeded(ticket)

    async def many() -> None:
        await asyncio.gather(*(in_a_task() for _ in range(10)))

    pause = threading.Event()
    threads = [threading.Thread(target=in_a_thread, daemon=True) for _ in range(6)]
    threads += [threading.Thread(target=lambda: asyncio.run(many()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_bound_holds_and_nobody_is_forgotten_among_threads_tasks_and_loops(limit: int) -> None:
    meter = Meter()
    hammer(Slots(limit), meter)
    assert meter.most == limit
    assert (meter.now, meter.entered) == (0, 6 * 100 + 3 * 10 * 20)


def test_a_refused_rate_halves_the_bound_down_to_one() -> None:
    slots = Slots(5)
    limits = []
    for _ in range(4):
        refuse(slots)
        limits.append(slots.limit)
    assert limits == [2, 1, 1, 1]


def test_all_requests_of_one_wave_halve_the_bound_once() -> None:
    slots = Slots(8)
    for ticket in [take(slots) for _ in range(8)]:
        slots.refused(ticket)
    assert slots.limit == 4


def test_only_what_left_after_a_halving_may_halve_again() -> None:
    slots = Slots(8)
    wave = [take(slots) for _ in range(3)]
    slots.refused(wave[0])
    slots.refused(take(slots))
    slots.refused(wave[1])
    assert slots.limit == 2


def test_a_bound_grows_back_fast_to_just_below_where_it_was_refused() -> None:
    slots = Slots(8)
    refuse(slots)
    assert successes_until(slots, 7) == 3


def test_a_bound_that_was_refused_is_tried_again_after_eight_rounds() -> None:
    slots = Slots(8)
    refuse(slots)
    successes_until(slots, 7)
    assert successes_until(slots, 8) == 8 * 7


def test_each_time_the_same_bound_is_refused_it_takes_twice_as_long_up_to_64_rounds() -> None:
    slots = Slots(8)
    rounds = []
    for _ in range(5):
        refuse(slots)
        successes_until(slots, 7)
        rounds.append(successes_until(slots, 8) / 7)
    assert rounds == [8, 16, 32, 64, 64]


def test_another_bound_that_is_refused_is_not_made_to_wait_for_the_first() -> None:
    slots = Slots(8)
    for _ in range(2):
        refuse(slots)
        successes_until(slots, 8)
    refuse(slots)
    refuse(slots)  # at a bound of four
    successes_until(slots, 3)
    assert successes_until(slots, 4) == 8 * 3


def test_above_where_it_was_refused_a_bound_grows_by_one_a_round() -> None:
    slots = Slots(8)
    refuse(slots)
    refuse(slots)  # at four
    successes_until(slots, 4)
    assert [successes_until(slots, limit) for limit in (5, 6, 7, 8)] == [4, 5, 6, 7]


def test_a_halving_forgets_the_successes_before_it() -> None:
    slots = Slots(3)
    refuse(slots)
    successes_until(slots, 2)
    for _ in range(8 * 2 - 1):
        succeed(slots)
    refuse(slots)
    succeed(slots)
    assert slots.limit == 1


@pytest.mark.parametrize("limit", [1, 2, 8])
def test_successes_never_lift_the_bound_above_what_was_asked_for(limit: int) -> None:
    slots = Slots(limit)
    for _ in range(100):
        succeed(slots)
    assert slots.limit == slots.most == limit


def test_successes_at_the_full_bound_are_no_credit_for_a_later_refusal() -> None:
    slots = Slots(8)
    for _ in range(100):
        succeed(slots)
    refuse(slots)
    assert slots.limit == 4


def test_a_size_is_tried_by_one_request() -> None:
    slots = Slots(8)
    slots.try_one()
    assert slots.limit == 1


def test_each_request_that_proves_a_size_doubles_the_slots_again() -> None:
    slots = Slots(6)
    slots.try_one()
    limits = []
    for _ in range(4):
        succeed(slots)
        limits.append(slots.limit)
    assert limits == [2, 4, 6, 6]


def test_what_left_before_proves_nothing_about_the_size() -> None:
    slots = Slots(8)
    before = take(slots)
    slots.try_one()
    slots.succeeded(before)
    assert slots.limit == 1


def test_a_trial_that_is_called_off_gives_all_slots_back() -> None:
    slots = Slots(8)
    slots.try_one()
    slots.try_all()
    assert slots.limit == 8


def test_a_trial_leaves_the_bound_that_a_refused_rate_has_lowered() -> None:
    slots = Slots(8)
    refuse(slots)
    slots.try_one()
    slots.try_all()
    assert slots.limit == 4
