"""Law 11: an object that was used goes on in copies, and in processes of every kind."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import children
import pytest
from sockets import SOON, eventually, ports_to
from surfaces import KEY, Colour, Surface, SurfaceName
from surroundings import calls_of, connected, serving

TEXTS = ["a", "b", "c", "d"]
REQUESTS = 2  # for these texts

pytestmark = [
    pytest.mark.timeout(60),
    # Python 3.12 and later; that this process has threads is the point.
    pytest.mark.filterwarnings(
        "ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning"
    ),
]


def through_pickle(embedder: Any) -> Any:
    return pickle.loads(pickle.dumps(embedder))


@pytest.mark.parametrize("copied", [through_pickle, copy.copy, copy.deepcopy])
def test_a_copy_of_a_used_object_works_beside_it(
    surface_name: SurfaceName, colour: Colour, copied: Callable[[Any], Any]
) -> None:
    with serving() as (server, base_url):
        surface = connected(surface_name, colour, base_url)
        expected = surface.documents(TEXTS)
        twin = Surface(surface_name, colour, surface.wire)
        twin.embedder = copied(surface.embedder)
        assert twin.documents(TEXTS) == surface.documents(TEXTS) == expected
        assert len(server.requests) == 3 * REQUESTS
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {KEY}"}
        twin.client.close()
        surface.client.close()
        assert not ports_to(base_url)


def vectors_of(found: list[Any]) -> list[Any]:
    """Return the vectors, also of the core's results."""
    return [getattr(each, "vectors", each) for each in found]


@pytest.mark.parametrize(
    ("method", "surface_name"),
    [
        ("fork", "core"),
        ("fork", "langchain"),
        ("fork", "llama_index"),
        ("spawn", "core"),  # the adapters: tests/test_copies.py
        ("forkserver", "core"),
    ],
)
def test_a_child_of_any_kind_makes_its_own_connections_after_use(
    method: str, surface_name: SurfaceName, colour: Colour
) -> None:
    with serving() as (server, base_url):
        surface = connected(surface_name, colour, base_url)
        expected = surface.documents(TEXTS)
        surface.client.embed(TEXTS)  # in sync, so that connections are open in either colour
        before = ports_to(base_url)
        assert before
        found, there = in_a_child(
            method, children.embed_in_both_colours, *calls_of(surface.embedder), TEXTS, base_url
        )
        assert vectors_of(found) == [expected] * 2
        assert there
        assert not there & before
        assert len(server.requests) == 4 * REQUESTS
        assert surface.documents(TEXTS) == expected
        assert before <= ports_to(base_url), "the child has closed its own copies only"
        assert len(server.requests) == 5 * REQUESTS
        surface.client.close()
        assert not ports_to(base_url)


def in_a_child(method: str, act: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a child process."""
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    with ours:
        with theirs:
            child = context.Process(target=children.answer, args=(theirs, act, *arguments))
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
    """Fork in the open; the child acts, and must end well."""
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
def test_a_bare_fork_leaves_two_objects_that_work(
    surface_name: SurfaceName, colour: Colour, used_before: bool
) -> None:
    with serving() as (server, base_url):
        surface = connected(surface_name, colour, base_url)

        def use() -> None:
            assert len(surface.documents(TEXTS)) == len(TEXTS)

        if used_before:
            use()
        fork(use)
        use()
        surface.client.close()
        assert len(server.requests) == (2 + used_before) * REQUESTS
        assert not ports_to(base_url)


def test_a_fork_amid_requests_disturbs_neither_side(
    surface_name: SurfaceName,
) -> None:
    with serving(latency=0.15) as (server, base_url):
        surface = connected(surface_name, "sync", base_url, batch_size=1)
        found: list[Any] = []
        calls = [
            threading.Thread(target=lambda: found.append(surface.documents(TEXTS)))
            for _ in range(2)
        ]
        for call in calls:
            call.start()
        eventually(lambda: len(server.requests) == 2 * len(TEXTS))
        fork(lambda: surface.documents(TEXTS))
        for call in calls:
            call.join(SOON)
        assert [len(vectors) for vectors in found] == [len(TEXTS)] * 2
        assert found[0] == surface.documents(TEXTS)
        surface.client.close()
        assert len(server.requests) == 4 * len(TEXTS)


def test_a_fork_inside_a_running_loop_disturbs_neither_side(surface_name: SurfaceName) -> None:
    with serving(latency=0.15) as (server, base_url):
        surface = connected(surface_name, "async", base_url, batch_size=1)

        async def parent() -> list[Any]:
            _, embed = calls_of(surface.embedder)
            first = await embed(TEXTS)
            under_way = asyncio.ensure_future(embed(TEXTS))
            await asyncio.to_thread(eventually, lambda: len(server.requests) == 2 * len(TEXTS))
            fork(lambda: surface.documents(TEXTS))
            return vectors_of([first, await under_way, await embed(TEXTS)])

        found = asyncio.run(parent())
        assert [len(vectors) for vectors in found] == [len(TEXTS)] * 3
        assert len(server.requests) == 4 * len(TEXTS)
        assert not ports_to(base_url)


def test_the_bound_holds_from_the_first_call_of_a_child_on() -> None:
    with serving(latency=0.03) as (server, base_url):
        surface = connected("core", "sync", base_url, batch_size=1, max_concurrency=1)
        surface.documents(["a"])
        for _ in range(4):
            fork(lambda: children.embed_in_threads(surface.client.embed, 8))
        surface.client.close()
        assert len(server.requests) == 1 + 4 * 8
        assert server.peak_in_flight == 1
