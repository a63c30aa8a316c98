"""A used object works in copies, and in spawned and forked processes."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import child_processes
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import KEY, EntryPoint, Mode, Package
from tests.support.sockets import SOON, eventually, ports_to

TEXTS = ["a", "b", "c", "d"]
REQUESTS = 2  # to embed TEXTS

pytestmark = [
    pytest.mark.timeout(60),
    # Python 3.12 and later warn about forks with threads, which are tested here on purpose.
    pytest.mark.filterwarnings(
        "ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"
    ),
]


def through_pickle(embedder: Any) -> Any:
    return pickle.loads(pickle.dumps(embedder))


@pytest.mark.parametrize("copied", [through_pickle, copy.copy, copy.deepcopy])
def test_a_copy_of_a_used_object_works_beside_the_original(
    package: Package, mode: Mode, copied: Callable[[Any], Any]
) -> None:
    with serving() as (server, base_url):
        entry_point = connected(package, mode, base_url)
        expected = entry_point.documents(TEXTS)
        twin = EntryPoint(package, mode, entry_point.fake_server)
        twin.embedder = copied(entry_point.embedder)
        assert twin.documents(TEXTS) == entry_point.documents(TEXTS) == expected
        assert len(server.requests) == 3 * REQUESTS
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {KEY}"}
        twin.client.close()
        entry_point.client.close()
        assert not ports_to(base_url)


def vectors_of(found: list[Any]) -> list[Any]:
    """Return the vectors, unpacking the results of the core."""
    return [getattr(each, "vectors", each) for each in found]


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("fork", "core"),
        ("fork", "langchain"),
        ("fork", "llama_index"),
        ("spawn", "core"),  # the adapters: tests/adapters/test_copies.py
        ("forkserver", "core"),
    ],
)
def test_a_child_process_of_a_used_object_opens_its_own_connections(
    method: str, package: Package, mode: Mode
) -> None:
    with serving() as (server, base_url):
        entry_point = connected(package, mode, base_url)
        expected = entry_point.documents(TEXTS)
        entry_point.client.embed(TEXTS)  # a sync call, whose connections stay open
        before, used = ports_to(base_url), time.monotonic()
        assert before
        found, there = in_a_child(
            method,
            child_processes.embed_in_both_modes,
            *calls_of(entry_point.embedder),
            TEXTS,
            base_url,
        )
        assert vectors_of(found) == [expected] * 2
        assert there
        assert not there & before
        assert len(server.requests) == 4 * REQUESTS
        assert entry_point.documents(TEXTS) == expected
        # After 5 s of idleness, which a busy machine needs for a child, they are closed anyway.
        kept = before <= ports_to(base_url) or time.monotonic() - used > 5.0
        assert kept, "the child closed connections of its parent"
        assert len(server.requests) == 5 * REQUESTS
        entry_point.client.close()
        assert not ports_to(base_url)


def in_a_child(method: str, act: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a function in a child process."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with ours:
        with theirs:
            child = context.Process(target=child_processes.answer, args=(theirs, act, *arguments))
            child.start()
        try:
            assert ours.poll(SOON), "the child never answered"
            answer = ours.recv()
            child.join(SOON)
            assert child.exitcode == 0
        finally:
            child.kill()
    return answer


def fork(act: Callable[[], object]) -> None:
    """Fork with `os.fork`; the child calls `act` and must exit with 0."""
    child = os.fork()
    if not child:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.__stderr__, flush=True)
        finally:
            os._exit(1)
    patience = threading.Timer(SOON, os.kill, (child, signal.SIGKILL))
    patience.start()
    _, status = os.waitpid(child, 0)
    patience.cancel()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("used_before", [False, True])
def test_after_os_fork_the_object_works_in_both_processes(
    package: Package, mode: Mode, used_before: bool
) -> None:
    with serving() as (server, base_url):
        entry_point = connected(package, mode, base_url)

        def use() -> None:
            assert len(entry_point.documents(TEXTS)) == len(TEXTS)

        if used_before:
            use()
        fork(use)
        use()
        entry_point.client.close()
        assert len(server.requests) == (2 + used_before) * REQUESTS
        assert not ports_to(base_url)


def test_a_fork_with_requests_in_flight_disturbs_neither_process(
    package: Package,
) -> None:
    with serving(latency=0.15) as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1)
        found: list[Any] = []
        calls = [
            threading.Thread(target=lambda: found.append(entry_point.documents(TEXTS)))
            for _ in range(2)
        ]
        for call in calls:
            call.start()
        eventually(lambda: len(server.requests) == 2 * len(TEXTS))
        fork(lambda: entry_point.documents(TEXTS))
        for call in calls:
            call.join(SOON)
        assert [len(vectors) for vectors in found] == [len(TEXTS)] * 2
        assert found[0] == entry_point.documents(TEXTS)
        entry_point.client.close()
        assert len(server.requests) == 4 * len(TEXTS)


def test_a_fork_inside_a_running_loop_disturbs_neither_process(package: Package) -> None:
    with serving(latency=0.15) as (server, base_url):
        entry_point = connected(package, "async", base_url, batch_size=1)

        async def parent() -> list[Any]:
            _, embed = calls_of(entry_point.embedder)
            first = await embed(TEXTS)
            under_way = asyncio.ensure_future(embed(TEXTS))
            await asyncio.to_thread(eventually, lambda: len(server.requests) == 2 * len(TEXTS))
            fork(lambda: entry_point.documents(TEXTS))
            return vectors_of([first, await under_way, await embed(TEXTS)])

        found = asyncio.run(parent())
        assert [len(vectors) for vectors in found] == [len(TEXTS)] * 3
        assert len(server.requests) == 4 * len(TEXTS)
        assert not ports_to(base_url)


def test_max_concurrency_holds_from_the_first_call_of_a_child() -> None:
    with serving(latency=0.03) as (server, base_url):
        entry_point = connected("core", "sync", base_url, batch_size=1, max_concurrency=1)
        entry_point.documents(["a"])
        for _ in range(4):
            fork(lambda: child_processes.embed_in_threads(entry_point.client.embed, 8))
        entry_point.client.close()
        assert len(server.requests) == 1 + 4 * 8
        assert server.peak_in_flight == 1
