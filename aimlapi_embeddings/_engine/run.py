"""Who performs the steps of a call: threads for sync callers, tasks for async ones.

The drivers are all that is written twice, because here the two modes differ. Threads
hand what they bring to the caller's thread through a queue, so that progress and results are
touched there alone. Tasks run in the caller's event loop and are cancelled with it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

from aimlapi_embeddings._engine.flow import embed_part
from aimlapi_embeddings._engine.refusals import Part
from aimlapi_embeddings._engine.runtime import Call, Runtime
from aimlapi_embeddings._engine.steps import Deliver, Run, Send, Sleep, Step, Wait
from aimlapi_embeddings._engine.waiting import ThreadCaller
from aimlapi_embeddings._errors import AIMLAPIError
from aimlapi_embeddings._protocol.attempt import Attempt, CallEnded
from aimlapi_embeddings._slices import in_thread
from aimlapi_embeddings._types import Usage


class Sink(Protocol):
    """Receives what requests bring, in the caller's thread or event loop."""

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress bar."""


# Seconds. Where Ctrl-C does not end a wait, it takes effect before the next one.
_SLICE = 0.1

Item: TypeAlias = Deliver | BaseException | None
"""What a thread brings: what a request brought, the error that ends the call, or that it is through
with its work."""


class _Stopped(BaseException):
    """The call has ended; this thread's flow is not needed any more."""


def run_threads(call: Call, caller: ThreadCaller, sink: Sink) -> None:
    """Embed all parts side by side, in this thread when there is only one."""
    jobs = min(len(call.work), call.runtime.pacer.most)
    workers = call.runtime.workers
    inbox: SimpleQueue[Item] = SimpleQueue()
    try:
        running = sum(
            workers.submit(job_of(call, caller, inbox)) for _ in range(jobs if jobs > 1 else 0)
        )
        if not running:
            while (part := call.work.take()) is not None:
                drive(part, call, caller, sink.deliver)
        while running:
            match _next(inbox):
                case None:
                    running -= 1
                case Deliver() as delivery:
                    sink.deliver(delivery)
                case BaseException() as error:
                    raise error
    except BaseException as error:
        caller.over.set()
        if not isinstance(error, Exception):  # Ctrl-C: these replies are not awaited any more
            for attempt in list(caller.attempts):
                attempt.shut_down()
        if isinstance(error, StopIteration):
            raise error_in_place_of_end(error) from error
        raise
    finally:
        caller.over.set()


def error_in_place_of_end(error: StopIteration | StopAsyncIteration) -> RuntimeError:
    """Return the error that is raised in place of one that means the end of an iterator.

    Raised as it is, it would end a loop of the caller's, such as `map`, without an error. Python
    does the same in generators and coroutines, but its error would not hold what was finished.
    """
    return RuntimeError(
        f"a {type(error).__name__} was raised by what this was given: a source, progress, rate "
        "limiter or HTTP client."
    )


def job_of(call: Call, caller: ThreadCaller, inbox: SimpleQueue[Item]) -> Callable[[], bool]:
    """Make a job that embeds one part at a time, as long as there are parts."""
    context = contextvars.copy_context()  # so that tracing sees the caller's

    def embed_next() -> bool:
        try:
            if not caller.over.is_set() and (part := call.work.take()) is not None:
                drive(part, call, caller, inbox.put)
                return True
        except _Stopped:
            pass
        except BaseException as error:
            caller.over.set()  # here, since the caller's thread may be busy with its progress
            inbox.put(error)
        inbox.put(None)
        return False

    return lambda: context.run(embed_next)


def _next(inbox: SimpleQueue[Item]) -> Item:
    while True:
        with suppress(Empty):
            return inbox.get(timeout=_SLICE)


def _advance(go_on: Callable[[Any], Step], value: Any) -> Step | None:
    """Send a value or an error into a flow; return its next step, None when it has ended.

    Only here is a StopIteration the end of a flow. That of a progress, a rate limiter or a client
    of the user's is an error like any other.
    """
    try:
        return go_on(value)
    except StopIteration:
        return None


def _count_interrupted(step: Send, attempt: Attempt, runtime: Runtime) -> None:
    """Count a request whose reply nobody waits for any more, if it was sent."""
    step.sent = attempt.sent
    runtime.meter.add(Usage(requests=int(attempt.sent)))


def drive(part: Part, call: Call, caller: ThreadCaller, deliver: Callable[[Deliver], None]) -> None:
    """Embed a part in this thread, performing each step that its flow asks for."""
    flow, runtime, over = embed_part(part, call), call.runtime, caller.over
    try:
        step = _advance(flow.send, None)
        while step is not None:
            if isinstance(step, Send):
                if over.is_set():  # before anything is opened for it, or started to watch it
                    step.sent = False
                    raise _Stopped
                attempt = Attempt(over.is_set, step.request_id)
                caller.attempts[attempt] = None
                try:
                    reply = runtime.transport.send(step.body, attempt)
                except CallEnded:
                    step.sent = False
                    raise _Stopped from None
                except AIMLAPIError as error:
                    if over.is_set() and attempt.broken_off:  # cancelled: no fault of the server
                        _count_interrupted(step, attempt, runtime)
                        raise _Stopped from None
                    step = _advance(flow.throw, error)
                except BaseException:  # Ctrl-C, in a call of one request
                    _count_interrupted(step, attempt, runtime)
                    raise
                else:
                    step = _advance(flow.send, reply)
                finally:
                    caller.attempts.pop(attempt, None)
                continue
            if isinstance(step, Deliver):
                runtime.meter.add(step.usage)
                if not over.is_set():
                    deliver(step)
            elif isinstance(step, Run):
                step.function()
            elif over.is_set():
                raise _Stopped
            elif isinstance(step, Wait):
                step.waiter.wait(step.seconds)
            elif isinstance(step, Sleep):
                runtime.clock.sleep(step.seconds, over)
            elif runtime.limiter is not None:
                runtime.limiter.acquire(step.tokens)
            step = _advance(flow.send, None)
    finally:
        flow.close()


async def run_tasks(call: Call, sink: Sink) -> None:
    """Embed all parts side by side, in this task when there is only one."""
    import asyncio

    async def work() -> None:
        while (part := call.work.take()) is not None:
            await drive_async(part, call, sink.deliver)

    jobs = min(len(call.work), call.runtime.pacer.most)
    if jobs <= 1:
        await work()
        return
    tasks = [asyncio.ensure_future(work()) for _ in range(jobs)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drive_async(part: Part, call: Call, deliver: Callable[[Deliver], None]) -> None:
    """Embed a part in this task, performing each step that its flow asks for."""
    import asyncio

    flow, runtime = embed_part(part, call), call.runtime
    try:
        step = _advance(flow.send, None)
        while step is not None:
            if isinstance(step, Send):
                attempt = Attempt(request_id=step.request_id)
                try:
                    reply = await runtime.transport.send_async(step.body, attempt)
                except AIMLAPIError as error:
                    step = _advance(flow.throw, error)
                except BaseException:  # cancelled
                    _count_interrupted(step, attempt, runtime)
                    raise
                else:
                    step = _advance(flow.send, reply)
                continue
            if isinstance(step, Deliver):
                runtime.meter.add(step.usage)
                deliver(step)
            elif isinstance(step, Run):
                # To its end: what it writes is paid for, also where the call is cancelled.
                await asyncio.shield(in_thread(step.function))
            elif isinstance(step, Wait):
                await step.waiter.wait(step.seconds)
            elif isinstance(step, Sleep):
                await runtime.clock.sleep_async(step.seconds)
            elif runtime.limiter is not None:
                await runtime.limiter.acquire_async(step.tokens)
            step = _advance(flow.send, None)
    finally:
        flow.close()
