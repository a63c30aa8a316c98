"""Threads, event loops and windows together reach the bound of their client, never exceed it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from aimlapi_embeddings import EmbeddingsClient
from aimlapi_embeddings.emulator import Emulator
from tests.support.emulator_server import serving
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer

pytestmark = pytest.mark.usefixtures("unencrypted")
LATENCY = 0.02  # seconds; enough for several requests to be in flight together
BOUND = 5
THREADS, LOOPS, TASKS = 32, 3, 8
TEXTS = [f"text {i}" for i in range(4)]
OPTIONS = {"model": OPENAI, "api_key": KEY, "dimensions": 4, "max_concurrency": BOUND}


@pytest.fixture
def server() -> Iterator[tuple[Emulator, str]]:
    with serving(together=BOUND, latency=LATENCY) as served:
        yield served


@pytest.fixture(scope="module")
def right() -> list[list[float]]:
    """The vectors of a call without faults."""
    return EntryPoint("core", "sync", FakeServer()).make(OPENAI, dimensions=4).documents(TEXTS)


def at_once(*jobs: Callable[[], list[list[list[float]]]]) -> list[list[list[float]]]:
    """Run each job in its own thread, and return all results."""
    given: list[list[list[float]]] = []
    start = threading.Barrier(len(jobs))

    def work(job: Callable[[], list[list[list[float]]]]) -> None:
        start.wait()
        given.extend(job())

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return given


def test_threads_and_event_loops_share_the_bound_of_one_client(
    server: tuple[Emulator, str], right: list[list[float]]
) -> None:
    emulator, base_url = server
    client = EmbeddingsClient(**OPTIONS, base_url=base_url, batch_size=1)

    def in_a_thread() -> list[list[list[float]]]:
        return [client.embed(TEXTS).vectors]

    async def in_tasks() -> list[list[list[float]]]:
        results = await asyncio.gather(*(client.aembed(TEXTS) for _ in range(TASKS)))
        return [result.vectors for result in results]

    def in_a_loop() -> list[list[list[float]]]:
        return asyncio.run(in_tasks())

    given = at_once(*[in_a_thread] * THREADS, *[in_a_loop] * LOOPS)
    client.close()
    calls = THREADS + LOOPS * TASKS
    assert given == [right] * calls
    assert len(emulator.requests) == calls * len(TEXTS)
    assert emulator.peak_in_flight == BOUND


def test_windows_of_llama_index_share_the_bound_of_one_object(
    server: tuple[Emulator, str], right: list[list[float]]
) -> None:
    emulator, base_url = server
    entry_point = EntryPoint("llama_index", "async", FakeServer()).make_plain(
        **OPTIONS, base_url=base_url, embed_batch_size=2, batch_size=1, num_workers=None
    )
    embedder, windows = entry_point.embedder, 8

    def in_a_thread() -> list[list[list[float]]]:
        return [embedder.get_text_embedding_batch(TEXTS)]

    def in_a_loop() -> list[list[list[float]]]:
        vectors = asyncio.run(embedder.aget_text_embedding_batch(TEXTS * windows))
        return [vectors[i : i + len(TEXTS)] for i in range(0, len(vectors), len(TEXTS))]

    given = at_once(*[in_a_thread] * THREADS, *[in_a_loop] * LOOPS)
    entry_point.client.close()
    assert given == [right] * (THREADS + LOOPS * windows)
    # A text is paid for once in a call, however many windows hold it.
    assert len(emulator.requests) == (THREADS + LOOPS) * len(TEXTS)
    assert emulator.peak_in_flight == BOUND
