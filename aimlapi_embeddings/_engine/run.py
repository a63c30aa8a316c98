"""Who carries the flows out? Threads for sync callers, tasks for async ones.

The only thing in this package that is written twice, because here the two worlds differ. Threads
are daemons and are never joined, so that Ctrl-C ends the program at once instead of after the
slowest request; what they bring is handed to the caller's thread through a queue, so that progress
and results are touched there alone. Tasks run in the caller's loop and are cancelled with it.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

import msgspec

from aimlapi_embeddings._engine.backoff import Gate
from aimlapi_embeddings._engine.flow import Deliver, Flow, Learned, Permit, Send, Sleep
from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.slots import Slots
from aimlapi_embeddings._errors import APIConnectionError, BadRequestError
from aimlapi_embeddings._protocol.retry_hints import parse_retry_after
from aimlapi_embeddings._protocol.status import is_success
from aimlapi_embeddings._types import Reply


class Wire(Protocol):
    """Carries one request."""

    def send(self, body: bytes) -> Reply:
        """Send and wait in this thread."""

    async def send_async(self, body: bytes) -> Reply:
        """Send and wait in this task."""

    def close(self) -> None:
        """Let go of what sync calls opened."""

    async def aclose(self) -> None:
        """Let go of what this event loop's calls opened."""


# Seconds. A wait of the main thread ends by Ctrl-C on POSIX; elsewhere, and where a program
# interrupts itself, Ctrl-C is heard between two waits.
_SLICE = 0.1


class Clock:
    """Time, and the only places where anybody waits for it."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        """Wait in this thread, less long when woken."""
        ends = self.monotonic() + seconds
        while (left := ends - self.monotonic()) > 0 and not wake.wait(min(left, _SLICE)):
            pass

    async def sleep_async(self, seconds: float) -> None:
        """Wait in this task."""
        import asyncio  # here and below, since it takes 20 ms that sync callers need not wait

        await asyncio.sleep(seconds)


class Sink(Protocol):
    """Receives what requests bring, in the caller's thread or loop."""

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress bar."""

    def refuse(self, refusal: BadRequestError) -> None:
        """Note a refusal of one text, or raise it when the other batches should not go on."""


class Runtime(msgspec.Struct, frozen=True):
    """What all calls of one client share in one process."""

    wire: Wire
    slots: Slots
    gate: Gate
    learned: Learned
    clock: Clock
    limiter: Limiter | None
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)  # of the client's usage

    def settle(self, ticket: int, reply: Reply) -> None:
        """Tell the bound how a request fared. A 429 that names a wait shuts the gate instead."""
        if is_success(reply):
            self.slots.succeeded(ticket)
        elif reply.status == 429 and parse_retry_after(reply.headers, self.clock.time) is None:
            self.slots.refused(ticket)


_Item: TypeAlias = Deliver | BaseException | None


def run_threads(flows: Sequence[Flow], runtime: Runtime, sink: Sink) -> None:
    """Run flows side by side, in this thread when there is only one."""
    stopping = threading.Event()
    if len(flows) == 1:
        _drive(flows[0], runtime, _Thread(stopping), sink.deliver, sink.refuse)
        return
    inbox: SimpleQueue[_Item] = SimpleQueue()
    todo: SimpleQueue[Flow] = SimpleQueue()
    for flow in flows:
        todo.put(flow)

    def work(thread: _Thread) -> None:
        try:
            while not stopping.is_set():
                _drive(todo.get_nowait(), runtime, thread, inbox.put, inbox.put)
        except (Empty, _Stopped):
            pass
        except BaseException as error:
            stopping.set()  # here, since the caller's thread may be busy with its progress
            inbox.put(error)
        finally:
            inbox.put(None)

    threads = [_Thread(stopping) for _ in range(min(len(flows), runtime.slots.most))]
    working = len(threads)
    try:
        for thread in threads:
            run = contextvars.copy_context().run  # so that tracing sees the caller's context
            threading.Thread(target=run, args=(work, thread), daemon=True).start()
        while working:
            match _next(inbox):
                case None:
                    working -= 1
                case Deliver() as delivery:
                    sink.deliver(delivery)
                case BadRequestError() as refusal:
                    sink.refuse(refusal)
                case BaseException() as error:
                    raise error
    finally:
        stopping.set()
        for thread in threads:
            thread.wake.set()


def _next(inbox: SimpleQueue[_Item]) -> _Item:
    while True:
        with suppress(Empty):
            return inbox.get(timeout=_SLICE)


async def run_tasks(flows: Sequence[Flow], runtime: Runtime, sink: Sink) -> None:
    """Run flows side by side, in this task when there is only one."""
    import asyncio

    todo = iter(flows)

    async def work() -> None:
        for flow in todo:
            await _drive_async(flow, runtime, sink.deliver, sink.refuse)

    if len(flows) == 1:
        await work()
        return
    tasks = [asyncio.ensure_future(work()) for _ in range(min(len(flows), runtime.slots.most))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Stopped(BaseException):
    """The call has ended; this thread's flow is not needed any more."""


class _Thread:
    """How one thread is told to stop: a flag for all, and an event to wake it from a wait."""

    def __init__(self, stopping: threading.Event) -> None:
        self.stopped = stopping.is_set
        self.wake = threading.Event()


def _drive(
    flow: Flow,
    runtime: Runtime,
    thread: _Thread,
    deliver: Callable[[Deliver], None],
    refuse: Callable[[BadRequestError], None],
) -> None:
    """Run a flow to its end in this thread, performing each step it asks for."""

    def send(step: Send) -> Reply | None:
        ticket = runtime.slots.acquire(thread.wake, thread.stopped)
        if ticket is None:
            raise _Stopped
        try:
            if not step.may_leave():
                return None
            reply = runtime.wire.send(step.body)
        finally:
            runtime.slots.release()
        runtime.settle(ticket, reply)
        return reply

    def sleep(seconds: float) -> None:
        thread.wake.clear()
        if not thread.stopped():
            runtime.clock.sleep(seconds, thread.wake)
        if thread.stopped():
            raise _Stopped

    try:
        step = next(flow)
        while True:
            if isinstance(step, Send):
                try:
                    reply = send(step)
                except APIConnectionError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
                continue
            if isinstance(step, Permit):
                if runtime.limiter is not None and not thread.stopped():
                    runtime.limiter.acquire(step.tokens)
            elif isinstance(step, Sleep):
                sleep(step.seconds)
            else:
                deliver(step)
            step = next(flow)
    except StopIteration:
        pass
    except BadRequestError as refusal:
        refuse(refusal)
    finally:
        flow.close()


async def _drive_async(
    flow: Flow,
    runtime: Runtime,
    deliver: Callable[[Deliver], None],
    refuse: Callable[[BadRequestError], None],
) -> None:
    """Run a flow to its end in this task, performing each step it asks for."""

    async def send(step: Send) -> Reply | None:
        ticket = await runtime.slots.acquire_async()
        try:
            if not step.may_leave():
                return None
            reply = await runtime.wire.send_async(step.body)
        finally:
            runtime.slots.release()
        runtime.settle(ticket, reply)
        return reply

    try:
        step = next(flow)
        while True:
            if isinstance(step, Send):
                try:
                    reply = await send(step)
                except APIConnectionError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
                continue
            if isinstance(step, Permit):
                if runtime.limiter is not None:
                    await runtime.limiter.acquire_async(step.tokens)
            elif isinstance(step, Sleep):
                await runtime.clock.sleep_async(step.seconds)
            else:
                deliver(step)
            step = next(flow)
    except StopIteration:
        pass
    except BadRequestError as refusal:
        refuse(refusal)
    finally:
        flow.close()
