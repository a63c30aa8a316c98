"""Wake-ups in threads and in tasks: none is lost, and none is needed for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from aimlapi_embeddings._engine.steps import Waiter
from aimlapi_embeddings._engine.waiting import Clock, TaskCaller, ThreadCaller
from tests.support.entry_points import Mode

LONG = 10.0  # seconds that no wait here takes, unless a wake-up was lost
SOON = 2.0
SHORT = 0.1


def wait_in(mode: Mode, *steps: Callable[[Waiter], Any]) -> float:
    """Take these steps with a waiter of this mode; return the seconds that the last one took."""

    async def in_a_task() -> float:
        waiter = TaskCaller(asyncio.get_running_loop()).waiter()
        for step in steps:
            started = time.monotonic()
            result = step(waiter)
            if asyncio.iscoroutine(result):
                await result
        return time.monotonic() - started

    if mode == "async":
        return asyncio.run(in_a_task())
    waiter = ThreadCaller().waiter()
    for step in steps:
        started = time.monotonic()
        step(waiter)
    return time.monotonic() - started


def wake(waiter: Waiter) -> None:
    waiter.wake()


def reset(waiter: Waiter) -> None:
    waiter.reset()


def wait_long(waiter: Waiter) -> Any:
    return waiter.wait(LONG)


def wait_shortly(waiter: Waiter) -> Any:
    return waiter.wait(SHORT)


def wake_soon(waiter: Waiter) -> None:
    threading.Timer(SHORT, waiter.wake).start()


def woken(expected: bool) -> Callable[[Waiter], None]:
    def check(waiter: Waiter) -> None:
        assert waiter.woken is expected

    return check


def test_a_wait_ends_by_itself(mode: Mode) -> None:
    assert SHORT - 0.01 <= wait_in(mode, woken(False), wait_shortly) < SOON
    wait_in(mode, wait_shortly, woken(False))


def test_another_thread_ends_a_wait(mode: Mode) -> None:
    assert wait_in(mode, wake_soon, wait_long) < SOON
    wait_in(mode, wake_soon, wait_long, woken(True))


def test_a_wake_up_before_the_wait_is_not_lost(mode: Mode) -> None:
    assert wait_in(mode, wake, wait_long) < SOON


def test_waking_twice_is_one_wake_up(mode: Mode) -> None:
    assert wait_in(mode, wake, wake, wait_long) < SOON


def test_a_loop_gets_a_wake_up_once() -> None:
    """Each request that ends wakes all that may leave by then, often the same ones again."""
    told: list[object] = []

    class Loop(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
            told.append(callback)
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def wait() -> None:
        waiter = TaskCaller(asyncio.get_running_loop()).waiter()
        for times in (1, 2):
            waiter.reset()
            task = asyncio.ensure_future(waiter.wait(LONG))
            await asyncio.sleep(0)
            for _ in range(10):
                waiter.wake()
            await task
            assert len(told) == times

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(wait())


def test_reset_forgets_earlier_wake_ups(mode: Mode) -> None:
    assert wait_in(mode, wake, reset, woken(False), wait_shortly) >= SHORT - 0.01
    assert wait_in(mode, wake, wait_long, reset, wait_shortly) >= SHORT - 0.01


def test_a_waiter_is_used_again_and_again(mode: Mode) -> None:
    once = (reset, wake_soon, wait_long)
    assert wait_in(mode, *once, *once, *once) < SOON


@pytest.mark.parametrize("when", ["while it waits", "afterwards"])
def test_waking_a_task_of_a_closed_loop_does_nothing(when: str) -> None:
    loop = asyncio.new_event_loop()
    waiter = TaskCaller(loop).waiter()
    if when == "afterwards":
        loop.run_until_complete(waiter.wait(0.01))
        loop.close()
    else:
        task = loop.create_task(waiter.wait(LONG))
        loop.run_until_complete(asyncio.sleep(0))
        loop.call_soon(task.cancel)
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    waiter.wake()
    assert waiter.woken


def test_a_caller_knows_the_loop_that_it_blocks() -> None:
    async def on_a_loop() -> tuple[Any, Any, Any]:
        loop = asyncio.get_running_loop()
        beside = await asyncio.to_thread(ThreadCaller)
        return ThreadCaller().blocked is loop, beside.blocked, TaskCaller(loop).loop is loop

    assert asyncio.run(on_a_loop()) == (True, None, True)
    assert ThreadCaller().blocked is None


def test_the_clock_waits_in_a_thread_until_it_is_woken() -> None:
    over = threading.Event()
    started = time.monotonic()
    Clock().sleep(SHORT, over)
    assert time.monotonic() - started >= SHORT - 0.01
    threading.Timer(SHORT, over.set).start()
    started = time.monotonic()
    Clock().sleep(LONG, over)
    assert time.monotonic() - started < SOON
