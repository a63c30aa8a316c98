"""One object can be used from any number of event loops, and leaves no open socket."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient
from tests.support.child_processes import program
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode, Package
from tests.support.sockets import SOON, ports_to

TEXTS = ["a", "b", "c", "d"]
REQUESTS = 2  # to embed TEXTS

SYNC_CALL = {
    "core": "embedder.embed(texts).vectors",
    "langchain": "embedder.embed_documents(texts)",
    "llama_index": "embedder.get_text_embedding_batch(texts)",
}
ASYNC_CALL = {
    "core": "(await embedder.aembed(texts)).vectors",
    "langchain": "await embedder.aembed_documents(texts)",
    "llama_index": "await embedder.aget_text_embedding_batch(texts)",
}


async def cell(code: str, embedder: Any) -> Any:
    """Run code like a notebook cell in IPython: sync code in the thread of a running loop."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names = {"embedder": embedder, "texts": TEXTS}
    result = eval(compile(code, "<cell>", "eval", flags=flags), names)
    return await result if inspect.iscoroutine(result) else result


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_object_works_in_five_event_loops_one_after_the_other(
    package: Package, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    with serving() as (server, base_url):
        entry_point = connected(package, "async", base_url)
        found = []
        for calls in range(1, 6):
            found.append(run(cell(ASYNC_CALL[package], entry_point.embedder)))
            assert len(server.requests) == calls * REQUESTS
            assert not ports_to(base_url), "connections are closed with their event loop"
    assert found == [found[0]] * 5
    assert len(found[0]) == len(TEXTS)


@pytest.mark.parametrize("mode_of_the_worker", ["sync", "async"])
def test_sync_calls_work_in_a_worker_thread_of_a_running_loop(
    package: Package, mode_of_the_worker: Mode
) -> None:
    with serving() as (server, base_url):
        entry_point = connected(package, mode_of_the_worker, base_url)

        async def both() -> tuple[Any, Any]:
            await cell(ASYNC_CALL[package], entry_point.embedder)
            return await asyncio.gather(
                asyncio.to_thread(entry_point.documents, TEXTS),
                cell(ASYNC_CALL[package], entry_point.embedder),
            )

        there, here = asyncio.run(both())
        entry_point.client.close()
        assert there == here
        assert len(server.requests) == 3 * REQUESTS
        assert not ports_to(base_url)


def test_both_modes_work_in_the_cells_of_a_notebook(package: Package) -> None:
    sync_call, async_call = SYNC_CALL[package], ASYNC_CALL[package]

    async def notebook(embedder: Any) -> list[Any]:
        return [await cell(code, embedder) for code in (async_call, sync_call) * 3]

    with serving() as (server, base_url):
        entry_point = connected(package, "sync", base_url)
        found = asyncio.run(notebook(entry_point.embedder))
        entry_point.client.close()
        assert found == [found[0]] * 6
        assert len(server.requests) == 6 * REQUESTS
        assert not ports_to(base_url)


def test_connections_are_reused_by_the_next_call(mode: Mode) -> None:
    code = SYNC_CALL["core"] if mode == "sync" else ASYNC_CALL["core"]

    async def twice(client: EmbeddingsClient) -> list[set[int]]:
        used = []
        for _ in range(2):
            await cell(code, client)
            used.append(ports_to(base_url))
        return used

    with serving() as (_, base_url):
        entry_point = connected("core", mode, base_url, max_concurrency=1)
        first, second = asyncio.run(twice(entry_point.embedder))
        entry_point.client.close()
    assert len(first) == 1
    assert first == second


def test_three_concurrent_event_loops_share_an_object(package: Package) -> None:
    everyone = threading.Barrier(3, timeout=SOON)
    found: list[Any] = []

    async def calls(embedder: Any) -> None:
        everyone.wait()
        several = [cell(ASYNC_CALL[package], embedder) for _ in range(4)]
        found.extend(await asyncio.gather(*several))

    with serving(together=3, latency=0.02) as (server, base_url):
        entry_point = connected(package, "async", base_url, max_concurrency=3)
        threads = [
            threading.Thread(target=asyncio.run, args=(calls(entry_point.embedder),))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert found == [found[0]] * 12
        assert len(server.requests) == 12 * REQUESTS
        assert server.peak_in_flight == 3
        assert not ports_to(base_url)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_closed_without_shutdown_breaks_no_later_call(
    package: Package, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """LlamaIndex's `asyncio_run` does so; the garbage collector closes the connections."""
    with serving() as (server, base_url):
        entry_point = connected(package, "async", base_url)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for calls in range(1, 4):
                loop = new_loop()
                embedding = cell(ASYNC_CALL[package], entry_point.embedder)
                assert len(loop.run_until_complete(embedding)) == len(TEXTS)
                loop.close()
                assert len(server.requests) == calls * REQUESTS
            del loop
            entry_point.documents(TEXTS)
            gc.collect()
        assert not ports_to(base_url)
        assert len(server.requests) == 4 * REQUESTS
    assert {warning.category for warning in warned} == {ResourceWarning}


def test_close_closes_all_connections_and_the_object_can_be_used_again(
    package: Package, mode: Mode
) -> None:
    code = (SYNC_CALL if mode == "sync" else ASYNC_CALL)[package]

    async def use(entry_point: EntryPoint) -> None:
        for calls in (1, 2):
            await cell(code, entry_point.embedder)
            assert len(ports_to(base_url)) == REQUESTS
            if mode == "sync":
                entry_point.client.close()
            else:
                await entry_point.client.aclose()
            assert not ports_to(base_url)
            assert len(server.requests) == calls * REQUESTS

    with serving(together=REQUESTS, latency=0.02) as (server, base_url):
        asyncio.run(use(connected(package, mode, base_url)))


def test_leaving_a_with_block_closes_the_connections_opened_in_it(mode: Mode) -> None:
    async def use() -> None:
        client: EmbeddingsClient = connected("core", mode, base_url).embedder
        if mode == "sync":
            with client as same:
                same.embed(TEXTS)
        else:
            async with client as same:
                same.embed(TEXTS)
                await same.aembed(TEXTS)
        assert same is client
        assert not ports_to(base_url)

    with serving() as (_, base_url):
        asyncio.run(use())


def test_an_object_that_is_not_closed_leaves_no_socket(package: Package, mode: Mode) -> None:
    code = (SYNC_CALL if mode == "sync" else ASYNC_CALL)[package]

    async def use() -> None:
        entry_point = connected(package, mode, base_url)
        await cell(code, entry_point.embedder)
        assert ports_to(base_url)
        del entry_point
        for _ in range(1000):  # a task of the event loop closes the async client
            if not ports_to(base_url):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"still open: {ports_to(base_url)}")

    with serving() as (_, base_url):
        asyncio.run(use())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("rounds", [0, 1, 2, 5, 50])
def test_an_object_that_lives_until_the_loop_ends_leaves_no_socket(
    run: Callable[[Coroutine[Any, Any, Any]], Any], rounds: int
) -> None:
    """The loop may end at any point of closing the connections."""

    async def use() -> None:
        await connected("core", "async", base_url).embedder.aembed(TEXTS)
        assert len(ports_to(base_url)) == REQUESTS

    async def main() -> None:
        await use()
        for _ in range(rounds):
            await asyncio.sleep(0)

    with serving(together=REQUESTS, latency=0.05) as (_, base_url):
        run(main())
        assert not ports_to(base_url)


PROGRAM = """
import asyncio, gc, os, sys
import uvloop
from tests.support.sockets import SOON, ports_to
from tests.support.entry_points import MODES, PACKAGES
from tests.support.emulator_server import connected

def opened():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

base_url, texts = sys.argv[1], list("abcd")

def use(name, mode):
    entry_point = connected(name, mode, base_url)
    for _ in range(3):
        entry_point.documents(texts)
    entry_point.client.close()

left_open = [connected("core", mode, base_url) for mode in MODES]
for entry_point in left_open:
    entry_point.documents(texts)
before = opened()
for name in PACKAGES:
    for mode in MODES:
        use(name, mode)
print(opened() - before)
"""


@pytest.mark.timeout(60)
def test_a_program_that_closes_nothing_ends_without_open_sockets_or_warnings(
    tmp_path: Path,
) -> None:
    with serving() as (server, base_url):
        process = program(tmp_path / "program.py", PROGRAM, base_url)
        out, err = process.communicate(timeout=50)
        assert (out, err, process.returncode) == ("0\n", "", 0)
        assert len(server.requests) == (2 + 3 * 2 * 3) * REQUESTS
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {KEY}"}
        assert OPENAI.encode() in server.requests[0].body


def test_an_object_that_is_dropped_while_its_loop_ends_is_closed_without_a_message(
    package: Package,
) -> None:
    """A thread may hold it longer than the coroutine that made it."""
    messages: list[Any] = []

    async def use() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: messages.append(context))
        entry_point = connected(package, "async", base_url)
        await cell(ASYNC_CALL[package], entry_point.embedder)
        ending = asyncio.ensure_future(loop.shutdown_asyncgens())
        await asyncio.sleep(0)  # it begins to close the connections
        del entry_point
        gc.collect()
        await ending
        for _ in range(10):
            await asyncio.sleep(0)
        gc.collect()

    with serving() as (_, base_url):
        asyncio.run(use())
        assert not ports_to(base_url)
    assert messages == []


def test_a_loop_that_does_not_know_its_async_generators_is_closed_without_a_message(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under nest_asyncio, whose loops set no hooks for async generators."""

    async def embed_without_hooks(embedder: Any) -> Any:
        sys.set_asyncgen_hooks(None, None)
        return await cell(ASYNC_CALL[package], embedder)

    messages: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: messages.append(repr(it.exc_value)))
    with serving() as (_, base_url):
        entry_point = connected(package, "async", base_url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio's, about its transports
            for _ in range(2):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(embed_without_hooks(entry_point.embedder))
                loop.close()
            del loop
            entry_point.documents(TEXTS)
            entry_point.client.close()
            del entry_point
            gc.collect()
    assert messages == []


@pytest.mark.parametrize("package", ["core", "langchain"])
def test_a_coroutine_that_no_event_loop_of_asyncio_runs_is_told_what_it_needs(
    package: Package, fake_server: FakeServer
) -> None:
    """As trio would run it, or a test by hand."""
    entry_point = EntryPoint(package, "async", fake_server).make()
    embedder = entry_point.embedder
    call = embedder.aembed if package == "core" else embedder.aembed_documents
    with pytest.raises(ConfigurationError, match="need a running event loop of asyncio") as caught:
        call(["a", "b"]).send(None)
    assert caught.value.partial is not None
    assert caught.value.partial.vectors == [None, None]
    with pytest.raises(ConfigurationError, match="need a running event loop of asyncio"):
        anext(entry_point.client.aembed_iter(["a"])).send(None)
    assert fake_server.requests == []
