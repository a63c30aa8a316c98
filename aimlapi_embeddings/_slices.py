"""Long work of our own in slices, so that an event loop is never held up.

Work that may take long is written as a generator that yields wherever it can be interrupted. Sync
callers run it at once; async callers give their event loop back after each slice. Where it has to
wait, for a disk, it yields a function that may block: that is called in a thread for async callers.
"""

from __future__ import annotations

import contextvars
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:  # importing it takes some ms, which those without a cache need not wait
    from concurrent.futures import Executor

# Seconds of our own code before the event loop is given back.
_SLICE = 0.005

T = TypeVar("T")
Work: TypeAlias = Generator[Any, Any, T]
"""Yields None, or a function without arguments that may block; it is sent what that returned, or
has its error thrown in."""


def at_once(work: Work[T]) -> T:
    """Do all of it now."""
    try:
        asked = next(work)
        while True:
            if asked is None:
                asked = next(work)
                continue
            try:
                answer = asked()
            except BaseException as error:
                asked = work.throw(error)
            else:
                asked = work.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


async def give_back(*, collect: bool) -> None:
    """Let the event loop do other things.

    Args:
        collect: Whether many lists of floats are made. Python's collector walks all floats of new
            lists: left to itself it does so for thousands of lists at a time, which takes 100 ms.
            So its young generations are collected each time, unless the user has turned it off.
    """
    import asyncio  # which takes 20 ms that sync callers need not wait

    if collect and gc.isenabled():
        gc.collect(1)
    await asyncio.sleep(0)


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Hand items over, and give the event loop back where what is done with them took long.

    For steps that are awaited and may never wait, such as those of a store in memory.
    """
    ends = time.perf_counter() + _SLICE
    for item in items:
        yield item
        if time.perf_counter() > ends:
            await give_back(collect=True)
            ends = time.perf_counter() + _SLICE


class Blocking(Generic[T]):
    """A function that may block, with the threads that call it for async callers.

    Those of the event loop would not do: a program may keep all of them busy for minutes, or have
    them wait for the very call that needs one.
    """

    def __init__(self, function: Callable[[], T], threads: Callable[[], Executor]) -> None:
        self._function, self.threads = function, threads

    def __call__(self) -> T:
        """Call it in this thread."""
        return self._function()


async def in_thread(function: Callable[[], T]) -> T:
    """Call what may block in a thread, or in this one where no thread can be started.

    None can at the end of the interpreter, and where the system allows no more. The executor may
    have queued the call even so: whoever comes first makes it.
    """
    import asyncio  # which takes 20 ms that sync callers need not wait
    from concurrent.futures import Future

    context = contextvars.copy_context()
    outcome: Future[T] = Future()
    claim = threading.Lock()

    def call() -> None:
        if claim.acquire(blocking=False) and outcome.set_running_or_notify_cancel():
            try:
                outcome.set_result(context.run(function))
            except BaseException as error:
                outcome.set_exception(error)

    try:
        threads = function.threads() if isinstance(function, Blocking) else None
        asyncio.get_running_loop().run_in_executor(threads, call)
    except RuntimeError:
        call()
    return await asyncio.wrap_future(outcome)


async def in_slices(work: Work[T], *, collect: bool = False) -> T:
    """Do it in slices of some milliseconds, and what may block in a thread.

    Args:
        work: Yields every 0.5 ms or so.
        collect: Whether it makes many lists of floats; see `give_back`.
    """
    ends = time.perf_counter() + _SLICE
    try:
        asked = next(work)
        while True:
            if asked is not None:
                try:
                    answer = await in_thread(asked)
                except BaseException as error:
                    asked = work.throw(error)
                else:
                    asked = work.send(answer)
                ends = time.perf_counter() + _SLICE
                continue
            if time.perf_counter() > ends:
                await give_back(collect=collect)
                ends = time.perf_counter() + _SLICE
            asked = next(work)
    except StopIteration as done:
        result: T = done.value
        return result
