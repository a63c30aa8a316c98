"""What users of a web server feel: many at once, queries beside an ingestion, stalled loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from server import check, texts_for
from works import Work

_EVERY = 0.05  # seconds from one query beside an ingestion to the next
_BEAT = 0.001  # seconds that the heartbeat sleeps
_STALL = 0.05  # seconds; what is called a gap


def percentile(took: list[float], share: float) -> float:
    """Take the smallest value that a share of all values does not exceed."""
    return sorted(took)[math.ceil(share * len(took)) - 1]


def of_latencies(took: list[float]) -> dict[str, float]:
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "longest": max(took)}


async def users(embedder: Any, work: Work) -> dict[str, Any]:
    """Let all users ask at once, wait until all are answered, and ask again.

    A user's time runs from the moment at which all of them ask, so that what one waits for the
    event loop, or for a thread to run, counts. Connections are opened by the first of the rounds.
    """
    sync = work.mode == "sync"
    warm = embedder.query("warm up 0") if sync else await embedder.aquery("warm up 0")
    assert len(warm) == work.dimensions
    gc.collect()
    cpu = time.process_time()
    took = _threads(embedder.query, work) if sync else await _tasks(embedder.aquery, work)
    cpu = time.process_time() - cpu
    assert len(took) == work.users * work.queries
    return {**of_latencies(took), "cpu": cpu, "warmed": 1}


def _threads(query: Callable[[str], Any], work: Work) -> list[float]:
    took: list[float] = []
    failed: list[BaseException] = []
    start = 0.0

    def begin() -> None:
        nonlocal start
        start = time.perf_counter()

    barrier = threading.Barrier(work.users, action=begin)

    def ask(user: int) -> None:
        try:
            for each in range(work.queries):
                barrier.wait()
                asked_at = start
                row = query(f"query {user + each}")
                took.append(time.perf_counter() - asked_at)
                assert len(row) == work.dimensions
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=ask, args=(user,)) for user in range(work.users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:  # the first one; the others were only told of a broken barrier
        raise failed[0]
    return took


async def _tasks(query: Callable[[str], Any], work: Work) -> list[float]:
    took: list[float] = []

    async def ask(user: int, start: float) -> None:
        row = await query(f"query {user}")
        took.append(time.perf_counter() - start)
        assert len(row) == work.dimensions

    for _ in range(work.queries):
        start = time.perf_counter()
        await asyncio.gather(*(ask(user, start) for user in range(work.users)))
    return took


async def beside(embedder: Any, work: Work) -> dict[str, Any]:
    """Ask queries at fixed times for as long as the same object embeds many texts.

    A query's time runs from the moment at which it was due, so that a loop which stands still
    delays all queries that are due meanwhile, and not only one.
    """
    sync, texts = work.mode == "sync", texts_for(work.texts)
    _ = embedder.query("warm up 0") if sync else await embedder.aquery("warm up 0")
    gc.collect()
    found = _beside_thread(embedder, texts) if sync else await _beside_task(embedder, texts)
    rows, wall, took = found
    check(rows, len(texts), work.dimensions)
    return {**of_latencies(took), "asked": len(took), "wall": wall, "warmed": 1}


async def _beside_task(embedder: Any, texts: list[str]) -> tuple[Any, float, list[float]]:
    async def ingest() -> tuple[Any, float]:
        rows = await embedder.adocuments(texts)
        return rows, time.perf_counter()

    async def ask(due: float) -> float:
        await embedder.aquery("query 1")
        return time.perf_counter() - due

    begin = time.perf_counter()
    ingestion, queries = asyncio.create_task(ingest()), list[asyncio.Task[float]]()
    for due in itertools.count(begin + _EVERY, _EVERY):
        await asyncio.sleep(max(0, due - time.perf_counter()))
        if ingestion.done() and due > ingestion.result()[1] and queries:
            break
        queries.append(asyncio.create_task(ask(due)))
    rows, end = await ingestion
    return rows, end - begin, [await each for each in queries]


def _beside_thread(embedder: Any, texts: list[str]) -> tuple[Any, float, list[float]]:
    def ingest() -> tuple[Any, float]:
        rows = embedder.documents(texts)
        return rows, time.perf_counter()

    def ask(due: float) -> float:
        embedder.query("query 1")
        return time.perf_counter() - due

    with ThreadPoolExecutor(100) as pool:
        begin = time.perf_counter()
        ingestion, queries = pool.submit(ingest), list[Future[float]]()
        for due in itertools.count(begin + _EVERY, _EVERY):
            time.sleep(max(0, due - time.perf_counter()))
            if ingestion.done() and due > ingestion.result()[1] and queries:
                break
            queries.append(pool.submit(ask, due))
        rows, end = ingestion.result()
        return rows, end - begin, [each.result() for each in queries]


@contextlib.contextmanager
def heartbeat(gaps: list[float]) -> Iterator[None]:
    """Note the time between two turns of a task that does nothing but sleep."""

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(_BEAT)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    task = asyncio.get_running_loop().create_task(beat())
    try:
        yield
    finally:
        task.cancel()


async def stalls(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed all texts beside a heartbeat, and keep the result: nobody can slice its freeing."""
    texts, gaps = texts_for(work.texts), list[float]()
    await embedder.adocuments(["warm up 0"])
    gc.collect()
    with heartbeat(gaps):
        await asyncio.sleep(10 * _BEAT)
        cpu, wall = time.process_time(), time.perf_counter()
        rows = await embedder.adocuments(texts)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        await asyncio.sleep(10 * _BEAT)  # one more beat, which sees how long the last step took
    check(rows, len(texts), work.dimensions)
    long = [gap for gap in gaps if gap > _STALL]
    return {
        "longest gap": max(gaps),
        "gaps": len(long),
        "stalled": sum(long),
        "wall": wall,
        "cpu": cpu,
        "warmed": 1,
    }
