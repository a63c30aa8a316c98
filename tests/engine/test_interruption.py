"""Ctrl-C, signals and cancellation end a call at once, and the object stays usable."""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_embeddings.emulator import Fault
from tests.support.child_processes import program
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import EntryPoint, Mode, Package
from tests.support.interrupted_call import (
    BOUND,
    HANGS,
    LONGER,
    TEXTS,
    InterruptedCall,
    interrupted_call,
)
from tests.support.sockets import AT_ONCE, SOON, eventually

PROGRAM = """
import asyncio, sys
from aimlapi_embeddings import EmbeddingsClient

base_url, how = sys.argv[1:]
client = EmbeddingsClient(
    model="text-embedding-3-small",
    api_key="any",
    base_url=base_url,
    batch_size=1,
    max_concurrency=16,
)
texts = [str(i) for i in range(40)]
try:
    if how == "one":
        client.embed(["one"])
    elif how == "tasks":
        asyncio.run(client.aembed(texts))
    else:
        client.embed(texts)
except KeyboardInterrupt:
    if how != "caught":
        raise
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "requests"), [("threads", 16), ("tasks", 16), ("one", 1), ("caught", 16)]
)
def test_ctrl_c_ends_a_program_with_requests_in_flight(
    tmp_path: Path, how: str, requests: int
) -> None:
    with serving(faults=repeat(HANGS)) as (server, base_url):
        process = program(tmp_path / "program.py", PROGRAM, base_url, how)
        eventually(lambda: len(server.requests) == requests)
        pressed = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SOON)
        assert time.monotonic() - pressed < AT_ONCE
        assert len(server.requests) == requests
    if how == "caught":
        assert (err, process.returncode) == ("", 0), "no thread delays the exit"
    else:
        assert err.endswith("\nKeyboardInterrupt\n")
        assert err.startswith("Traceback")
        assert process.returncode == -signal.SIGINT


# Ctrl-C in this process


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_during_the_start_of_threads_ends_those_already_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, ours = threading.Thread.start, []

    def start_two(thread: threading.Thread) -> None:
        if thread.name != "emulator":
            ours.append(thread)
        if len(ours) == 3:
            raise KeyboardInterrupt
        start(thread)

    with interrupted_call(None, latency=0.1) as interrupted:
        entry_point = connected("core", "sync", interrupted.base_url, batch_size=1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start_two)
            with pytest.raises(KeyboardInterrupt):
                entry_point.documents(TEXTS)
        time.sleep(0.5)
        assert len(interrupted.server.requests) <= 2
        interrupted.assert_goes_on(entry_point)


@pytest.mark.parametrize(
    ("press", "requests"), [(ctrl_c, BOUND), (ctrl_c, 1), (_thread.interrupt_main, BOUND)]
)
def test_an_object_stays_usable_after_ctrl_c(
    package: Package, press: Callable[[], None], requests: int
) -> None:
    """`interrupt_main` is what Ctrl-C does on Windows: it does not end a wait that has begun."""
    with interrupted_call(*[HANGS] * requests) as interrupted:
        entry_point = connected(package, "sync", interrupted.base_url, batch_size=1)
        interrupted.when(requests, press)
        with pytest.raises(KeyboardInterrupt):
            entry_point.documents(TEXTS if requests > 1 else ["a"])
        interrupted.assert_ended()
        interrupted.assert_goes_on(entry_point)


@pytest.mark.parametrize("requests", [1, BOUND])
def test_requests_that_ctrl_c_breaks_off_are_counted(mode: Mode, requests: int) -> None:
    with interrupted_call(*[HANGS] * requests) as interrupted:
        entry_point = connected("core", mode, interrupted.base_url, batch_size=1)
        interrupted.when(requests, ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            entry_point.documents(TEXTS[:requests])
        interrupted.assert_ended()
        eventually(lambda: entry_point.client.usage.requests == requests)
        entry_point.client.close()


def test_a_request_whose_client_fails_after_it_was_sent_is_counted(mode: Mode) -> None:
    class Failing(httpx.SyncByteStream, httpx.AsyncByteStream):
        """The body of a reply, in a transport of the user's with a fault."""

        def __iter__(self) -> Iterator[bytes]:
            raise ZeroDivisionError

        async def __aiter__(self) -> AsyncIterator[bytes]:
            raise ZeroDivisionError
            yield b""

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Failing()))
    clients = {
        "http_client": httpx.Client(transport=transport),
        "async_http_client": httpx.AsyncClient(transport=transport),
    }
    entry_point = connected("core", mode, "http://127.0.0.1:9", **clients)
    with pytest.raises(ZeroDivisionError):
        entry_point.documents(["a"])
    assert entry_point.client.usage.requests == 1


def test_ctrl_c_ends_the_wait_before_a_retry_and_later_calls_still_wait(package: Package) -> None:
    with interrupted_call(Fault(429, retry_after="30")) as interrupted:
        entry_point = connected(package, "sync", interrupted.base_url, batch_size=1)
        interrupted.when(1, lambda: (time.sleep(LONGER), _thread.interrupt_main()))
        with pytest.raises(KeyboardInterrupt):
            entry_point.query("q")
        interrupted.assert_ended()
        embed = calls_of(entry_point.embedder)[1]
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(embed(["a"]), LONGER))
        assert len(interrupted.server.requests) == 1
        entry_point.client.close()


class Alarm(Exception):
    """An ordinary exception of a signal handler."""


@pytest.mark.parametrize(
    ("raised", "fault"),
    [
        # The connections of the call are shut down, so that its slots are free at once.
        pytest.param(SystemExit, HANGS, id="SystemExit"),
        # The requests in flight keep their slots until their replies.
        pytest.param(Alarm, Fault(delay=1.0), id="an ordinary exception"),
    ],
)
def test_an_object_stays_usable_after_a_signal_handler_raised(
    package: Package, raised: type[BaseException], fault: Fault
) -> None:
    def ring(*_: object) -> None:
        raise raised

    usual = signal.signal(signal.SIGALRM, ring)
    try:
        with interrupted_call(*[fault] * BOUND) as interrupted:
            entry_point = connected(package, "sync", interrupted.base_url, batch_size=1)
            interrupted.when(BOUND, lambda: os.kill(os.getpid(), signal.SIGALRM))
            with pytest.raises(raised):
                entry_point.documents(TEXTS)
            interrupted.assert_ended()
            interrupted.assert_goes_on(entry_point)
    finally:
        signal.signal(signal.SIGALRM, usual)


# Cancellation


async def cancelled(interrupted: InterruptedCall, entry_point: EntryPoint, requests: int) -> None:
    task = asyncio.ensure_future(calls_of(entry_point.embedder)[1](TEXTS[:requests]))
    await asyncio.to_thread(interrupted.wait_for, requests)
    interrupted.happened = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def out_of_time(interrupted: InterruptedCall, entry_point: EntryPoint, requests: int) -> None:
    async def embed() -> None:
        async with asyncio.timeout(None) as timeout:
            loop = asyncio.get_running_loop()
            interrupted.when(requests, lambda: loop.call_soon_threadsafe(timeout.reschedule, 0))
            await calls_of(entry_point.embedder)[1](TEXTS[:requests])

    with pytest.raises(TimeoutError):
        await embed()


@pytest.mark.parametrize("end", [cancelled, out_of_time])
@pytest.mark.parametrize("requests", [BOUND, 1])
def test_cancellation_ends_a_call_at_once_and_the_object_stays_usable(
    package: Package,
    end: Callable[[InterruptedCall, EntryPoint, int], Awaitable[None]],
    requests: int,
) -> None:
    async def use() -> None:
        entry_point = connected(package, "async", interrupted.base_url, batch_size=1)
        await end(interrupted, entry_point, requests)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.to_thread(interrupted.assert_ended)
        before = len(interrupted.server.requests)
        await calls_of(entry_point.embedder)[1](TEXTS)
        assert len(interrupted.server.requests) == before + len(TEXTS)

    with interrupted_call(*[HANGS] * requests) as interrupted:
        asyncio.run(use())


class _Alarm(TimeoutError):
    """A bound on a piece of the program, as libraries for time-outs raise it."""


class _Bounds:
    """Handlers of each kind that Python allows."""

    def of_method(self, *_: object) -> None:
        raise _Alarm("enough")


def _of_function(*_: object) -> None:
    raise _Alarm("enough")


@pytest.mark.parametrize(
    "handler",
    [_of_function, _Bounds().of_method, partial(_of_function, None)],
    ids=["function", "method", "partial"],
)
@pytest.mark.parametrize(
    "library", [None, httpx.Client], ids=["our connections", "a user's client"]
)
def test_a_timeout_that_a_signal_handler_raises_is_the_callers_and_not_repeated(
    package: Package, handler: Callable[..., None], library: Callable[[], Any] | None
) -> None:
    before = signal.signal(signal.SIGALRM, handler)
    with serving(faults=[None, Fault(hang=True)]) as (server, base_url):
        client = library() if library else None
        entry_point = connected(package, "sync", base_url, http_client=client)
        entry_point.query("warm")
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(_Alarm, match="enough"):
                entry_point.query("q")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert len(server.requests) == 2
        assert entry_point.query("again")
        entry_point.client.close()
        if client is not None:
            client.close()
