"""The threads of a client: one pool for all of its sync calls."""

from __future__ import annotations

import contextvars
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aimlapi_embeddings._engine.workers import Workers
from aimlapi_embeddings.emulator import Fault
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Package
from tests.support.sockets import AT_ONCE, SOON, eventually

NAME = "aimlapi-embeddings-worker"
TEXTS = [f"text {i}" for i in range(16)]


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == NAME}


@pytest.fixture(autouse=True)
def others_have_ended() -> None:
    """Wait until the threads of tests before have ended."""
    eventually(lambda: not workers())


@contextmanager
def pool(most: int) -> Iterator[Workers]:
    """A pool whose threads end with the test."""
    made = Workers(most)
    yield made
    made.close()
    eventually(lambda: not workers())


class Jobs:
    """Jobs that note who did them, in which order, and can be held up."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.by: set[threading.Thread] = set()
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def make(self, name: str, pieces: int = 1) -> Callable[[], bool]:
        """A job of so many pieces."""
        left = iter(range(pieces - 1, -1, -1))

        def job() -> bool:
            self.begun.release()
            assert self.go_on.wait(SOON)
            self.by.add(threading.current_thread())
            self.done.append(name)
            return next(left) > 0

        return job

    def wait_for(self, count: int) -> list[str]:
        eventually(lambda: len(self.done) == count)
        return self.done


def test_threads_are_daemons_and_start_as_they_are_needed() -> None:
    with pool(4) as made:
        jobs = Jobs()
        assert not workers()
        for name in "abc":
            assert made.submit(jobs.make(name))
        eventually(lambda: len(workers()) == 3)
        assert all(thread.daemon for thread in workers())
        jobs.go_on.set()
        jobs.wait_for(3)


def test_there_are_at_most_so_many_threads() -> None:
    with pool(2) as made:
        jobs = Jobs()
        for _ in range(20):
            assert made.submit(jobs.make("a"))
        for _ in range(2):
            assert jobs.begun.acquire(timeout=SOON)
        assert len(workers()) == 2
        jobs.go_on.set()
        jobs.wait_for(20)
        assert len(jobs.by) == 2


def test_an_idle_thread_does_the_next_job() -> None:
    with pool(4) as made:
        jobs = Jobs()
        jobs.go_on.set()
        for count in range(1, 6):
            made.submit(jobs.make("a"))
            jobs.wait_for(count)
            time.sleep(0.01)  # until it is idle again
        assert len(jobs.by) == 1


def test_a_thread_is_started_for_each_job_that_no_idle_one_will_take() -> None:
    with pool(4) as made:
        jobs = Jobs()
        made.submit(jobs.make("a"))
        assert jobs.begun.acquire(timeout=SOON)
        made.submit(jobs.make("b"))
        assert jobs.begun.acquire(timeout=SOON), "the busy thread is not waited for"
        jobs.go_on.set()
        jobs.wait_for(2)


def test_unfinished_jobs_take_turns() -> None:
    with pool(1) as made:
        jobs = Jobs()
        for name in "ab":
            made.submit(jobs.make(name, pieces=3))
        jobs.go_on.set()
        assert jobs.wait_for(6) == ["a", "b", "a", "b", "a", "b"]


def test_an_idle_thread_keeps_nothing_of_a_call() -> None:
    with pool(1) as made:
        jobs = Jobs()
        jobs.go_on.set()
        job = jobs.make("a")
        gone = weakref.ref(job)
        made.submit(job)
        jobs.wait_for(1)
        del job
        eventually(lambda: gone() is None)


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which the system allows no more worker threads."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == NAME:
            raise RuntimeError("can't start new thread")
        start(thread)

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


def test_where_no_thread_can_be_started_nothing_is_submitted(
    no_more_threads: Callable[[], None],
) -> None:
    no_more_threads()
    with pool(4) as made:
        jobs = Jobs()
        assert not made.submit(jobs.make("a"))
    assert jobs.done == []


def test_where_no_more_threads_can_be_started_those_there_are_do_it(
    no_more_threads: Callable[[], None],
) -> None:
    with pool(4) as made:
        jobs = Jobs()
        assert made.submit(jobs.make("a"))
        no_more_threads()
        for _ in range(5):
            assert made.submit(jobs.make("b"))
        jobs.go_on.set()
        jobs.wait_for(6)
        assert len(jobs.by) == 1


@pytest.mark.slow
def test_idle_threads_end_after_some_seconds() -> None:
    made, jobs = Workers(4), Jobs()
    for _ in range(3):
        made.submit(jobs.make("a"))
    jobs.go_on.set()
    jobs.wait_for(3)
    time.sleep(1.0)
    assert len(workers()) == 3
    eventually(lambda: not workers())
    made.submit(jobs.make("b"))
    jobs.wait_for(4)
    made.close()


def test_close_ends_idle_threads_at_once_and_busy_ones_when_they_are_done() -> None:
    made, idle, busy = Workers(4), Jobs(), Jobs()
    for _ in range(2):
        made.submit(idle.make("a"))
    eventually(lambda: len(workers()) == 2)
    idle.go_on.set()
    idle.wait_for(2)
    made.submit(busy.make("b"))
    assert busy.begun.acquire(timeout=SOON)
    closed = time.monotonic()
    made.close()
    assert time.monotonic() - closed < 0.5, "close waits for nobody"
    eventually(lambda: len(workers()) == 1)
    assert time.monotonic() - closed < AT_ONCE
    busy.go_on.set()
    eventually(lambda: not workers())
    assert time.monotonic() - closed < AT_ONCE


def test_jobs_that_were_submitted_before_close_are_done() -> None:
    made, jobs = Workers(1), Jobs()
    for _ in range(5):
        made.submit(jobs.make("a", pieces=2))
    made.close()
    jobs.go_on.set()
    jobs.wait_for(10)
    made.close()


def test_a_closed_pool_can_be_used_again() -> None:
    with pool(2) as made:
        jobs = Jobs()
        jobs.go_on.set()
        for count in (1, 2, 3):
            made.submit(jobs.make("a"))
            jobs.wait_for(count)
            made.close()
            eventually(lambda: not workers())


# The pool of a client


def test_all_sync_calls_of_a_client_share_one_pool(package: Package) -> None:
    with serving(together=8, latency=0.02) as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1, max_concurrency=8)
        most = 0
        callers = [
            threading.Thread(target=entry_point.documents, args=(TEXTS[:4],)) for _ in range(40)
        ]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            most = max(most, len(workers()))
            time.sleep(0.005)
        entry_point.client.close()
        assert 1 <= most <= 8
        assert server.peak_in_flight == 8
        assert len(server.requests) == 40 * 4
    eventually(lambda: not workers())


@pytest.mark.parametrize("assigned", [False, True])
def test_the_threads_of_a_client_that_is_dropped_end_at_once(
    package: Package, assigned: bool
) -> None:
    """A web service may make a client for each of its own requests."""
    with serving() as (_, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1)
        entry_point.documents(TEXTS)
        if assigned and package != "core":
            entry_point.embedder.max_retries = 1
            entry_point.documents(TEXTS)
        assert workers()
        del entry_point
        gc.collect()
        dropped = time.monotonic()
        eventually(lambda: not workers())
        assert time.monotonic() - dropped < AT_ONCE


def test_a_stream_whose_client_was_dropped_goes_on(fake_server: FakeServer) -> None:
    entry_point = EntryPoint("core", "sync", fake_server).make(batch_size=1)
    stream = entry_point.client.embed_iter(TEXTS)
    first = next(stream)
    del entry_point
    gc.collect()
    assert len([first, *stream]) == len(TEXTS)


def test_calls_take_turns(package: Package) -> None:
    """A small call beside a large one ends long before it."""
    ended: dict[str, float] = {}

    def embed(name: str, texts: list[str]) -> None:
        entry_point.documents(texts)
        ended[name] = time.monotonic()

    with serving(latency=0.02) as (_, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1, max_concurrency=2)
        begun = time.monotonic()
        large = threading.Thread(target=embed, args=("large", [f"large {i}" for i in range(100)]))
        large.start()
        time.sleep(0.1)
        embed("small", [f"small {i}" for i in range(4)])
        large.join()
        entry_point.client.close()
    assert ended["small"] - begun < 0.7 * (ended["large"] - begun)


SEEN = contextvars.ContextVar("SEEN", default="nothing")


class Limiter:
    """A rate limiter of the user's, which runs in the threads of the pool."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.threads: set[str] = set()

    def acquire(self) -> None:
        self.seen.append(SEEN.get())
        self.threads.add(threading.current_thread().name)
        SEEN.set("changed")

    async def aacquire(self) -> None:
        raise AssertionError


def test_each_job_runs_in_a_copy_of_its_callers_context(fake_server: FakeServer) -> None:
    limiter = Limiter()
    entry_point = EntryPoint("core", "sync", fake_server).make(
        OPENAI, batch_size=1, rate_limiter=limiter, max_concurrency=4
    )
    SEEN.set("of the caller")
    entry_point.documents(TEXTS[:4])
    entry_point.client.close()
    assert limiter.threads == {NAME}
    assert set(limiter.seen) <= {"of the caller", "changed"}
    assert limiter.seen.count("of the caller") >= 1
    assert SEEN.get() == "of the caller"
    SEEN.set("nothing")


def test_a_call_succeeds_in_its_own_thread_where_no_thread_can_be_started(
    package: Package, no_more_threads: Callable[[], None]
) -> None:
    no_more_threads()
    with serving() as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        entry_point.client.close()
        assert len(server.requests) == len(TEXTS)
        assert server.peak_in_flight == 1


def test_threads_that_sleep_before_a_repeat_end_at_once_when_the_call_has_ended(
    package: Package,
) -> None:
    faults = [Fault(503, retry_after="30"), Fault(401, delay=0.3)]
    with serving(faults=faults) as (_, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1)
        with pytest.raises(Exception, match="401"):
            entry_point.documents(TEXTS[:2])
        ended = time.monotonic()
        entry_point.client.close()
        eventually(lambda: not workers())
        assert time.monotonic() - ended < AT_ONCE
