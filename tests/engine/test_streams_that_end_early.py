"""Whoever stops reading a stream ends what is in flight: no request, thread or task survives."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import count, repeat
from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import AIMLAPIError, EmbeddingsClient
from aimlapi_embeddings.emulator import Fault, Request
from tests.engine.test_processes import fork
from tests.support.child_processes import program
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import Mode
from tests.support.interrupted_call import (
    BOUND,
    HANGS,
    LONGER,
    InterruptedCall,
    interrupted_call,
)
from tests.support.sockets import AT_ONCE, SOON, eventually, ports_to
from tests.support.streams import read

pytestmark = pytest.mark.timeout(60)  # what hangs hangs for ever


def endless() -> Iterator[str]:
    return (f"text {i}" for i in count())


def client_to(base_url: str, **options: Any) -> EmbeddingsClient:
    return connected("core", "sync", base_url, **{"batch_size": 1, **options}).client


def hanging(*but_for: str) -> AbstractContextManager[InterruptedCall]:
    """Serve requests for these texts, and let all others hang."""
    answered = [f'"{text}"'.encode() for text in but_for]
    return interrupted_call(
        None, judge=lambda asked: None if any(t in asked.body for t in answered) else HANGS
    )


class Stop(Exception):
    """The consumer has a problem of its own."""


def closed(stream: Any) -> None:
    next(stream)
    stream.close()


def left_by_break(stream: Any) -> None:
    for _ in stream:
        break
    stream.close()


def failing_consumer(stream: Any) -> None:
    def consume() -> None:
        with stream:
            next(stream)
            raise Stop

    with pytest.raises(Stop):
        consume()


@pytest.mark.parametrize("end", [closed, left_by_break, failing_consumer])
def test_a_sync_stream_that_is_closed_breaks_its_requests_off(end: Any) -> None:
    with hanging("text 0") as interrupted:
        client = client_to(interrupted.base_url)
        stream = client.embed_iter(endless())
        started = time.monotonic()
        end(stream)
        assert time.monotonic() - started < AT_ONCE
        with pytest.raises(StopIteration):
            next(stream)
        time.sleep(LONGER)
        seen = len(interrupted.server.requests)
        time.sleep(LONGER)
        assert len(interrupted.server.requests) == seen <= 1 + BOUND
        client.close()
        eventually(lambda: not ports_to(interrupted.base_url))


def test_a_sync_stream_that_is_dropped_breaks_its_requests_off() -> None:
    with hanging("text 0") as interrupted:
        client = client_to(interrupted.base_url)
        for _ in client.embed_iter(endless()):
            break
        client.close()
        eventually(lambda: not ports_to(interrupted.base_url))


def test_a_sync_stream_that_the_collector_finds_breaks_its_requests_off() -> None:
    class Holder:
        pass

    with hanging("text 0") as interrupted:
        client = client_to(interrupted.base_url)
        holder: Any = Holder()
        holder.itself, holder.stream = holder, client.embed_iter(endless())
        next(holder.stream)
        del holder
        gc.collect()
        client.close()
        eventually(lambda: not ports_to(interrupted.base_url))


async def closed_async(stream: Any) -> None:
    await anext(stream)
    await stream.aclose()


async def left_by_break_async(stream: Any) -> None:
    async for _ in stream:
        break
    await stream.aclose()


async def failing_consumer_async(stream: Any) -> None:
    async def consume() -> None:
        async with stream:
            await anext(stream)
            raise Stop

    with pytest.raises(Stop):
        await consume()


async def cancelled(stream: Any) -> None:
    await anext(stream)
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(LONGER)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def out_of_time(stream: Any) -> None:
    await anext(stream)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), LONGER)


@pytest.mark.parametrize(
    "end",
    [closed_async, left_by_break_async, failing_consumer_async, cancelled, out_of_time],
)
def test_an_async_stream_that_is_ended_cancels_its_requests(end: Any) -> None:
    async def main() -> None:
        client = client_to(interrupted.base_url)
        stream = client.aembed_iter(endless())
        started = time.monotonic()
        await end(stream)
        assert time.monotonic() - started < AT_ONCE
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await client.aclose()

    with hanging("text 0") as interrupted:
        asyncio.run(main())
        eventually(lambda: not ports_to(interrupted.base_url))
        assert len(interrupted.server.requests) <= 1 + BOUND


@pytest.mark.parametrize("running", [True, False], ids=["in the loop", "after it"])
def test_an_async_stream_that_no_loop_finalizes_is_dropped_without_a_message(
    running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under nest_asyncio, whose loops set no hooks for async generators."""
    messages: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: messages.append(repr(it.exc_value)))

    async def main() -> EmbeddingsClient:
        sys.set_asyncgen_hooks(None, None)
        client = client_to(interrupted.base_url)
        kept.append(client.aembed_iter(endless()))
        await anext(kept[0])
        if running:
            kept.clear()
            gc.collect()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), AT_ONCE)
        return client

    kept: list[Any] = []
    with hanging("text 0") as interrupted:
        client = asyncio.run(main())
        kept.clear()
        gc.collect()
        client.close()
    assert messages == []


def test_an_async_stream_that_is_dropped_cancels_its_requests() -> None:
    async def main() -> None:
        client = client_to(interrupted.base_url)
        async for _ in client.aembed_iter(endless()):
            break
        deadline = time.monotonic() + SOON
        while len(asyncio.all_tasks()) > 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await client.aclose()

    with hanging("text 0") as interrupted:
        asyncio.run(main())
        eventually(lambda: not ports_to(interrupted.base_url))


def test_an_async_stream_that_is_left_open_ends_with_its_event_loop() -> None:
    async def main() -> Any:
        stream = client.aembed_iter(endless())
        await anext(stream)
        return stream

    with hanging("text 0") as interrupted:
        client = client_to(interrupted.base_url)
        stream = asyncio.run(main())
        eventually(lambda: not ports_to(interrupted.base_url))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="has ended with the event loop"):
                asyncio.run(_next_of(stream))
        asyncio.run(stream.aclose())


def test_an_async_stream_that_its_reader_closed_is_at_its_end() -> None:
    async def main() -> None:
        stream = client.aembed_iter(endless())
        await anext(stream)
        await stream.aclose()
        assert [vector async for vector in stream] == []

    with serving() as (_, base_url):
        client = client_to(base_url)
        asyncio.run(main())


@pytest.mark.parametrize("act", [anext, lambda stream: stream.aclose()])
def test_an_async_stream_is_read_and_closed_by_one_task_at_a_time(
    act: Callable[[Any], Any],
) -> None:
    async def main() -> int:
        stream = client.aembed_iter(["a"])
        reader = asyncio.ensure_future(_next_of(stream))
        await asyncio.sleep(0.05)
        with pytest.raises(RuntimeError, match="is being read already, by another task"):
            await act(stream)
        return len(await reader)

    with serving(latency=0.5) as (_, base_url):
        client = client_to(base_url)
        assert asyncio.run(main()) == 8


async def _next_of(stream: Any) -> Any:
    return await anext(stream)


def test_a_consumer_that_pauses_is_not_overtaken(mode: Mode) -> None:
    with serving() as (server, base_url):
        client = client_to(base_url, batch_size=2)
        seen: list[int] = []

        def pause(_: Any) -> None:
            if len(seen) < 2:
                time.sleep(LONGER)
                seen.append(len(server.requests))
                time.sleep(LONGER)
                assert mode == "async" or len(server.requests) == seen[-1]

        read(client, mode, endless(), most=20, window=8, each=pause)
        assert len(server.requests) <= 10 + 8
        client.close()


def test_a_refused_key_ends_the_stream_and_its_requests(mode: Mode) -> None:
    def judge(asked: Request) -> Fault | None:
        return Fault(401, delay=0.2) if b'"text 8"' in asked.body else HANGS

    with interrupted_call(
        None, judge=lambda asked: None if b'"text 0"' in asked.body else judge(asked)
    ) as interrupted:
        client = client_to(interrupted.base_url)
        reading = read(client, mode, endless())
        assert isinstance(reading.error, AIMLAPIError)
        assert len(reading.got) == 1
        time.sleep(LONGER)
        assert len(interrupted.server.requests) <= 2 + BOUND
        client.close()


def test_nothing_behind_a_text_at_fault_is_sent_while_those_before_it_are_waited_for(
    mode: Mode,
) -> None:
    def judge(asked: Request) -> Fault:
        refused = b'"text 2"' in asked.body
        return Fault(400 if refused else None, delay=1.0 if b'"text 0"' in asked.body else 0.02)

    with serving(judge=judge) as (server, base_url):
        client = client_to(base_url, max_concurrency=2)
        reading = read(client, mode, [f"text {i}" for i in range(50)], window=50)
        assert len(reading.got) == 2
        assert len(server.requests) < 25, "they have time for all fifty"
        client.close()


# Ctrl-C

PROGRAM = """
import asyncio, sys
from itertools import count
from aimlapi_embeddings import EmbeddingsClient

base_url, how = sys.argv[1:]
client = EmbeddingsClient(
    model="text-embedding-3-small", api_key="any", base_url=base_url, batch_size=1
)
texts = (f"text {i}" for i in count())

async def tasks():
    async for _ in client.aembed_iter(texts):
        pass

if how == "tasks":
    asyncio.run(tasks())
else:
    for _ in client.embed_iter(texts):
        pass
"""


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_ctrl_c_ends_a_program_that_waits_for_a_stream(tmp_path: Path, how: str) -> None:
    with serving(faults=repeat(HANGS)) as (server, base_url):
        process = program(tmp_path / "program.py", PROGRAM, base_url, how)
        eventually(lambda: len(server.requests) == BOUND)
        pressed = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SOON)
        assert time.monotonic() - pressed < AT_ONCE
        assert err.endswith("\nKeyboardInterrupt\n")
        assert process.returncode == -signal.SIGINT


def test_ctrl_c_carries_what_was_finished_and_the_client_stays_usable() -> None:
    with hanging(*(f"text {i}" for i in range(1, 8))) as interrupted:
        client = client_to(interrupted.base_url)
        interrupted.when(8 + 7, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as caught:
            list(client.embed_iter(endless()))
        interrupted.assert_ended()
        partial = caught.value.partial  # type: ignore[attr-defined]
        assert partial.start == 0
        assert sum(vector is not None for vector in partial.vectors) == 7
        interrupted.server.judge = None
        assert len(client.embed(["a"])) == 1
        client.close()


# A kill

KILLED = """
import sys
from aimlapi_embeddings import EmbeddingsClient

base_url, cache = sys.argv[1:]
client = EmbeddingsClient(
    model="text-embedding-3-small", api_key="any", base_url=base_url, batch_size=5, cache=cache
)
texts = (f"text {i % 450}" for i in range(500))
for n, vector in enumerate(client.embed_iter(texts)):
    pass
print(n + 1)
"""


def test_a_job_that_is_killed_and_begun_again_pays_for_each_text_once(tmp_path: Path) -> None:
    with serving(latency=0.05) as (server, base_url):
        arguments = base_url, str(tmp_path / "cache")
        for most in (20, 50):
            process = program(tmp_path / "program.py", KILLED, *arguments)
            eventually(lambda most=most: len(server.requests) >= most)  # type: ignore[misc]
            process.kill()
            process.communicate(timeout=SOON)
        process = program(tmp_path / "program.py", KILLED, *arguments)
        out, err = process.communicate(timeout=SOON)
        assert (out, err) == ("500\n", "")
        # What was in flight at the two kills may be paid for twice.
        assert 90 <= len(server.requests) <= 90 + 2 * BOUND


# Other threads, loops and processes


def test_a_stream_may_be_read_by_one_thread_after_the_other() -> None:
    with serving() as (_, base_url):
        client = client_to(base_url)
        stream = client.embed_iter(f"text {i}" for i in range(10))
        got: list[Any] = []
        for _ in range(10):
            thread = threading.Thread(target=lambda: got.append(next(stream)))
            thread.start()
            thread.join()
        assert got == client.embed([f"text {i}" for i in range(10)]).vectors
        client.close()


def test_a_sync_stream_is_read_and_closed_by_one_thread_at_a_time() -> None:
    with serving(latency=0.5) as (server, base_url):
        client = client_to(base_url)
        stream = client.embed_iter(["a"])
        got: list[Any] = []
        reader = threading.Thread(target=lambda: got.extend(stream))
        reader.start()
        eventually(lambda: len(server.requests) == 1)
        for act in (lambda: next(stream), stream.close):
            with pytest.raises(RuntimeError, match="is being read already, by another thread"):
                act()
        reader.join(SOON)
        assert len(got) == 1
        client.close()


@pytest.mark.parametrize("act", [next, lambda stream: stream.close()])
def test_a_source_or_a_progress_cannot_read_or_close_its_own_stream(
    act: Callable[[Any], Any],
) -> None:
    def source() -> Iterator[str]:
        yield "a"
        act(stream)

    with serving() as (_, base_url):
        client = client_to(base_url)
        stream = client.embed_iter(source())
        assert len(next(stream)) > 0
        with pytest.raises(RuntimeError, match="by what called its own source or progress"):
            next(stream)
        stream = client.embed_iter(["a"], progress=lambda *_: act(stream))
        with pytest.raises(RuntimeError, match="by what called its own source or progress"):
            next(stream)
        client.close()


def test_a_value_error_of_a_source_stays_what_it_is() -> None:
    with serving() as (_, base_url):
        client = client_to(base_url)
        stream = client.embed_iter(int(text) for text in ["no number"])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no number"):
            next(stream)
        client.close()


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("method", ["embed_iter", "aembed_iter"])
def test_a_stream_is_neither_copied_nor_pickled(method: str, act: Callable[[Any], Any]) -> None:
    client = client_to("http://127.0.0.1:9")
    with pytest.raises(TypeError, match="Pickle the client instead"):
        act(getattr(client, method)(["a"]))


@pytest.mark.parametrize("is_closed", [False, True])
def test_an_async_stream_that_is_collected_outside_of_its_loop_ends_in_silence(
    is_closed: bool,
) -> None:
    with hanging("text 0") as interrupted:
        client = client_to(interrupted.base_url)
        loop = asyncio.new_event_loop()
        stream = client.aembed_iter(endless())
        # Asked for while no loop runs, so that none will be told when the stream is collected.
        loop.run_until_complete(asyncio.ensure_future(anext(stream), loop=loop))
        if is_closed:
            loop.close()
        del stream
        gc.collect()
        if not is_closed:
            loop.run_until_complete(asyncio.sleep(LONGER))
            assert not asyncio.all_tasks(loop)
            loop.run_until_complete(client.aclose())
            loop.close()


def test_closing_the_client_does_not_disturb_a_stream(mode: Mode) -> None:
    with serving() as (_, base_url):
        client = client_to(base_url)
        texts = [f"text {i}" for i in range(30)]
        reading = read(client, mode, iter(texts), each=lambda _: client.close(), window=10)
        assert reading.got == client.embed(texts).vectors
        client.close()


def test_calls_within_the_loop_over_a_stream_do_not_wait_for_it(mode: Mode) -> None:
    with serving() as (_, base_url):
        client = client_to(base_url, max_concurrency=1)
        texts = [f"text {i}" for i in range(12)]
        reading = read(client, mode, iter(texts), each=lambda _: client.embed(["a", "b", "c"]))
        assert len(reading.got) == 12
        client.close()


def test_an_async_stream_is_not_read_in_another_loop() -> None:
    with serving() as (_, base_url):
        client = client_to(base_url)
        stream = client.aembed_iter(f"text {i}" for i in range(100))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_next_of(stream))
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(_next_of(stream))
        loop.run_until_complete(client.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")
def test_a_forked_process_neither_disturbs_a_stream_nor_waits_for_it() -> None:
    with serving(latency=0.1) as (server, base_url):
        client = client_to(base_url)
        texts = [f"text {i}" for i in range(40)]
        expected = client.embed(texts).vectors
        stream = client.embed_iter(iter(texts), window=16)
        got = [next(stream)]

        def in_the_child() -> None:
            with pytest.raises(RuntimeError, match="forked"):
                list(stream)
            assert list(client.embed_iter(texts[:3])) == expected[:3]

        fork(in_the_child)
        got += stream
        assert got == expected
        client.close()
        assert len(server.requests) == 2 * 40 + 3


def test_a_stream_in_a_stopped_loop_delays_no_other_caller() -> None:
    with serving(latency=0.1) as (_, base_url):
        client = client_to(base_url, max_concurrency=1)
        stream = client.aembed_iter(f"text {i}" for i in range(10))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_next_of(stream))
        started = time.monotonic()
        assert len(list(client.embed_iter(["a"]))) == 1
        assert time.monotonic() - started < AT_ONCE
        loop.run_until_complete(stream.aclose())
        loop.run_until_complete(client.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        client.close()
