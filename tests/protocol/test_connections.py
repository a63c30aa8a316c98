"""Connections of our own: which one is used, when they are closed, and replies that break them."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from aimlapi_embeddings import APIConnectionError, APITimeoutError, ReplyError
from aimlapi_embeddings.emulator import Fault, faults
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import Clock, EntryPoint, Mode, Package
from tests.support.raw_server import raw_server, reply
from tests.support.sockets import SOON, eventually, ports_to

pytestmark = pytest.mark.usefixtures("unencrypted")
IDLE = 5.0  # seconds after which an idle connection is closed
TIMEOUT = 0.2  # seconds; an attempt as a whole may take three times as long
DELAY = 0.2  # seconds that make requests meet


def in_one_loop(mode: Mode, *steps: Callable[[], Any]) -> list[Any]:
    """Run sync and async calls one after the other, all async ones in the same event loop."""

    async def run() -> list[Any]:
        results = []
        for step in steps:
            result = step()
            results.append(await result if asyncio.iscoroutine(result) else result)
        return results

    if mode == "sync":
        return [step() for step in steps]
    return asyncio.run(run())


def embed(entry_point: EntryPoint, *texts: str) -> Callable[[], Any]:
    """A call in the mode of the entry point."""
    client = entry_point.client
    call: Any = client.embed if entry_point.mode == "sync" else client.aembed
    return lambda: call([*texts])


def pause(mode: Mode, seconds: float) -> Callable[[], Any]:
    return lambda: time.sleep(seconds) if mode == "sync" else asyncio.sleep(seconds)


# Which connection is used


def test_the_connection_that_was_used_last_is_used_next(mode: Mode) -> None:
    def respond(connection: socket.socket, number: int, place: int) -> bool:
        if number < 4:
            time.sleep(DELAY if number else 2 * DELAY)  # the first request is answered last
        connection.sendall(reply())
        return True

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, batch_size=1, max_concurrency=4)
        one = embed(entry_point, "a")
        in_one_loop(mode, embed(entry_point, *"abcd"), one, one, one)
        entry_point.client.close()
        assert server.opened == len(set(server.ports[:4])) == 4
        assert set(server.ports[4:]) == {server.ports[0]}


@pytest.mark.slow
def test_idle_connections_are_closed_after_five_seconds_by_the_next_request(mode: Mode) -> None:
    with serving(latency=DELAY) as (server, base_url):
        entry_point = connected("core", mode, base_url, batch_size=1, max_concurrency=4)
        counts: list[int] = []

        def count() -> None:
            counts.append(len(ports_to(base_url)))

        one = embed(entry_point, "a")
        steps = [embed(entry_point, *"abcd"), count, one, count, pause(mode, IDLE + 0.2), one]
        in_one_loop(mode, *steps, count)
        entry_point.client.close()
    assert counts == [4, 4, 1]
    assert len(server.requests) == 6


@pytest.mark.slow
def test_idle_connections_are_closed_though_no_further_request_comes(mode: Mode) -> None:
    """A program with a client for each of its customers would keep all their sockets for ever."""
    with serving(latency=DELAY) as (_, base_url):
        entry_point = connected("core", mode, base_url, batch_size=1, max_concurrency=4)
        counts: list[int] = []

        def count() -> None:
            counts.append(len(ports_to(base_url)))

        four = embed(entry_point, *"abcd")
        in_one_loop(mode, four, count, pause(mode, 2.2 * IDLE), count, four, count)
        entry_point.client.close()
    assert counts == [4, 0, 4]


def test_a_connection_that_the_server_closed_while_idle_is_not_tried(
    mode: Mode, clock: Clock
) -> None:
    with serving(faults=[Fault(close=True)] * 3) as (server, base_url):
        entry_point = connected("core", mode, base_url, max_retries=0)
        one, gone = embed(entry_point, "a"), pause(mode, 0.05)
        in_one_loop(mode, one, gone, one, gone, one)
        entry_point.client.close()
        assert len(server.requests) == entry_point.client.usage.requests == 3
    assert clock.waits == []


def test_an_idle_connection_that_breaks_during_a_request_is_replaced_at_once(
    package: Package, mode: Mode, clock: Clock
) -> None:
    """The server closes it at the moment the request arrives: no retry, no wait."""

    def respond(connection: socket.socket, number: int, place: int) -> bool:
        if place == 0:
            connection.sendall(reply())
        return place == 0

    with raw_server(respond) as server:
        entry_point = connected(package, mode, server.base_url, max_retries=0)
        one = embed(entry_point, "a")
        in_one_loop(mode, one, one, one)
        entry_point.client.close()
        assert server.opened == 3
        assert len(server.ports) == 5
    assert clock.waits == []
    usage = entry_point.client.usage
    assert (usage.requests, usage.retries, usage.prompt_tokens) == (5, 2, 3)


@pytest.mark.parametrize("place_of_the_fault", [0, 1])
def test_a_reply_that_breaks_off_costs_a_retry_on_any_connection(
    mode: Mode, clock: Clock, place_of_the_fault: int
) -> None:
    def respond(connection: socket.socket, number: int, place: int) -> bool:
        whole = reply()
        broken = place == place_of_the_fault and number == place
        connection.sendall(whole[:-5] if broken else whole)
        return not broken

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, max_retries=1)
        one = embed(entry_point, "a")
        in_one_loop(mode, one, one)
        entry_point.client.close()
        assert len(server.ports) == 3
    assert len(clock.waits) == 1


def test_a_new_connection_that_breaks_does_not_count_as_an_idle_one(
    mode: Mode, clock: Clock
) -> None:
    with raw_server(lambda *_: False) as server:
        entry_point = connected("core", mode, server.base_url, max_retries=2)
        with pytest.raises(APIConnectionError, match="3 attempts"):
            in_one_loop(mode, embed(entry_point, "a"))
        assert len(server.ports) == 3
    assert len(clock.waits) == 2


# What the operating system says


def test_the_error_tells_what_the_system_said_about_the_connection(
    package: Package, mode: Mode
) -> None:
    """Whoever looks for the cause has to tell a refusal from a full table of files."""
    entry_point = connected(package, mode, "http://127.0.0.1:9", max_retries=0)
    with pytest.raises(APIConnectionError) as caught:
        entry_point.query("q")
    assert f"[Errno {errno.ECONNREFUSED}]" in str(caught.value)
    assert str(caught.value).count("Errno") == 1


def test_the_error_tells_that_a_new_connection_was_reset(mode: Mode) -> None:
    def respond(connection: socket.socket, number: int, place: int) -> bool:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return False

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, max_retries=0)
        with pytest.raises(APIConnectionError) as caught:
            in_one_loop(mode, embed(entry_point, "a"))
    assert f"[Errno {errno.ECONNRESET}]" in str(caught.value)


@contextmanager
def no_more_files() -> Iterator[None]:
    """Use up all file descriptors that this process may have."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, usual[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_where_no_more_files_may_be_opened_the_error_says_what_to_do(
    mode: Mode, clock: Clock
) -> None:
    """It is repeated all the same: others may close theirs."""
    # There is no server: one in this process would give back descriptors of its own.
    entry_point = connected("core", mode, "http://127.0.0.1:9", max_retries=2)
    client = entry_point.client

    async def fail() -> str:
        """Return what is said; a traceback that pytest kept could not be shown without files."""
        with pytest.raises(APIConnectionError) as caught:
            client.embed(["a"]) if mode == "sync" else await client.aembed(["a"])
        assert not caught.value.permanent
        return str(caught.value)

    async def use() -> tuple[str, str]:
        refused = await fail()
        with no_more_files():
            return refused, await fail()

    refused, starved = asyncio.run(use())
    assert "ulimit" not in str(refused)
    assert "ulimit -n" in str(starved)
    assert f"[Errno {errno.EMFILE}]" in str(starved)
    assert len(clock.waits) == 4


def test_a_broken_connection_is_closed(mode: Mode) -> None:
    def respond(connection: socket.socket, number: int, place: int) -> bool:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        return True

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, max_retries=0)

        def fail() -> Any:
            with pytest.raises(APIConnectionError):
                entry_point.documents(["a"])

        fail()
        assert not ports_to(server.base_url)
        entry_point.client.close()


# Closing


def test_close_while_in_use_returns_at_once_and_breaks_nobody(package: Package, mode: Mode) -> None:
    with serving(latency=0.5) as (server, base_url):
        entry_point = connected(package, mode, base_url, batch_size=1)

        def close_in_flight() -> float:
            eventually(lambda: len(server.requests) == 4)
            started = time.monotonic()
            entry_point.client.close()
            return time.monotonic() - started

        async def both() -> tuple[Any, float]:
            async def aclose() -> float:
                await asyncio.to_thread(eventually, lambda: len(server.requests) == 4)
                started = time.monotonic()
                await entry_point.client.aclose()
                return time.monotonic() - started

            return await asyncio.gather(entry_point.client.aembed([*"abcd"]), aclose())

        if mode == "async":
            result, seconds = asyncio.run(both())
        else:
            seconds_of: list[float] = []
            closer = threading.Thread(target=lambda: seconds_of.append(close_in_flight()))
            closer.start()
            result = entry_point.client.embed([*"abcd"])
            closer.join(SOON)
            [seconds] = seconds_of
        assert len(result.vectors) == 4
        assert seconds < 0.3
        assert len(server.requests) == 4
        assert not ports_to(base_url), "each request closes its own connection"


def test_a_client_can_be_used_after_close(mode: Mode) -> None:
    with serving() as (server, base_url):
        entry_point = connected("core", mode, base_url)
        client = entry_point.client
        close: Any = client.close if mode == "sync" else client.aclose
        one = embed(entry_point, "a")
        in_one_loop(mode, one, close, close, one, close)
        assert len(server.requests) == 2
        assert not ports_to(base_url)


def test_close_from_many_threads_during_calls_breaks_nobody(package: Package, mode: Mode) -> None:
    with serving(latency=0.01) as (server, base_url):
        entry_point = connected(package, mode, base_url, batch_size=1, max_concurrency=4)
        stop = threading.Event()

        def close() -> None:
            while not stop.wait(0.002):
                if mode == "sync":
                    entry_point.client.close()
                else:
                    asyncio.run(entry_point.client.aclose())

        closers = [threading.Thread(target=close) for _ in range(3)]
        for closer in closers:
            closer.start()
        try:
            for _ in range(10):
                assert len(entry_point.documents([f"text {i}" for i in range(8)])) == 8
        finally:
            stop.set()
            for closer in closers:
                closer.join(SOON)
        entry_point.client.close()
        assert len(server.requests) == 80
        assert entry_point.client.usage.requests == 80
        eventually(lambda: not ports_to(base_url))


# Replies that break the rules


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_mislabelled_content_encoding_is_a_bad_reply_after_one_request(
    package: Package, mode: Mode, encoding: str
) -> None:
    with serving(faults=[Fault(headers={"content-encoding": encoding})]) as (server, base_url):
        entry_point = connected(package, mode, base_url)
        with pytest.raises(ReplyError, match="content-encoding"):
            entry_point.documents(["a"])
        entry_point.client.close()
        assert len(server.requests) == 1
        assert entry_point.client.usage.requests == 1


def test_a_mislabelled_error_page_is_still_its_status(mode: Mode) -> None:
    fault = Fault(401, headers={"content-encoding": "gzip"})
    with serving(faults=[fault]) as (server, base_url):
        entry_point = connected("core", mode, base_url)
        with pytest.raises(Exception, match=r"^401 "):
            entry_point.documents(["a"])
        entry_point.client.close()
        assert len(server.requests) == 1


def test_a_compressed_reply_is_read(mode: Mode) -> None:
    with serving(faults=[Fault(reshape=faults.gzipped), None]) as (_, base_url):
        entry_point = connected("core", mode, base_url)
        first, second = in_one_loop(mode, embed(entry_point, "a"), embed(entry_point, "a"))
        entry_point.client.close()
        assert first.vectors == second.vectors


def trickle(connection: socket.socket, start: bytes, stop: threading.Event) -> None:
    """Send a good beginning, and then a byte now and then for ever."""
    connection.sendall(start)
    while not stop.wait(TIMEOUT / 4):
        connection.sendall(b"x")


HEADERS = b"HTTP/1.1 200 OK\r\nx-slow: "
BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"


@pytest.mark.parametrize("start", [HEADERS, BODY], ids=["headers", "body"])
@pytest.mark.parametrize("place_of_the_fault", [0, 1], ids=["new", "idle"])
def test_a_reply_that_trickles_ends_after_three_times_the_timeout(
    mode: Mode, start: bytes, place_of_the_fault: int
) -> None:
    def respond(connection: socket.socket, number: int, place: int) -> bool:
        if place < place_of_the_fault:
            connection.sendall(reply())
            return True
        trickle(connection, start, server.stopping)
        return False

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, timeout=TIMEOUT, max_retries=0)
        taken: list[float] = []

        async def slow_async() -> None:
            started = time.monotonic()
            with pytest.raises(APITimeoutError, match="raise timeout"):
                await entry_point.client.aembed(["a"])
            taken.append(time.monotonic() - started)

        def slow() -> Any:
            if mode == "async":
                return slow_async()
            started = time.monotonic()
            with pytest.raises(APITimeoutError, match="raise timeout"):
                entry_point.client.embed(["a"])
            taken.append(time.monotonic() - started)
            return None

        in_one_loop(mode, *[embed(entry_point, "a")] * place_of_the_fault, slow)
        assert not ports_to(server.base_url)
        entry_point.client.close()
    assert 3 * TIMEOUT - 0.05 <= taken[0] < 3 * TIMEOUT + 1.0
    assert entry_point.client.usage.requests == 1 + place_of_the_fault


def test_a_slow_reply_that_keeps_within_the_whole_is_read(mode: Mode) -> None:
    """Each piece comes within the timeout, and all of them within three times as long."""

    def respond(connection: socket.socket, number: int, place: int) -> bool:
        whole = reply()
        for piece in (whole[:20], whole[20:60], whole[60:]):
            connection.sendall(piece)
            time.sleep(0.12)
        return True

    with raw_server(respond) as server:
        entry_point = connected("core", mode, server.base_url, timeout=TIMEOUT, max_retries=0)
        assert len(entry_point.documents(["a"])) == 1
        entry_point.client.close()
