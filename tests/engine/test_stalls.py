"""Long work of our own gives the event loop back every few milliseconds."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from aimlapi_embeddings import EmbeddingsClient
from aimlapi_embeddings._slices import Work, at_once, in_slices
from tests.support.entry_points import KEY, OPENAI
from tests.support.sockets import SOON
from tests.support.stalls import longest_gap

TEXTS = 12_000
DIMENSIONS = 1536
VECTOR = base64.b64encode(bytes(range(64)) * (DIMENSIONS // 16)).decode()


async def answer(request: httpx.Request) -> httpx.Response:
    """Give each text the same vector; most of the reply is made without Python's code."""
    texts = json.loads(request.content)["input"]
    items = ",".join(f'{{"index":{i},"embedding":"{VECTOR}"}}' for i in range(len(texts)))
    return httpx.Response(200, content=f'{{"data":[{items}]}}'.encode())


def test_other_tasks_run_while_lists_of_many_vectors_are_made() -> None:
    """At once it takes most of a second; another task waits for a small part of that."""

    async def main() -> tuple[float, float]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = EmbeddingsClient(model=OPENAI, api_key=KEY, async_http_client=http_client)
            result = await client.aembed([f"text {i}" for i in range(TEXTS)])
            return await longest_gap(result.avectors)

    gap, took = asyncio.run(main())
    assert gap < took / 4


def test_other_tasks_run_while_a_stream_hands_many_vectors_over() -> None:
    async def main() -> tuple[float, float]:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = EmbeddingsClient(
                model=OPENAI, api_key=KEY, async_http_client=http_client, batch_size=64
            )

            async def read() -> int:
                stream = client.aembed_iter(f"text {i}" for i in range(TEXTS))
                return len([None async for _ in stream])

            return await longest_gap(read)

    # The best of three, on a busy machine. Without giving the loop back it is a half of the time.
    shares = [gap / took for gap, took in (asyncio.run(main()) for _ in range(3))]
    assert min(shares) < 1 / 4


def test_other_tasks_run_while_many_texts_are_checked_and_packed() -> None:
    """The texts are refused at the end, so that nothing but planning is measured."""
    texts = [f"text {i} {'word ' * 20}" for i in range(300_000)]

    async def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"message": "no"})

    async def main() -> tuple[float, float]:
        transport = httpx.MockTransport(refuse)
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = EmbeddingsClient(model=OPENAI, api_key=KEY, async_http_client=http_client)

            async def work() -> None:
                with pytest.raises(Exception, match="401"):
                    await client.aembed(texts)

            return await longest_gap(work)

    gap, took = asyncio.run(main())
    assert gap < took / 4


def steps(count: int, seconds: float) -> Work[str]:
    for _ in range(count):
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            pass
        yield
    return "done"


def test_a_slice_ends_after_some_milliseconds_and_not_after_a_number_of_steps() -> None:
    async def interruptions(work: Work[str]) -> int:
        count = 0

        async def watch() -> None:
            nonlocal count
            while True:
                count += 1
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        assert await in_slices(work) == "done"
        watcher.cancel()
        return count

    slow = asyncio.run(interruptions(steps(40, 0.002)))
    quick = asyncio.run(interruptions(steps(40, 0.0)))
    assert slow >= 10
    assert quick <= 3


def test_the_collector_is_asked_only_where_it_is_on_and_lists_are_made() -> None:
    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    def collections(*, collect: bool) -> int:
        gc.callbacks.append(note)
        try:
            seen.clear()
            asyncio.run(in_slices(steps(20, 0.002), collect=collect))
            return seen.count(1)
        finally:
            gc.callbacks.remove(note)

    assert collections(collect=True) >= 5
    assert collections(collect=False) == 0
    gc.disable()
    try:
        assert collections(collect=True) == 0
    finally:
        gc.enable()


def asking(*functions: Callable[[], Any]) -> Work[list[Any]]:
    answers = []
    for function in functions:
        try:
            answers.append((yield function))
        except OSError as error:
            answers.append(str(error))
        yield
    return answers


def fail() -> None:
    raise OSError("no disk")


def test_what_may_block_is_called_in_a_thread_for_async_callers_and_here_for_sync_ones() -> None:
    here = threading.get_ident()
    assert at_once(asking(threading.get_ident)) == [here]
    [there] = asyncio.run(in_slices(asking(threading.get_ident)))
    assert there != here


def test_work_gets_what_it_asked_for_or_its_error() -> None:
    asked = (lambda: 1, fail, lambda: None, lambda: 2)
    assert at_once(asking(*asked)) == [1, "no disk", None, 2]
    assert asyncio.run(in_slices(asking(*asked))) == [1, "no disk", None, 2]


def test_an_error_that_work_does_not_catch_ends_it() -> None:
    def broken() -> Work[None]:
        yield lambda: 1 // 0

    with pytest.raises(ZeroDivisionError):
        at_once(broken())
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_slices(broken()))


def test_work_that_is_done_at_once_gives_the_same_result() -> None:
    assert at_once(steps(3, 0.0)) == "done"


class Queues(ThreadPoolExecutor):
    """Puts a call into its queue, and cannot start a thread for it; another thread may take it."""

    def submit(self, *call: Any) -> Any:  # type: ignore[override]
        super().submit(*call)
        if self.takes_it:
            time.sleep(0.05)
        raise RuntimeError("can't start new thread")

    takes_it = True


class KeepsForLater(Queues):
    """The same, but its thread is busy meanwhile."""

    takes_it = False

    def __init__(self) -> None:
        super().__init__(1)
        self.busy = threading.Event()
        ThreadPoolExecutor.submit(self, self.busy.wait, SOON)


@pytest.mark.parametrize("executor", [Queues, KeepsForLater])
def test_what_may_block_is_called_once_also_where_no_thread_can_be_started(executor: Any) -> None:
    calls: list[str] = []

    def ask() -> str:
        calls.append(threading.current_thread().name)
        return "answer"

    def work() -> Work[str]:
        return (yield ask)

    async def run() -> str:
        pool = executor()
        asyncio.get_running_loop().set_default_executor(pool)
        try:
            return await in_slices(work())
        finally:
            getattr(pool, "busy", threading.Event()).set()

    assert asyncio.run(run()) == "answer"  # which waits for the threads of the executor
    assert len(calls) == 1


def test_what_may_block_is_not_begun_after_its_caller_was_cancelled() -> None:
    calls: list[str] = []

    def work() -> Work[None]:
        yield lambda: calls.append("begun")

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            busy = threading.Event()
            pool.submit(busy.wait, SOON)
            asyncio.get_running_loop().set_default_executor(pool)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(in_slices(work()), 0.02)
            busy.set()

    asyncio.run(run())
    assert calls == []
