"""The emulator reads HTTP/1.x as clients other than ours write it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings.emulator import Emulator, running

BODY = b'{"model": "emulated/x", "input": ["a", "b"], "dimensions": 3}'
KEY = b"Authorization: Bearer k\r\n"


class Client:
    """A client socket that reads whole replies."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.file = connection.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send each part in its own packet."""
        for part in parts:
            self.connection.sendall(part)
            if len(parts) > 1:
                time.sleep(0.005)

    def head(self) -> tuple[int, dict[str, str]]:
        start = self.file.readline().decode()
        assert start.startswith("HTTP/1.1 "), start
        headers = {}
        while line := self.file.readline().decode().rstrip("\r\n"):
            name, _, value = line.partition(": ")
            headers[name] = value
        return int(start.split()[1]), headers

    def reply(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = self.head()
        return status, headers, self.file.read(int(headers["content-length"]))

    def ended(self) -> bool:
        return self.file.read(1) == b""


@contextmanager
def connecting(emulator: Emulator | None = None) -> Iterator[Client]:
    with running(emulator) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            client = Client(connection)
            with client.file:
                yield client


def post(*headers: bytes, version: bytes = b"1.1", target: bytes = b"/v1/embeddings") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST " + target + b" HTTP/" + version + b"\r\n" + KEY + lines + b"\r\n"


def with_length(*headers: bytes, version: bytes = b"1.1") -> bytes:
    return post(b"Content-Length: %d" % len(BODY), *headers, version=version) + BODY


def chunked(body: bytes, sizes: list[int], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    pieces = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    pieces += [body]
    chunks = [b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces if p]
    return b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def test_a_chunked_body_is_read() -> None:
    seen = Emulator()
    with connecting(seen) as client:
        head = post(b"Transfer-Encoding: chunked")
        client.send(head + chunked(BODY, [5, 1]))
        assert client.reply()[0] == 200
        client.send(head + chunked(BODY, [5], b";name=value", b"Trailer: x\r\n"))
        assert client.reply()[0] == 200
        client.send(with_length())  # the connection can be used for the next request
        assert client.reply()[0] == 200
    assert [request.body for request in seen.requests] == [BODY] * 3


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 70), max_size=6), cuts=st.lists(st.integers(0, 400)))
def test_neither_chunks_nor_packets_change_a_body(sizes: list[int], cuts: list[int]) -> None:
    data = post(b"Transfer-Encoding: Chunked") + chunked(BODY, sizes)
    places = sorted({0, *(cut % len(data) for cut in cuts[:4]), len(data)})
    seen = Emulator()
    with connecting(seen) as client:
        client.send(*(data[a:b] for a, b in pairwise(places)))
        assert client.reply()[0] == 200
    assert [request.body for request in seen.requests] == [BODY]


def test_http_1_0_ends_with_the_connection() -> None:
    """ApacheBench waits for that end."""
    for headers in ([], [b"Connection: Keep-Alive"]):
        with connecting() as client:
            client.send(with_length(*headers, version=b"1.0"))
            status, replied, body = client.reply()
            assert (status, replied["connection"]) == (200, "close")
            assert len(json.loads(body)["data"]) == 2
            assert client.ended()


@pytest.mark.parametrize("value", [b"close", b"Close", b"CLOSE", b"keep-alive, Close"])
def test_connection_close_is_read_in_any_case_and_announced(value: bytes) -> None:
    with connecting() as client:
        client.send(with_length(b"Connection: " + value))
        status, headers, _ = client.reply()
        assert (status, headers["connection"]) == (200, "close")
        assert client.ended()


def test_repeated_fields_are_joined() -> None:
    seen = Emulator()
    with connecting(seen) as client:
        client.send(with_length(b"X-One: 1", b"x-one:2", b"X-Two:\t3 "))
        assert client.reply()[0] == 200
    headers = seen.requests[0].headers
    assert (headers["x-one"], headers["x-two"]) == ("1, 2", "3")


def test_a_kept_connection_is_not_announced_as_closing() -> None:
    with connecting() as client:
        client.send(with_length(b"Connection: keep-alive") + with_length())
        for _ in range(2):
            status, headers, _ = client.reply()
            assert status == 200
            assert "connection" not in headers


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue"])
@pytest.mark.parametrize("coding", ["length", "chunked"])
def test_a_client_that_waits_is_told_to_continue(value: bytes, coding: str) -> None:
    framing = b"Content-Length: %d" % len(BODY)
    body = BODY
    if coding == "chunked":
        framing, body = b"Transfer-Encoding: chunked", chunked(BODY, [])
    with connecting() as client:
        client.send(post(framing, b"Expect: " + value))
        assert client.head() == (100, {})
        client.send(body)
        assert client.reply()[0] == 200


def test_a_client_that_sends_its_body_at_once_is_not_told_to_continue() -> None:
    with connecting() as client:
        client.send(with_length(b"Expect: 100-continue"))
        assert client.reply()[0] == 200


def test_http_1_0_is_not_told_to_continue() -> None:
    with connecting() as client:
        client.send(with_length(b"Expect: 100-continue", version=b"1.0"))
        assert client.reply()[0] == 200


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://127.0.0.1:8765/v1/embeddings", "/v1/embeddings"),
        (b"HTTP://api.aimlapi.com/v1/embeddings?a=b", "/v1/embeddings?a=b"),
        (b"http://127.0.0.1", "/"),
        (b"http://127.0.0.1?a=b", "/?a=b"),
        (b"/v1/embeddings?next=http://h/", "/v1/embeddings?next=http://h/"),
    ],
)
def test_absolute_targets_lose_scheme_and_host(target: bytes, path: str) -> None:
    seen = Emulator()
    with connecting(seen) as client:
        client.send(post(b"Content-Length: 0", target=target))
        client.reply()
    assert [request.path for request in seen.requests] == [path]


CHUNKED = b"Transfer-Encoding: chunked"
INVALID = {
    "no request line": (b"hello\r\n\r\n", 400),
    "no version": (b"GET /v1/models\r\n\r\n", 400),
    "another version": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "negative length": (post(b"Content-Length: -1"), 400),
    "signed length": (post(b"Content-Length: +5") + b"12345", 400),
    "length in words": (post(b"Content-Length: five"), 400),
    "length with underscore": (post(b"Content-Length: 1_0"), 400),
    "length of other digits": (post("Content-Length: ٣".encode()), 400),
    "enormous length": (post(b"Content-Length: " + b"9" * 5000), 400),
    "two lengths": (post(b"Content-Length: 1", b"Content-Length: 2"), 400),
    "length and chunks": (post(b"Content-Length: 3", CHUNKED) + b"0\r\n\r\n", 400),
    "another coding": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "size that is not hexadecimal": (post(CHUNKED) + b"xyz\r\n", 400),
    "negative size": (post(CHUNKED) + b"-1\r\n", 400),
    "no size": (post(CHUNKED) + b"\r\n", 400),
    "chunk longer than its size": (post(CHUNKED) + b"2\r\n{{{{\r\n0\r\n\r\n", 400),
    "expectation before an invalid length": (
        post(b"Expect: 100-continue", b"Content-Length: x"),
        400,
    ),
    "another expectation": (post(b"Expect: a miracle"), 417),
    "space before the colon": (post(b"Content-Length : 3"), 400),
    "folded line": (post(b"X-One: 1", b" 2"), 400),
    "head without end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, 431),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_http_gets_an_error_and_closes_the_connection(name: str) -> None:
    data, status = INVALID[name]
    seen = Emulator()
    with connecting(seen) as client:
        client.send(data)
        answered, headers, body = client.reply()
        assert (answered, headers["connection"]) == (status, "close")
        assert body.decode().strip()
        assert client.ended()
        client.connection.close()
    assert seen.requests == []


def test_the_error_reaches_a_client_that_is_still_sending() -> None:
    """Bytes left unread would reset the connection, and the reply would be lost."""
    with connecting() as client:
        sender = threading.Thread(
            target=client.connection.sendall,
            args=(post(b"Content-Length: -1") + b"x" * 3_000_000,),
        )
        sender.start()
        assert client.reply()[0] == 400
        assert client.ended()
        sender.join()


def test_the_server_keeps_serving_after_invalid_requests() -> None:
    with running() as url:
        address = urlsplit(url)
        for data, status in (*INVALID.values(), (with_length(), 200)):
            with socket.create_connection((address.hostname, address.port), timeout=5) as opened:
                client = Client(opened)
                with client.file:
                    client.send(data)
                    assert client.reply()[0] == status


def test_empty_lines_before_a_request_are_skipped() -> None:
    with connecting() as client:
        client.send(b"\r\n\r\n" + with_length() + b"\r\n" + with_length())
        assert [client.reply()[0] for _ in range(2)] == [200, 200]


def test_head_has_the_headers_of_get_without_a_body() -> None:
    with connecting() as client:
        client.send(b"HEAD /v1/models HTTP/1.1\r\n\r\n")
        status, headers = client.head()
        client.send(b"GET /v1/models HTTP/1.1\r\n\r\n")
        again, same, body = client.reply()
    assert (status, headers["content-length"]) == (again, same["content-length"])
    assert len(json.loads(body)["data"]) == 13
