"""Reads HTTP/1.x requests from a socket.

The standard library's http.server hides the socket, and half of the faults that the emulator
produces concern the socket. Section numbers are those of RFC 9112.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aimlapi_embeddings.emulator._types import Request

_RECEIVE = 1 << 18
_MOST_HEAD_BYTES = 1 << 16
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~\w-]+) (\S+) HTTP/(\d)\.(\d)", re.A)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*", re.A)
_ABSOLUTE_FORM = re.compile(r"[a-z][a-z\d+.-]*://[^/?#]*", re.I)
# More digits than these would be more bytes than any machine holds.
_LENGTH = re.compile(r"\d{1,15}", re.A)
_CHUNK_SIZE = re.compile(rb"[\da-f]{1,12}", re.I)


class HTTPError(Exception):
    """Something that cannot be read as an HTTP/1.x request; the connection ends after the reply.

    Attributes:
        status: The status to answer.
        text: What is wrong.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status, self.text = status, text


class Received(NamedTuple):
    """A request, and whether its connection is to be closed after the reply."""

    request: Request
    last: bool


class _Head(NamedTuple):
    method: str
    path: str
    minor_version: int
    headers: Mapping[str, str]


def read_requests(connection: socket.socket) -> Iterator[Received]:
    """Read the requests of a connection one after another.

    Ends after a request that asks for the connection to be closed, and after one in HTTP/1.0, which
    has no persistent connections unless both sides offer them.

    Raises:
        HTTPError: What the client sent is not valid.
        ConnectionError: The client closed the connection.
    """
    reader = _Reader(connection)
    last = False
    while not last:
        head = _parse_head(reader.head())
        length = _body_length(head.headers)
        _answer_expectation(connection, head, waiting=length != 0 and not reader.buffer)
        body = _read_chunks(reader) if length is None else reader.exactly(length)
        options = head.headers.get("connection", "").lower().split(",")
        last = head.minor_version == 0 or "close" in (option.strip() for option in options)
        yield Received(Request(head.method, head.path, head.headers, body), last)


class _Reader:
    """The bytes of a connection, in the pieces that HTTP is made of."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = bytearray()

    def head(self) -> str:
        """Read up to the first empty line, after any empty lines in front (section 2.2)."""
        while True:
            head = self._until(b"\r\n\r\n").lstrip(b"\r\n")
            if head:
                return head.decode("latin-1")

    def line(self) -> bytes:
        """Read one line."""
        return self._until(b"\r\n")

    def exactly(self, size: int) -> bytes:
        """Read that many bytes."""
        while len(self.buffer) < size:
            self._fill()
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def _until(self, end: bytes) -> bytes:
        """Read up to a mark, and drop the mark."""
        while (found := self.buffer.find(end)) < 0:
            if len(self.buffer) > _MOST_HEAD_BYTES:
                raise HTTPError(431, f"A head or a line has more than {_MOST_HEAD_BYTES} bytes.")
            self._fill()
        data = bytes(self.buffer[:found])
        del self.buffer[: found + len(end)]
        return data

    def _fill(self) -> None:
        received = self.connection.recv(_RECEIVE)
        if not received:
            raise ConnectionResetError("the client closed the connection")
        self.buffer.extend(received)


def _parse_head(text: str) -> _Head:
    start, *lines = text.split("\r\n")
    request_line = _REQUEST_LINE.fullmatch(start)
    if request_line is None:
        raise HTTPError(400, f"This is not a request line of HTTP/1.x: {start[:80]!r}")
    method, target, major, minor = request_line.groups()
    if major != "1":
        raise HTTPError(505, f"HTTP/{major}.{minor} is not supported, only HTTP/1.x is.")
    headers: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise HTTPError(400, f"This is not a header field: {line[:80]!r}")
        name, value = field[1].lower(), field[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return _Head(method, _path(target), int(minor), headers)


def _path(target: str) -> str:
    """Reduce the absolute form, as sent to proxies, to path and query (section 3.2.2)."""
    absolute = _ABSOLUTE_FORM.match(target)
    if absolute is None:
        return target
    rest = target[absolute.end() :]
    return rest if rest.startswith("/") else f"/{rest}"


def _body_length(headers: Mapping[str, str]) -> int | None:
    """Return the length of the body in bytes; None means that it comes in chunks (section 6)."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length", "0")
    if coding is None:
        if not _LENGTH.fullmatch(length):
            raise HTTPError(400, f"Content-Length: {length[:80]} is not a number of bytes.")
        return int(length)
    if "content-length" in headers:
        raise HTTPError(400, "Transfer-Encoding and Content-Length exclude each other.")
    if coding.lower() != "chunked":
        raise HTTPError(501, f"Transfer-Encoding: {coding} is not supported, only chunked is.")
    return None


def _answer_expectation(connection: socket.socket, head: _Head, *, waiting: bool) -> None:
    """Send the interim reply that a client waits for before its body (RFC 9110, 10.1.1)."""
    expectation = head.headers.get("expect")
    if expectation is None or head.minor_version == 0:
        return
    if expectation.lower() != "100-continue":
        raise HTTPError(417, f"Expect: {expectation} is not supported, only 100-continue is.")
    if waiting:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _read_chunks(reader: _Reader) -> bytes:
    """Read chunks up to the one of size zero; extensions and trailers are ignored (section 7.1)."""
    body = bytearray()
    while size := _chunk_size(reader.line()):
        body += reader.exactly(size)
        if reader.exactly(2) != b"\r\n":
            raise HTTPError(400, "A chunk is longer than its size.")
    while reader.line():
        pass
    return bytes(body)


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not _CHUNK_SIZE.fullmatch(size):
        raise HTTPError(400, f"This is not the size of a chunk: {line[:80]!r}")
    return int(size, 16)
