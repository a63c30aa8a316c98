"""Who reads the source of a stream and hands vectors over: the consumer's thread, or its task.

Both drivers do what the window says, and differ in how they wait. Requests go on in the threads or
tasks of `run` meanwhile. These know nothing of the generator here: so a stream that nobody reads
any more is collected, and ends what is in flight.
"""

from __future__ import annotations

import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from aimlapi_embeddings._engine.run import Item, drive, drive_async, error_in_place_of_end, job_of
from aimlapi_embeddings._engine.runtime import Call, Runtime
from aimlapi_embeddings._engine.steps import Caller, Deliver
from aimlapi_embeddings._engine.stream_window import Next, Window
from aimlapi_embeddings._engine.waiting import (
    TaskCaller,
    ThreadCaller,
    loop_of_task,
    running_loop,
)
from aimlapi_embeddings._errors import AIMLAPIError, ShortTraceback
from aimlapi_embeddings._result import attach_partial
from aimlapi_embeddings._slices import give_back, in_thread
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Progress
from aimlapi_embeddings.cache import VectorCache

if TYPE_CHECKING:
    from asyncio import Task

# Seconds. Where Ctrl-C does not end a wait, it takes effect before the next one.
_SLICE = 0.1
# Seconds of our own code and the consumer's before the event loop is given back.
_HELD = 0.005
_NOT_TRACED = nullcontext()

T = TypeVar("T")
NewCall: TypeAlias = Callable[[Caller, Trace | None], Call]


def read_in_thread(
    window: Window[T],
    source: Iterator[object],
    new_call: NewCall,
    runtime: Runtime,
    progress: AbstractContextManager[Progress | None],
) -> Generator[T]:
    """Read a source and hand vectors over in the thread that asks for them."""
    caller = ThreadCaller()
    trace = runtime.telemetry.begin(runtime.limits.encoding_format)
    call = new_call(caller, trace)
    work, most = call.work, runtime.pacer.most
    inbox: SimpleQueue[Item] = SimpleQueue()
    busy = seen = 0
    process = os.getpid()
    with ShortTraceback(), progress as window.progress:
        try:
            while True:
                while not inbox.empty():
                    busy -= _hear(inbox.get_nowait(), window, caller)
                    seen = -1
                if seen != window.sent:
                    seen = window.sent
                    if not window.has_failed:
                        _check_process(process)
                        for _ in range(min(len(work), most - busy)):
                            with trace.active() if trace else _NOT_TRACED:
                                job = job_of(call, caller, inbox)
                            busy += runtime.workers.submit(job)
                match window.next(busy):
                    case Next.HAND_OVER:
                        yield window.hand_over()
                    case Next.READ:
                        _read(window, source)
                    case Next.FIND:
                        _look_up(window, runtime.cache)
                    case Next.WAIT if seen != window.sent:
                        pass  # what was sent just now needs a thread first
                    case Next.WAIT if busy:
                        _check_process(process)
                        with suppress(Empty):
                            busy -= _hear(inbox.get(timeout=_SLICE), window, caller)
                            seen = -1
                    case Next.WAIT:  # the system allows no more threads
                        if (part := work.take()) is not None:
                            drive(part, call, caller, window.deliver)
                    case Next.END:
                        _end(trace, window, None)
                        return
        except BaseException as raised:
            error = _ended_by(raised, trace, window)
            if not isinstance(error, Exception) and process == os.getpid():
                caller.over.set()  # before the attempts end, so that none is made again
                for attempt in list(caller.attempts):
                    attempt.shut_down()
            if error is not raised:
                raise error from raised
            raise
        finally:
            if process == os.getpid():
                caller.over.set()
            window.drop()


def _end(trace: Trace | None, window: Window[Any], error: BaseException | None) -> None:
    if trace is not None:
        bill = window.bill
        trace.sum_up(window.read, bill.usage, bill.served, bill.request_ids)
        # To leave a stream early is no error.
        trace.end(None if isinstance(error, GeneratorExit) else error)


def _ended_by(raised: BaseException, trace: Trace | None, window: Window[Any]) -> BaseException:
    """Give the error that ends a stream what was finished, and return what the consumer gets."""
    error = raised
    if isinstance(raised, StopIteration | StopAsyncIteration):
        error = error_in_place_of_end(raised)
    if not isinstance(error, GeneratorExit):
        attach_partial(error, window.partial)
    _end(trace, window, error)
    return error


def _look_up(window: Window[Any], cache: VectorCache | None) -> None:
    """Look up what the cache has; this may wait for a disk."""
    assert cache is not None
    try:
        rows = cache.find(window.asked)
    except AIMLAPIError as error:
        window.fail(error)
    else:
        window.found(rows, rows.kept)


async def _look_up_async(window: Window[Any], cache: VectorCache | None) -> None:
    """Do it in a thread; what was found is taken in the event loop, as replies are."""
    assert cache is not None
    try:
        rows = await in_thread(cache.finding(window.asked))
    except AIMLAPIError as error:
        window.fail(error)
    else:
        window.found(rows, rows.kept)


def _hear(item: Item, window: Window[Any], caller: ThreadCaller) -> bool:
    """Take what a thread has brought; return whether it is through with its work."""
    if isinstance(item, Deliver):
        window.deliver(item)
    elif item is not None:
        window.fail(item)
    if window.has_failed:
        caller.over.set()
    return item is None


def _check_process(process: int) -> None:
    """Refuse to wait for threads that are in another process."""
    if process != os.getpid():
        raise RuntimeError(
            "this stream was begun before the process was forked, and its requests belong to the "
            "other process; begin a stream in this one."
        )


def _read(window: Window[Any], source: Iterator[object]) -> None:
    try:
        item = next(source)
    except StopIteration:
        window.end()
    except Exception as error:
        window.end(error)
    else:
        window.take(item)


async def read_in_task(
    window: Window[T],
    source: Iterator[object] | AsyncIterator[object],
    new_call: NewCall,
    runtime: Runtime,
    progress: AbstractContextManager[Progress | None],
    tasks: set[Task[None]],
) -> AsyncGenerator[T]:
    """Read a source and hand vectors over in the task that asks for them.

    When it is closed or dropped, this generator cancels its tasks and does not await them: an event
    loop that does not finalize generators, such as that of nest_asyncio, drops it where nothing can
    be awaited. `AsyncEmbeddingStream.aclose` awaits them.
    """
    import asyncio  # which takes 20 ms that sync callers need not wait

    loop = loop_of_task()
    trace = runtime.telemetry.begin(runtime.limits.encoding_format)
    call = new_call(TaskCaller(loop), trace)
    most = runtime.pacer.most
    arrived = asyncio.Event()

    async def work() -> None:
        try:
            while not window.has_failed and (part := call.work.take()) is not None:
                await drive_async(part, call, deliver)
        except BaseException as error:
            window.fail(error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        finally:
            arrived.set()

    def deliver(delivery: Deliver) -> None:
        window.deliver(delivery)
        arrived.set()

    seen = 0
    is_left = False
    ends = time.perf_counter() + _HELD
    with ShortTraceback(), progress as window.progress:
        try:
            while True:
                if arrived.is_set() or seen != window.sent:
                    arrived.clear()
                    seen = window.sent
                    tasks -= {task for task in tasks if task.done()}
                    if not window.has_failed:
                        with trace.active() if trace else _NOT_TRACED:
                            for _ in range(min(len(call.work), most - len(tasks))):
                                tasks.add(asyncio.ensure_future(work()))
                match window.next(len(tasks)):
                    case Next.HAND_OVER:
                        yield window.hand_over()
                        if asyncio.get_running_loop() is not loop:
                            raise RuntimeError(
                                "this stream was begun in another event loop, which awaits its "
                                "replies; begin one in this loop."
                            )
                    case Next.READ if isinstance(source, Iterator):
                        _read(window, source)
                    case Next.READ:
                        await _read_async(window, source)
                    case Next.FIND:
                        await _look_up_async(window, runtime.cache)
                    case Next.WAIT if seen == window.sent:
                        await arrived.wait()
                        ends = time.perf_counter() + _HELD
                    case Next.END:
                        _end(trace, window, None)
                        return
                if time.perf_counter() > ends:
                    await give_back(collect=True)
                    ends = time.perf_counter() + _HELD
        except BaseException as raised:
            is_left = isinstance(raised, GeneratorExit)
            window.was_cut_off = is_left and not window.is_closed
            error = _ended_by(raised, trace, window)
            if error is not raised:
                raise error from raised
            raise
        finally:
            window.drop()
            running = running_loop()  # a finalizer may call, in another loop or in none
            for task in tasks:
                if running is loop:
                    task.cancel()
                else:
                    with suppress(RuntimeError):  # its loop is closed, and the task with it
                        loop.call_soon_threadsafe(task.cancel)
            if not is_left:
                await ended(tasks)


async def ended(tasks: Iterable[Task[None]]) -> None:
    """Wait until cancelled tasks of this event loop have ended."""
    loop = running_loop()
    if own := [task for task in tasks if task.get_loop() is loop]:
        import asyncio

        await asyncio.gather(*own, return_exceptions=True)


async def _read_async(window: Window[Any], source: Any) -> None:
    try:
        item = await anext(source)
    except StopAsyncIteration:
        window.end()
    except Exception as error:
        window.end(error)
    else:
        window.take(item)
