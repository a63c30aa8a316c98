"""Usage of objects and of blocks, over both frameworks, tasks, threads and executors."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from langchain_core.runnables import RunnableLambda
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.async_utils import asyncio_run

from aimlapi_embeddings import TrackedUsage, Usage, emulator, track_usage
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode, Package

TEXTS = ["a text", "another", "a third", "a text"]


def test_every_object_tells_the_usage_of_its_calls(entry_point: EntryPoint) -> None:
    embedder = entry_point.make(OPENAI, batch_size=1, max_concurrency=1).embedder
    assert embedder.usage == Usage()
    entry_point.documents(TEXTS)
    entry_point.query("q")
    assert embedder.usage == entry_point.client.usage
    assert (embedder.usage.requests, embedder.usage.deduplicated) == (4, 1)
    assert embedder.usage.total_tokens > 0


def test_a_block_counts_the_calls_in_it(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    entry_point.query("before")
    before = entry_point.client.usage
    with track_usage() as usage:
        entry_point.documents(TEXTS)
        entry_point.query("q")
    entry_point.query("after")
    assert before + usage.snapshot() + before == entry_point.client.usage


def test_a_block_counts_all_clients_of_both_frameworks(mode: Mode, fake_server: FakeServer) -> None:
    packages: tuple[Package, ...] = ("core", "langchain", "llama_index")
    entry_points = [EntryPoint(package, mode, fake_server).make(OPENAI) for package in packages]
    with track_usage() as usage:
        for entry_point in entry_points:
            entry_point.documents(TEXTS)
    total = sum((each.client.usage for each in entry_points), Usage())
    assert usage.snapshot() == total
    assert usage.requests == len(fake_server.requests)


def test_blocks_within_blocks_count_for_both(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    with track_usage() as outer:
        entry_point.query("a")
        with track_usage() as inner:
            entry_point.query("b")
        entry_point.query("c")
    assert (outer.requests, inner.requests) == (3, 1)


def test_a_block_counts_our_own_worker_threads(package: Package, mode: Mode) -> None:
    with serving(latency=0.02) as (server, base_url):
        entry_point = connected(package, mode, base_url)
        with track_usage() as usage:
            entry_point.documents([f"text {i}" for i in range(32)])
        entry_point.client.close()
    assert usage.requests == len(server.requests) == 16
    assert usage.snapshot() == entry_point.client.usage


def test_figures_move_with_each_reply(entry_point: EntryPoint) -> None:
    seen: list[tuple[int, bool]] = []
    with track_usage() as usage:

        def answer(request: emulator.Request) -> emulator.Reply:
            seen.append((usage.requests, usage.total_tokens > 0))
            return emulator.answer(request)

        entry_point.fake_server.answer = answer
        entry_point.make(OPENAI, batch_size=1, max_concurrency=1).documents(TEXTS)
    assert seen == [(0, False), (1, True), (2, True)]


def test_a_failed_call_counts_too(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, max_retries=0)
    entry_point.fake_server.will(emulator.Fault(500))
    with track_usage() as usage, pytest.raises(Exception, match="500"):
        entry_point.query("q")
    assert usage.requests == 1


def test_usage_of_a_block_has_every_figure_of_usage() -> None:
    names = [field.name for field in msgspec.structs.fields(Usage)]
    figures = {
        name: inspect.signature(value.fget).return_annotation
        for name, value in vars(TrackedUsage).items()
        if isinstance(value, property)
    }
    assert figures == {field.name: field.type.__name__ for field in msgspec.structs.fields(Usage)}
    with track_usage() as usage:
        pass
    assert [getattr(usage, name) for name in names] == [0] * len(names)
    assert repr(usage) == f"TrackedUsage({Usage()!r})"


# Where the context goes


def client(fake_server: FakeServer) -> Any:
    return EntryPoint("core", "sync", fake_server).make(OPENAI).client


Runner = Callable[[Callable[[], Any]], Any]


def in_a_task(work: Callable[[], Any]) -> None:
    async def main() -> None:
        async def task() -> None:
            work()

        await asyncio.gather(asyncio.create_task(task()))

    asyncio.run(main())


def in_asyncios_threads(work: Callable[[], Any]) -> None:
    asyncio.run(asyncio.to_thread(work))


def in_langchains_threads(work: Callable[[], Any]) -> None:
    RunnableLambda(lambda _: work()).batch([1])


def in_langchains_executor(work: Callable[[], Any]) -> None:
    asyncio.run(RunnableLambda(lambda _: work()).ainvoke(1))


def in_llama_indexs_loop(work: Callable[[], Any]) -> None:
    async def main() -> None:
        work()

    asyncio_run(main())


def in_a_thread_with_the_context(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
    thread.start()
    thread.join()


def in_a_pool_with_the_context(work: Callable[[], Any]) -> None:
    with ThreadPoolExecutor(2) as pool:
        pool.submit(contextvars.copy_context().run, work).result()


@pytest.mark.parametrize(
    "run",
    [
        in_a_task,
        in_asyncios_threads,
        in_langchains_threads,
        in_langchains_executor,
        in_llama_indexs_loop,
        in_a_thread_with_the_context,
        in_a_pool_with_the_context,
    ],
    ids=lambda run: run.__name__,
)
def test_a_block_counts_what_carries_its_context(run: Runner, fake_server: FakeServer) -> None:
    embedder = client(fake_server)
    with track_usage() as usage:
        run(lambda: embedder.embed(["a"]))
        run(lambda: embedder.embed(["b"]))
    assert usage.requests == 2


def test_a_bare_thread_is_not_counted(fake_server: FakeServer) -> None:
    embedder = client(fake_server)
    with track_usage() as usage, ThreadPoolExecutor(1) as pool:
        pool.submit(embedder.embed, ["a"]).result()
    assert usage.requests == 0
    assert embedder.usage.requests == 1


def test_tasks_side_by_side_have_blocks_of_their_own(fake_server: FakeServer) -> None:
    embedder = client(fake_server)

    async def main() -> list[int]:
        async def task(calls: int) -> int:
            with track_usage() as usage:
                for i in range(calls):
                    await embedder.aembed([f"text {i}"])
                    await asyncio.sleep(0)
            return usage.requests

        return await asyncio.gather(*map(task, range(5)))

    with track_usage() as outer:
        assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    assert outer.requests == 10


def test_a_block_can_be_left_in_another_context(fake_server: FakeServer) -> None:
    """An async generator, such as a fixture, may be closed by another task."""
    embedder = client(fake_server)

    async def block() -> AsyncIterator[TrackedUsage]:
        with track_usage() as usage:
            yield usage

    async def main() -> int:
        blocks = block()
        usage = await asyncio.create_task(anext(blocks))  # type: ignore[arg-type]
        await asyncio.create_task(blocks.aclose())  # type: ignore[attr-defined]
        await embedder.aembed(["a"])
        return usage.requests

    assert asyncio.run(main()) == 0


def test_a_block_around_an_index_counts_its_ingestion(fake_server: FakeServer) -> None:
    entry_point = EntryPoint("llama_index", "sync", fake_server).make(OPENAI)
    with track_usage() as usage:
        VectorStoreIndex.from_documents(
            [Document(text=text) for text in TEXTS[:3]], embed_model=entry_point.embedder
        )
    assert usage.requests == len(fake_server.requests) > 0
    assert usage.snapshot() == entry_point.embedder.usage
