"""How many requests are under way? One bound for threads, tasks and event loops together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aimlapi_embeddings._engine.slots import Slots

SOON = 10.0  # seconds that nothing here takes, unless somebody was forgotten


def never() -> bool:
    return False


class Watched(threading.Event):
    """An event that shows when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.waited_for.set()
        return super().wait(timeout)


class Waiter(threading.Thread):
    """A thread that wants a slot; when `start` returns, it waits."""

    def __init__(self, slots: Slots, stopped: Callable[[], bool] = never) -> None:
        super().__init__(daemon=True)
        self.slots, self.stopped, self.wake = slots, stopped, Watched()
        self.ticket: int | None = -1

    def run(self) -> None:
        self.ticket = self.slots.acquire(self.wake, self.stopped)

    def start(self) -> None:
        super().start()
        assert self.wake.waited_for.wait(SOON)

    def got(self) -> int | None:
        self.join(SOON)
        assert not self.is_alive()
        return self.ticket


def take(slots: Slots) -> int:
    """Take a slot that is free."""
    ticket = slots.acquire(threading.Event(), never)
    assert ticket is not None
    return ticket


async def waiting(slots: Slots) -> asyncio.Task[int]:
    """Start a task that waits for a slot."""
    task = asyncio.create_task(slots.acquire_async())
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_free_slots_are_given_at_once_and_tickets_count_them() -> None:
    slots = Slots(3)
    assert [take(slots) for _ in range(3)] == [1, 2, 3]


def test_a_thread_is_woken_by_a_thread() -> None:
    slots = Slots(1)
    take(slots)
    waiter = Waiter(slots)
    waiter.start()
    slots.release()
    assert waiter.got() == 2


def test_a_thread_is_woken_by_a_task() -> None:
    slots = Slots(1)

    async def hold() -> None:
        await slots.acquire_async()
        waiter.start()
        slots.release()

    waiter = Waiter(slots)
    asyncio.run(hold())
    assert waiter.got() == 2


def test_a_task_is_woken_by_a_thread() -> None:
    slots = Slots(1)
    take(slots)

    async def wait() -> int:
        task = await waiting(slots)
        await asyncio.to_thread(slots.release)
        return await asyncio.wait_for(task, SOON)

    assert asyncio.run(wait()) == 2


def test_who_waited_longest_is_woken_first() -> None:
    slots = Slots(1)
    take(slots)

    async def wait() -> list[int]:
        tasks = [await waiting(slots) for _ in range(3)]
        tickets = []
        for task in tasks:
            slots.release()
            tickets.append(await asyncio.wait_for(task, SOON))
        return tickets

    assert asyncio.run(wait()) == [2, 3, 4]


def test_whoever_stops_a_waiting_thread_wakes_it_without_a_slot() -> None:
    slots = Slots(1)
    take(slots)
    stop = threading.Event()
    waiter = Waiter(slots, stop.is_set)
    waiter.start()
    stop.set()
    waiter.wake.set()
    assert waiter.got() is None


def test_a_thread_that_was_stopped_before_takes_no_slot() -> None:
    slots = Slots(1)
    assert slots.acquire(threading.Event(), lambda: True) is None
    assert take(slots) == 1


def test_a_thread_that_is_stopped_as_its_turn_comes_passes_it_on() -> None:
    slots = Slots(1)
    take(slots)
    stop = threading.Event()
    first, second = Waiter(slots, stop.is_set), Waiter(slots)
    first.start()
    second.start()
    stop.set()
    slots.release()
    assert first.got() is None
    assert second.got() == 2


def test_a_stopped_thread_does_not_swallow_a_later_turn() -> None:
    slots = Slots(1)
    take(slots)
    stop = threading.Event()
    first, second = Waiter(slots, stop.is_set), Waiter(slots)
    first.start()
    second.start()
    stop.set()
    first.wake.set()
    assert first.got() is None
    slots.release()
    assert second.got() == 2


class Interrupted(threading.Event):
    """Ctrl-C while somebody waits."""

    def wait(self, timeout: float | None = None) -> bool:
        raise KeyboardInterrupt


def test_a_thread_that_is_interrupted_does_not_swallow_a_later_turn() -> None:
    slots = Slots(1)
    take(slots)
    with pytest.raises(KeyboardInterrupt):
        slots.acquire(Interrupted(), never)
    waiter = Waiter(slots)
    waiter.start()
    slots.release()
    assert waiter.got() == 2


def test_a_task_that_is_cancelled_does_not_swallow_a_later_turn() -> None:
    slots = Slots(1)
    take(slots)

    async def wait() -> int:
        first, second = await waiting(slots), await waiting(slots)
        first.cancel()
        await asyncio.wait([first])
        slots.release()
        assert first.cancelled()
        return await asyncio.wait_for(second, SOON)

    assert asyncio.run(wait()) == 2


def test_a_task_that_is_cancelled_as_its_turn_comes_passes_it_on() -> None:
    slots = Slots(1)
    take(slots)

    async def wait() -> int:
        first, second = await waiting(slots), await waiting(slots)
        slots.release()
        first.cancel()
        return await asyncio.wait_for(second, SOON)

    assert asyncio.run(wait()) == 2


@pytest.mark.parametrize("count", [1, 2_000])
def test_the_waiters_of_a_closed_loop_are_skipped(count: int) -> None:
    slots = Slots(1)
    take(slots)

    async def begin() -> list[Coroutine[Any, Any, int]]:
        left = [slots.acquire_async() for _ in range(count)]
        for waits in left:
            waits.send(None)  # and is left so
        return left

    left = asyncio.run(begin())
    waiter = Waiter(slots)
    waiter.start()
    slots.release()
    assert waiter.got() == 2
    for waits in left:
        waits.close()


def test_a_lower_bound_holds_for_those_who_wait() -> None:
    slots = Slots(4)
    tickets = [take(slots) for _ in range(4)]
    slots.refused(tickets[0])
    waiter = Waiter(slots)
    waiter.start()
    woken = []
    for _ in range(3):
        slots.release()
        woken.append(waiter.wake.is_set() or not waiter.is_alive())
    assert woken == [False, False, True]  # two at a time is the bound
    assert waiter.got() == 5


def test_a_bound_that_grows_wakes_one_who_waits() -> None:
    slots = Slots(4)
    tickets = [take(slots) for _ in range(4)]
    slots.refused(tickets[0])
    for _ in range(2):
        slots.release()
    waiter = Waiter(slots)
    waiter.start()
    slots.succeeded(tickets[1])
    assert waiter.got() == 5


def test_a_trial_that_is_called_off_wakes_all_there_is_room_for() -> None:
    slots = Slots(8)
    slots.try_one()
    trial = take(slots)
    waiters = [Waiter(slots) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    slots.try_all()
    assert sorted(waiter.got() or 0 for waiter in waiters) == [trial + 1, trial + 2, trial + 3]
