"""The end of a call: nothing more leaves, everything sent is counted, and what is done is kept."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from aimlapi_embeddings import AIMLAPIError, AuthenticationError, PartialResult, Usage
from aimlapi_embeddings.emulator import Emulator, Fault
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import EntryPoint, Mode, Package
from tests.support.raw_server import raw_server, read_request
from tests.support.sockets import AT_ONCE, SOON, eventually, ports_to

TEXTS = [f"text {i}" for i in range(24)]
BOUND = 8  # requests in flight, with one text each
LATE = 0.6  # seconds after which late replies come


def late(server: Emulator, entry_point: EntryPoint) -> Usage:
    """Wait until all late replies are counted, and return the client's usage."""
    eventually(lambda: entry_point.client.usage.requests == len(server.requests))
    return entry_point.client.usage


# After an error


class SlowHandshakes:
    """A TLS server: the first connection is refused with 401, the handshakes of others are slow."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.connections = 0
        self.requests = 0
        self.go_on = threading.Event()
        self.done = threading.Semaphore(0)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []
        self._thread.start()

    def stop(self) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._threads):
            thread.join(SOON)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection, self.connections))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection:
            if number > 1:
                assert self.go_on.wait(SOON)
            with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as tls:
                tls.settimeout(SOON)
                while read_request(tls):
                    self.requests += 1
                    eventually(lambda: self.connections >= BOUND)  # the others are connecting
                    tls.sendall(b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n")
        self.done.release()


@pytest.fixture
def slow_handshakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowHandshakes]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile(dir=str(tmp_path)) as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        server = SlowHandshakes(context)
        yield server
        server.stop()


def test_requests_that_are_still_connecting_when_a_call_fails_are_not_sent(
    package: Package, mode: Mode, slow_handshakes: SlowHandshakes
) -> None:
    server = slow_handshakes
    entry_point = connected(package, mode, server.base_url, batch_size=1)
    with pytest.raises(AuthenticationError):
        entry_point.documents(TEXTS[:BOUND])
    entry_point.client.close()
    server.go_on.set()
    for _ in range(server.connections):
        assert server.done.acquire(timeout=SOON)
    eventually(lambda: not ports_to(server.base_url))
    assert server.requests == 1
    assert entry_point.client.usage.requests == 1


def test_nothing_leaves_after_an_error(package: Package, mode: Mode) -> None:
    faults = [Fault(401, delay=LATE), *[Fault(delay=LATE + 0.1)] * (BOUND - 1)]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected(package, mode, base_url, batch_size=1)
        with pytest.raises(AuthenticationError):
            entry_point.documents(TEXTS)
        entry_point.client.close()
        time.sleep(0.3)
        assert len(server.requests) == BOUND


def test_late_replies_count_in_the_usage_of_the_client(package: Package) -> None:
    """The threads of a failed call still get their replies, which are paid for."""
    faults = [Fault(401, delay=LATE), *[Fault(delay=2 * LATE)] * (BOUND - 1)]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1)
        with pytest.raises(AuthenticationError) as caught:
            entry_point.documents(TEXTS)
        assert caught.value.partial is not None
        assert caught.value.partial.usage == entry_point.client.usage == Usage(requests=1)
        usage = late(server, entry_point)
        entry_point.client.close()
        assert usage.requests == BOUND
        assert usage.prompt_tokens > 0
        assert caught.value.partial.usage == Usage(requests=1), "the error's figures stay"


def test_requests_in_flight_that_are_cancelled_count_as_sent(package: Package) -> None:
    """The tasks of a failed call are cancelled; what their replies would have cost is unknown."""
    faults = [Fault(401, delay=LATE), *[Fault(delay=2 * LATE)] * (BOUND - 1)]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected(package, "async", base_url, batch_size=1)
        with pytest.raises(AuthenticationError):
            entry_point.documents(TEXTS)
        assert len(server.requests) == BOUND
        assert entry_point.client.usage == Usage(requests=BOUND)


def test_usage_moves_with_each_reply(mode: Mode) -> None:
    with serving() as (server, base_url):
        entry_point = connected("core", mode, base_url, batch_size=1, max_concurrency=1)
        seen: list[int] = []

        def progress(done: int, total: int) -> None:
            seen.append(entry_point.client.usage.requests)

        entry_point.documents(TEXTS[:4], progress=progress)
        entry_point.client.close()
        assert len(server.requests) == 4
    if mode == "async":
        assert seen == [0, 1, 2, 3, 4]
    else:  # the threads may be ahead of the caller's
        assert seen[0] == 0
        assert all(count >= place for place, count in enumerate(seen))


@pytest.mark.parametrize("sent", [True, False])
def test_usage_counts_the_requests_whose_sending_began(mode: Mode, sent: bool) -> None:
    with raw_server(lambda *_: False) as server:
        base_url = server.base_url if sent else "http://127.0.0.1:9"
        entry_point = connected("core", mode, base_url, max_retries=1, max_retry_wait=0.01)
        with pytest.raises(AIMLAPIError, match="2 attempts"):
            entry_point.documents(["a"])
        entry_point.client.close()
        assert entry_point.client.usage == (Usage(requests=2, retries=1) if sent else Usage())
        assert len(server.ports) == (2 if sent else 0)


# Exceptions of the user's own


def test_a_callback_that_raises_carries_what_was_finished(mode: Mode) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 3:
            raise LookupError("enough")

    with serving() as (_, base_url):
        entry_point = connected("core", mode, base_url, batch_size=1, max_concurrency=1)
        right = entry_point.documents(TEXTS[:3])
        with pytest.raises(LookupError) as caught:
            entry_point.documents(TEXTS, progress=stop)
        entry_point.client.close()
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert isinstance(partial, PartialResult)
    assert partial.vectors[:3] == right
    assert partial.vectors[3:] == [None] * 21
    assert partial.usage.requests == 3


class Slotted(Exception):
    """An exception that takes no further attributes."""

    @property
    def partial(self) -> None:
        return None


def test_an_exception_that_takes_no_attributes_is_raised_as_it_is(mode: Mode) -> None:
    error = Slotted("enough")

    def stop(done: int, total: int) -> None:
        if done:
            raise error

    with serving() as (_, base_url):
        entry_point = connected("core", mode, base_url)
        with pytest.raises(Slotted) as caught:
            entry_point.documents(["a"], progress=stop)
        entry_point.client.close()
    assert caught.value is error


def test_requests_in_flight_keep_their_slots_until_their_replies_after_an_exception(
    package: Package,
) -> None:
    """They are still in flight at the server, whose bound is the reason for ours."""
    faults = [Fault(401, delay=0.1), *[Fault(delay=LATE)] * (BOUND - 1)]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1, max_concurrency=BOUND)
        with pytest.raises(AuthenticationError):
            entry_point.documents(TEXTS)
        entry_point.documents(TEXTS)
        entry_point.client.close()
        assert server.peak_in_flight == BOUND


# Ctrl-C


@contextmanager
def interrupted(server: Emulator, requests: int) -> Iterator[Callable[[], float]]:
    """Press Ctrl-C once this many requests have arrived; yields the seconds since then."""
    pressed: list[float] = []

    def press() -> None:
        eventually(lambda: len(server.requests) == requests)
        time.sleep(0.1)  # until replies that were given have arrived
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    yield lambda: time.monotonic() - pressed[0]
    thread.join(SOON)


def test_ctrl_c_frees_slots_and_connections_at_once_and_carries_what_was_finished(
    package: Package,
) -> None:
    faults = [None, None, *[Fault(hang=True)] * BOUND]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected(package, "sync", base_url, batch_size=1, max_concurrency=BOUND)
        with (
            interrupted(server, 2 + BOUND) as since,
            pytest.raises(KeyboardInterrupt) as caught,
        ):
            entry_point.documents(TEXTS)
        partial = caught.value.partial  # type: ignore[attr-defined]
        assert sum(vector is not None for vector in partial.vectors) == 2
        assert partial.usage.requests == 2
        entry_point.documents(TEXTS[:4])
        assert since() < AT_ONCE, "nobody waits for the requests that hang"
        eventually(lambda: entry_point.client.usage.requests == 2 + BOUND + 4)
        entry_point.client.close()
        eventually(lambda: not ports_to(base_url))
        assert entry_point.client.usage.requests == 2 + BOUND + 4


def test_ctrl_c_in_the_callers_thread_frees_it_too(package: Package) -> None:
    """A call of one request is made without the pool."""
    with serving(faults=[Fault(hang=True)]) as (server, base_url):
        entry_point = connected(package, "sync", base_url, max_concurrency=1)
        with interrupted(server, 1) as since, pytest.raises(KeyboardInterrupt):
            entry_point.documents(["a"])
        assert len(entry_point.documents(["a"])) == 1
        assert since() < AT_ONCE
        entry_point.client.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_that_a_callback_asks_for_frees_slots_at_once(kind: type[BaseException]) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise kind

    faults = [Fault(delay=0.2), *[Fault(hang=True)] * (BOUND - 1)]
    with serving(faults=faults) as (server, base_url):
        entry_point = connected("core", "sync", base_url, batch_size=1, max_concurrency=BOUND)
        started = time.monotonic()
        with pytest.raises(kind) as caught:
            entry_point.documents(TEXTS[:BOUND], progress=stop)
        assert caught.value.partial.usage.requests == 1  # type: ignore[attr-defined]
        assert len(entry_point.documents(TEXTS[:BOUND])) == BOUND
        assert time.monotonic() - started < AT_ONCE
        entry_point.client.close()
        assert len(server.requests) == 2 * BOUND


def test_a_cancelled_call_has_a_place_for_each_text_and_its_requests_are_counted(
    package: Package,
) -> None:

    async def cancel() -> None:
        task = asyncio.ensure_future(calls_of(entry_point.embedder)[1](TEXTS))
        await asyncio.to_thread(eventually, lambda: len(server.requests) == BOUND)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.partial.vectors == [None] * len(TEXTS)  # type: ignore[attr-defined]

    with serving(faults=[Fault(hang=True)] * BOUND) as (server, base_url):
        entry_point = connected(package, "async", base_url, batch_size=1)
        asyncio.run(cancel())
        assert entry_point.client.usage == Usage(requests=BOUND)


def test_vectors_of_an_interrupted_call_are_made_only_when_they_are_read(mode: Mode) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise LookupError

    with serving() as (_, base_url):
        entry_point = connected("core", mode, base_url, dimensions=1536)
        with pytest.raises(LookupError) as caught:
            entry_point.documents(["a"], progress=stop)
        entry_point.client.close()
    vectors = caught.value.partial.vectors  # type: ignore[attr-defined]
    assert len(vectors[0]) == 1536
    assert vectors[0] is not vectors[0]
