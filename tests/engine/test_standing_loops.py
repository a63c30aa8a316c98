"""No wait is for ever: calls end though the event loop that holds all slots stands still."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from aimlapi_embeddings import RateLimitError
from aimlapi_embeddings.emulator import Emulator
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import EntryPoint, Package

pytestmark = pytest.mark.timeout(30)  # what hangs hangs for ever
LATENCY = 0.1  # seconds
IN_TIME = 2.0  # seconds; one request, 100 ms of silence, and room for a slow machine
TEXTS = ["a", "b"]  # one request
RUNS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
NEW_LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
Run = Callable[[Coroutine[Any, Any, Any]], Any]


def bounded(package: Package, base_url: str, bound: int) -> EntryPoint:
    return connected(package, "sync", base_url, max_concurrency=bound)


async def hold(server: Emulator, entry_point: EntryPoint, slots: int) -> list[asyncio.Task[Any]]:
    """Send async requests until they hold all slots."""
    embed = calls_of(entry_point.embedder)[1]
    tasks = [asyncio.ensure_future(embed([f"held {i}"])) for i in range(slots)]
    while len(server.requests) < slots:  # noqa: ASYNC110  (the server is in another thread)
        await asyncio.sleep(0.01)
    return tasks


def timed(call: Callable[[], Any]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


@RUNS
@pytest.mark.parametrize("slots", [1, 3])
def test_a_sync_call_on_a_loop_whose_tasks_hold_all_slots_ends(
    package: Package, run: Run, slots: int
) -> None:
    async def handler() -> float:
        tasks = await hold(server, entry_point, slots)
        seconds = timed(lambda: entry_point.documents(TEXTS))
        for vectors in await asyncio.gather(*tasks):
            assert vectors
        return seconds

    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, slots)
        assert run(handler()) < IN_TIME
        entry_point.client.close()
        assert len(server.requests) == slots + 1
        assert server.peak_in_flight <= slots + 1


@RUNS
@pytest.mark.parametrize("callers", [1, 20])
def test_threads_that_a_loop_joins_end_though_its_tasks_hold_all_slots(
    package: Package, run: Run, callers: int
) -> None:
    """LlamaIndex's sync methods do so within a running loop."""

    async def handler() -> float:
        tasks = await hold(server, entry_point, 1)
        threads = [
            threading.Thread(target=entry_point.documents, args=(TEXTS,)) for _ in range(callers)
        ]

        def join() -> None:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        seconds = timed(join)
        await asyncio.gather(*tasks)
        return seconds

    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, 1)
        assert run(handler()) < callers * (LATENCY + 0.1) + IN_TIME
        entry_point.client.close()
        assert len(server.requests) == 1 + callers
        assert server.peak_in_flight <= 2, "one slot is lent at a time"


@NEW_LOOPS
def test_a_stopped_loop_with_a_request_in_flight_delays_no_other_caller(
    package: Package, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, 1)
        loop = new_loop()
        [task] = loop.run_until_complete(hold(server, entry_point, 1))
        assert timed(lambda: entry_point.documents(TEXTS)) < IN_TIME
        entry_point.client.close()
        loop.run_until_complete(task)
        loop.run_until_complete(entry_point.client.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        assert len(server.requests) == 2


def test_two_loops_that_stand_still_are_waited_for_together(package: Package) -> None:
    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, 2)
        loops = [asyncio.new_event_loop() for _ in range(2)]
        tasks = []
        for i, loop in enumerate(loops):
            server.requests.clear()
            [task] = loop.run_until_complete(hold(server, entry_point, 1))
            tasks.append(task)
            assert len(server.requests) == 1, i
        assert timed(lambda: entry_point.documents(TEXTS)) < IN_TIME
        entry_point.client.close()
        for loop, task in zip(loops, tasks, strict=True):
            loop.run_until_complete(task)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


@RUNS
def test_async_calls_of_another_loop_end_too(package: Package, run: Run) -> None:
    async def embed() -> None:
        await calls_of(entry_point.embedder)[1](TEXTS)

    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, 1)
        loop = asyncio.new_event_loop()
        [task] = loop.run_until_complete(hold(server, entry_point, 1))
        assert timed(lambda: run(embed())) < IN_TIME
        loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_the_bound_is_kept_while_the_loop_runs(package: Package) -> None:
    """Threads beside a loop that answers wait for their turn."""

    async def main() -> None:
        embed = calls_of(entry_point.embedder)[1]
        calls = [embed([f"async {i}"]) for i in range(6)]
        threads = [asyncio.to_thread(entry_point.documents, [f"sync {i}"]) for i in range(6)]
        await asyncio.gather(*calls, *threads)

    with serving(latency=LATENCY) as (server, base_url):
        entry_point = bounded(package, base_url, 2)
        asyncio.run(main())
        entry_point.client.close()
        assert len(server.requests) == 12
        assert server.peak_in_flight == 2


def test_after_refusals_one_async_request_is_enough_to_hold_all_slots(package: Package) -> None:
    """Three 429s lower a bound of 8 to 1; then one task and one sync call meet."""

    async def handler() -> float:
        embed = calls_of(entry_point.embedder)[1]
        server.max_in_flight = 0
        for _ in range(3):
            with pytest.raises(RateLimitError):
                await embed(["refused"])
        server.max_in_flight = None
        server.requests.clear()
        tasks = await hold(server, entry_point, 1)
        seconds = timed(lambda: entry_point.documents(TEXTS))
        await asyncio.gather(*tasks)
        return seconds

    with serving(latency=LATENCY) as (server, base_url):
        entry_point = connected(
            package, "sync", base_url, max_concurrency=8, max_retries=0, batch_size=None
        )
        assert asyncio.run(handler()) < IN_TIME
        entry_point.client.close()
