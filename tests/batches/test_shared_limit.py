"""Requests per minute that all processes of one machine share, through one file."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import math
import multiprocessing
import os
import pickle
import signal
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, emulator
from aimlapi_embeddings.batches import SharedLimit
from tests.support.batches import SIZE, inputs, step, table
from tests.support.entry_points import OPENAI, Clock, Mode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limit"


@pytest.fixture
def time_stands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that moves only when somebody waits."""
    clock = Clock()
    monkeypatch.setattr(SharedLimit, "_clock", clock)
    return clock


def acquire(limit: SharedLimit, mode: Mode) -> None:
    limit.acquire() if mode == "sync" else asyncio.run(limit.aacquire())


def test_requests_of_all_that_share_a_file_leave_evenly_spaced(
    path: Path, time_stands: Clock, mode: Mode
) -> None:
    one, other = SharedLimit(path, 120), SharedLimit(str(path), 120)
    left = []
    for limit in (one, other, other, one):
        acquire(limit, mode)
        left.append(time_stands.now - 1_000.0)
    assert left == [0.0, 0.5, 1.0, 1.5]


def test_unused_time_is_not_saved_up(path: Path, time_stands: Clock, mode: Mode) -> None:
    limit = SharedLimit(path, 60)
    acquire(limit, mode)
    time_stands.now += 100.0
    acquire(limit, mode)
    acquire(limit, mode)
    assert time_stands.waits == [1.0]


class RestartedClock(Clock):
    """The clock of a machine that was started anew: only its wall clock went on."""

    def time(self) -> float:
        return super().time() + 1_000.0


def test_a_time_of_an_earlier_start_of_the_machine_is_forgotten(
    path: Path, time_stands: Clock, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    acquire(SharedLimit(path, 0.1), mode)  # the next one in 10 minutes
    restarted = RestartedClock()
    monkeypatch.setattr(SharedLimit, "_clock", restarted)
    restarted.now -= 960.0
    limit = SharedLimit(path, 60)
    acquire(limit, mode)
    acquire(limit, mode)
    assert restarted.waits == [1.0]


def test_a_time_that_is_too_far_ahead_is_forgotten(
    path: Path, time_stands: Clock, mode: Mode
) -> None:
    limit = SharedLimit(path, 60)
    acquire(limit, mode)
    time_stands.now -= 999.0  # within an hour it may be a queue, and is waited for
    acquire(limit, mode)
    assert time_stands.waits == [1_000.0]
    time_stands.now += 1e6
    acquire(limit, mode)
    time_stands.now -= 1e6
    acquire(limit, mode)
    assert time_stands.waits == [1_000.0]


def test_a_file_that_stays_locked_is_an_error_in_the_end(
    path: Path, time_stands: Clock, mode: Mode
) -> None:
    limit = SharedLimit(path, 60)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="has been locked by another process for 30 s"):
            acquire(limit, mode)
    acquire(limit, mode)


def test_a_file_that_is_locked_for_a_moment_is_waited_for(path: Path, mode: Mode) -> None:
    limit = SharedLimit(path, 6_000)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        started = time.monotonic()
        acquire(limit, mode)
        assert time.monotonic() - started > 0.1


def test_whatever_the_file_holds_waits_end(path: Path, time_stands: Clock, mode: Mode) -> None:
    for garbage in (
        *(b"", b"short", b"\xff" * 8, b"\xff" * 16, b"\x00" * 6 + b"\xf0\x7f"),
        struct.pack("<dd", math.inf, 1_790_000_000.0),
        struct.pack("<dd", math.nan, 1_790_000_000.0),
        struct.pack("<dd", -math.inf, 1_790_000_000.0),
        os.urandom(64),
    ):
        path.write_bytes(garbage)
        limit = SharedLimit(path, 60)
        before = time_stands.now
        acquire(limit, mode)
        acquire(limit, mode)
        assert 1.0 <= time_stands.now - before <= 3601.0


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, True, "60", None])
def test_a_rate_that_is_none_is_refused(path: Path, rate: Any) -> None:
    with pytest.raises(ConfigurationError, match="requests_per_minute="):
        SharedLimit(path, rate)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-folder"):
        SharedLimit(tmp_path / "no-folder" / "limit", 60)


def test_a_file_system_without_locks_is_told_before_any_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*given: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(ConfigurationError, match=r"limit'.*No locks available.*a local disk"):
        SharedLimit(path, 60)


def test_it_pickles_and_limits_a_plain_client_in_both_modes(
    server: emulator.Emulator, path: Path, mode: Mode
) -> None:
    limit = pickle.loads(pickle.dumps(SharedLimit(path, 600)))
    options = {"model": OPENAI, "dimensions": SIZE, "batch_size": 1, "rate_limiter": limit}
    started = time.monotonic()
    with EmbeddingsClient(**options) as client:
        texts = ["a", "b", "c", "d"]
        if mode == "sync":
            client.embed(texts)
        else:
            asyncio.run(embed_and_close(client, texts))
    assert time.monotonic() - started >= 0.3


async def embed_and_close(client: EmbeddingsClient, texts: list[str]) -> None:
    async with client:
        await client.aembed(texts)


def work(path: Path, name: int, ready: Any, go: Any) -> None:
    with step(
        shared_limit=path, requests_per_minute=1_800, batch_size=1, max_concurrency=8
    ) as embed:
        ready.release()
        go.wait(60)
        embed(table([f"{name} {i}" for i in range(30)]))


@pytest.mark.timeout(110)
def test_four_processes_keep_thirty_a_second(server: emulator.Emulator, path: Path) -> None:
    arrivals: list[float] = []
    server.judge = lambda request: arrivals.append(time.monotonic())
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    children = [context.Process(target=work, args=(path, i, ready, go)) for i in range(4)]
    for child in children:
        child.start()
    for _ in children:
        assert ready.acquire(timeout=60)
    started = time.monotonic()
    go.set()
    for child in children:
        child.join(100)
    assert [child.exitcode for child in children] == [0] * 4
    sent = [json.loads(r.body)["input"] for r in server.requests]
    assert sorted(text for texts in sent for text in texts) == sorted(
        f"{name} {i}" for name in range(4) for i in range(30)
    )
    # A busy machine makes requests late, never early.
    assert all(at >= started + i / 30 for i, at in enumerate(arrivals))


def hold_times(path: Path) -> None:
    limit = SharedLimit(path, 600)
    for _ in range(3):
        threading.Thread(target=limit.acquire).start()


def test_a_worker_that_is_killed_takes_only_its_own_times_with_it(path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=hold_times, args=(path,))
    SharedLimit(path, 600).acquire()
    child.start()
    time.sleep(0.05)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    started = time.monotonic()
    SharedLimit(path, 600).acquire()
    assert time.monotonic() - started < 10


def test_without_a_file_each_worker_keeps_to_its_share(server: emulator.Emulator) -> None:
    started = time.monotonic()
    with step(requests_per_minute=240, workers=4, batch_size=1, max_concurrency=3) as embed:
        embed(table(["a", "b", "c"]))
    assert len(server.requests) == 3
    assert time.monotonic() - started >= 1.9, "one a second"


class Turns:
    """A limiter of the user's."""

    taken = 0

    def acquire(self) -> None:
        Turns.taken += 1

    async def aacquire(self) -> None:
        self.acquire()


def test_a_limiter_of_another_kind_is_made_in_each_process(server: emulator.Emulator) -> None:
    with step(shared_limit=Turns, batch_size=1) as embed:
        assert pickle.loads(pickle.dumps(embed)).size == SIZE
        embed(table(["a", "b", "c"]))
    assert Turns.taken == 3


def test_with_a_file_the_workers_are_the_machines(server: emulator.Emulator, path: Path) -> None:
    started = time.monotonic()
    with step(shared_limit=path, requests_per_minute=1_200, workers=2, batch_size=1) as embed:
        embed(table(["a", "b", "c"]))
    assert len(inputs(server)) == 3
    assert time.monotonic() - started >= 0.2
