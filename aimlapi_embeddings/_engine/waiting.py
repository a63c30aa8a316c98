"""How a call waits: in threads or in tasks, for a wake-up or for a time."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.attempt import Attempt
from aimlapi_embeddings._result import nothing_finished
from aimlapi_embeddings._wake_up import Flag, ThreadWaiter

if TYPE_CHECKING:
    import asyncio

# Seconds. A wait of the main thread ends by Ctrl-C on POSIX; elsewhere, and where a program
# interrupts itself, Ctrl-C takes effect between two waits.
_SLICE = 0.1


class _Wakes(Protocol):
    """What ends a sleep early: a Flag, or an Event of the standard library."""

    def wait(self, timeout: float) -> bool: ...


class Clock:
    """Time, and waiting for it."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def sleep(self, seconds: float, wake: _Wakes) -> None:
        """Wait in this thread, less long when woken."""
        ends = self.monotonic() + seconds
        while (left := ends - self.monotonic()) > 0 and not wake.wait(min(left, _SLICE)):
            pass

    async def sleep_async(self, seconds: float) -> None:
        """Wait in this task."""
        import asyncio  # here and below, since it takes 20 ms that sync callers need not wait

        await asyncio.sleep(seconds)


class ThreadCaller:
    """A sync call: its replies are awaited by threads.

    Attributes:
        over: Set when the call has ended; then nothing of it is sent any more.
        attempts: Its requests in flight.
    """

    loop = None

    def __init__(self) -> None:
        self.blocked = running_loop()
        self.over = Flag()
        self.attempts: dict[Attempt, None] = {}

    def waiter(self) -> ThreadWaiter:
        """Make a place to wait."""
        return ThreadWaiter()


class TaskWaiter:
    """Waits in a task of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.woken = False
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    def reset(self) -> None:
        """Forget earlier wake-ups."""
        self.woken = False

    def wake(self) -> None:
        """End the wait, or the next one."""
        if self.woken:  # each request that ends wakes all that may leave by then
            return
        self.woken = True
        if (future := self._future) is not None:
            with suppress(RuntimeError):  # the loop is closed: no task waits there any more
                self._loop.call_soon_threadsafe(_resolve, future)

    async def wait(self, seconds: float) -> None:
        """Wait for a wake-up, this many seconds at most."""
        self._future = future = self._loop.create_future()
        if self.woken:
            return
        timer = self._loop.call_later(seconds, _resolve, future)
        try:
            await future
        finally:
            timer.cancel()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class TaskCaller:
    """An async call: its replies are awaited by tasks of one event loop."""

    blocked = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def waiter(self) -> TaskWaiter:
        """Make a place to wait."""
        return TaskWaiter(self.loop)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    asyncio: Any = sys.modules.get("asyncio")  # not imported for sync callers
    return asyncio._get_running_loop() if asyncio else None  # public: it is in `asyncio.__all__`


def loop_of_task(texts: object = ()) -> asyncio.AbstractEventLoop:
    """Return the event loop that runs in this thread.

    Args:
        texts: Of the call; the error has a place without a vector for each.

    Raises:
        ConfigurationError: There is none.
    """
    if (loop := running_loop()) is not None:
        return loop
    error = ConfigurationError(
        "async calls need a running event loop of asyncio, and there is none here. Where another "
        "library runs the coroutine, such as trio, call the sync method in a thread of that "
        "library instead."
    )
    error.partial = nothing_finished(texts)
    raise error
