"""The emulator on a real socket: latency, counters, faults and shutdown."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from aimlapi_embeddings.emulator import Emulator, Fault, faults, running


class Got(NamedTuple):
    """A reply as the client received it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the JSON body."""
        return json.loads(self.body)


Ask = Callable[..., Got]


@contextmanager
def asking(url: str) -> Iterator[Ask]:
    """Return a function that sends requests over one connection."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)) as connection:

        def ask(*texts: str, path: str = "/v1/embeddings", **options: object) -> Got:
            body = {"model": "emulated/x", "input": texts or ["a", "b"], "dimensions": 3}
            headers = {"Authorization": "Bearer k"}
            connection.request("POST", path, json.dumps({**body, **options}), headers)
            reply = connection.getresponse()
            return Got(reply.status, dict(reply.getheaders()), reply.read())

        yield ask


@contextmanager
def asking_with(*sequence: Fault | None, **settings: Any) -> Iterator[Ask]:
    """Serve with these faults, and return a function that sends requests."""
    with running(Emulator(faults=sequence, **settings)) as url, asking(url) as ask:
        yield ask


def test_requests_are_recorded_in_order_of_arrival() -> None:
    """One connection carries several requests; header names are in lower case."""
    seen = Emulator()
    with running(seen) as url, asking(url) as ask:
        statuses = [ask(text).status for text in "abc"]
    assert statuses == [200, 200, 200]
    assert [json.loads(request.body)["input"] for request in seen.requests] == [["a"], ["b"], ["c"]]
    assert seen.requests[0].headers["authorization"] == "Bearer k"


def test_each_fault_applies_to_one_request_and_none_to_no_request() -> None:
    """After the last fault all requests are answered normally."""
    with asking_with(None, Fault(500), None, Fault(429, retry_after="7")) as ask:
        replies = [ask() for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 500, 200, 429, 200]
    assert replies[3].headers["retry-after"] == "7"
    assert replies[3].json()["message"] == "Too Many Requests"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529])
def test_an_error_status_has_the_body_of_the_provider(status: int) -> None:
    """The gateway answers in either of its shapes, Nugen in its own."""
    with asking_with(Fault(status), error_shape="documented") as ask:
        assert ask().json()["statusCode"] == str(status)
    with asking_with(Fault(status), Fault(status)) as ask:
        assert ask().json()["status"] == status
        body = ask(path="/api/v3/inference/embeddings").body
        assert body.startswith(b"<!DOCTYPE" if status == 502 else b'{"detail": ')


def test_headers_and_body_can_be_set_freely() -> None:
    """A fault may set any header and body."""
    with asking_with(Fault(503, {"server": "cloudflare"}, b"over capacity")) as ask:
        reply = ask()
    assert (reply.status, reply.body) == (503, b"over capacity")
    assert reply.headers["server"] == "cloudflare"


def test_a_reply_can_have_a_body_that_is_no_json() -> None:
    """An empty body, half of the JSON and a web page are complete HTTP replies."""
    with asking_with(
        Fault(reshape=faults.empty),
        Fault(reshape=faults.cut_short),
        Fault(reshape=faults.html),
    ) as ask:
        nothing, half, page = ask(), ask(), ask()
    assert nothing.body == b""
    assert half.body.startswith(b'{"object"')
    assert page.headers["content-type"] == "text/html"
    for reply in (nothing, half, page):
        with pytest.raises(json.JSONDecodeError):
            reply.json()


def test_bodies_can_be_compressed_and_cut_short() -> None:
    """The first can be decompressed, the second cannot."""
    with asking_with(Fault(reshape=faults.gzipped), Fault(reshape=faults.gzip_cut_short)) as ask:
        whole, half = ask(), ask()
    assert whole.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(whole.body))["data"]) == 2
    with pytest.raises((EOFError, zlib.error)):
        gzip.decompress(half.body)


def test_a_reply_can_end_before_its_promised_length() -> None:
    """The client sees the connection end, and does not hang."""
    with (
        asking_with(Fault(reshape=faults.overstated_length)) as ask,
        pytest.raises(http.client.IncompleteRead),
    ):
        ask()


DROPS = [
    (Fault(drop="before_headers"), ConnectionResetError),
    (Fault(drop="in_headers"), (ConnectionResetError, http.client.BadStatusLine)),
    (Fault(drop="in_body"), (ConnectionResetError, http.client.IncompleteRead)),
    (Fault(drop="before_headers", reset=False), http.client.RemoteDisconnected),
    (Fault(drop="in_body", reset=False), http.client.IncompleteRead),
]


@pytest.mark.parametrize(("fault", "error"), DROPS)
def test_a_fault_can_break_the_connection_at_any_point(
    fault: Fault, error: type[Exception]
) -> None:
    """The next request over a new connection is served."""
    with running(Emulator(faults=[fault])) as url:
        with asking(url) as ask, pytest.raises(error):
            ask()
        with asking(url) as ask:
            assert ask().status == 200


def test_a_kept_connection_can_be_closed_without_announcement() -> None:
    """The reply is complete; the next request over that connection fails."""
    with asking_with(Fault(close=True)) as ask:
        assert ask().status == 200
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask()


def test_a_hanging_request_ends_when_the_client_disconnects() -> None:
    """The server notices that the client has gone, and stops counting the request."""
    seen = Emulator(faults=[Fault(hang=True)])
    with running(seen) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(b"POST /v1/embeddings HTTP/1.1\r\n\r\n")
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)
        time.sleep(0.2)
        with asking(url) as ask:
            assert ask().status == 200
    assert seen.peak_in_flight == 1


def test_stopping_the_server_does_not_wait_for_hanging_or_slow_requests() -> None:
    """Waiting clients are disconnected, and no thread or socket is left."""
    before = threading.active_count()
    with ThreadPoolExecutor(2) as pool:
        with running(Emulator(faults=[Fault(hang=True), Fault(delay=60)])) as url:

            def ask_in_vain(_: int) -> None:
                with asking(url) as ask, pytest.raises((OSError, http.client.HTTPException)):
                    ask()

            waiting = pool.map(ask_in_vain, range(2))
            time.sleep(0.1)
            started = time.monotonic()
        assert time.monotonic() - started < 1
        list(waiting)
    assert threading.active_count() == before


def test_latency_is_per_request_and_per_text() -> None:
    """The time to compute the vectors is part of it."""
    with asking_with(latency=0.05, latency_per_text=0.02) as ask:
        started = time.monotonic()
        ask("a", "b", "c")
        taken = time.monotonic() - started
    assert 0.11 <= taken < 0.4


def test_the_peak_counts_concurrent_requests() -> None:
    """64 connections are served concurrently; idle connections do not count."""
    seen = Emulator(latency=0.3)
    everyone = threading.Barrier(64)
    with running(seen) as url, ThreadPoolExecutor(64) as pool:

        def ask_at_once(_: int) -> int:
            with asking(url) as ask:
                everyone.wait()
                return ask().status

        assert set(pool.map(ask_at_once, range(64))) == {200}
        assert seen.peak_in_flight > 32
    seen = Emulator()
    with running(seen) as url, asking(url) as one, asking(url) as other:
        for _ in range(50):
            one()
            other()
    assert seen.peak_in_flight == 1


def test_requests_above_max_in_flight_are_refused() -> None:
    """A server that takes two requests at once answers the third with a 429."""
    with running(Emulator(latency=0.3, max_in_flight=2)) as url, ThreadPoolExecutor(6) as pool:

        def ask_once(_: int) -> Got:
            with asking(url) as ask:
                return ask()

        replies = list(pool.map(ask_once, range(6)))
    statuses = sorted(reply.status for reply in replies)
    assert statuses == [200, 200, 429, 429, 429, 429]


def test_the_module_serves_until_interrupted() -> None:
    """It prints its address and that its vectors are lexical, and ends without a traceback."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "aimlapi_embeddings.emulator"]
    with subprocess.Popen(
        [*command, "--port", "0", "--lenient"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        first, aimlapi, nugen = (process.stdout.readline() for _ in range(3))
        assert "only lexical" in first
        assert nugen.startswith("export NUGEN_API_BASE=http://127.0.0.1:")
        base = aimlapi.split()[1].removeprefix("AIMLAPI_API_BASE=")
        request = urllib.request.Request(
            f"{base}/embeddings",
            b'{"model": "of-tomorrow", "input": "a"}',
            {"Authorization": "Bearer offline"},
        )
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 200
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=5)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.parametrize("port", ["taken", "80000"])
def test_the_module_names_a_port_that_cannot_be_used_and_the_remedy(port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1]) if port == "taken" else port
        ended = subprocess.run(
            [sys.executable, "-m", "aimlapi_embeddings.emulator", "--port", number],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert ended.returncode == 2
    assert f"port {number} cannot be used (" in ended.stderr
    assert "--port 0 for any that is free" in ended.stderr
    assert "Traceback" not in ended.stderr
