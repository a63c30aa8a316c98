"""The wire: a small HTTP/1.1 server over sockets, one thread per connection.

The standard library's http.server hides the socket, and half of the faults happen there.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aimlapi_embeddings.emulator._answer import answer, refuse
from aimlapi_embeddings.emulator._errors import phrase
from aimlapi_embeddings.emulator._faults import Drop, Fault
from aimlapi_embeddings.emulator._types import ErrorShape, Refusal, Reply, Request

_BACKLOG = 1024
_CHUNK = 1 << 18
# Where the system can do it, a last reply arrives together with the end of its connection.
_UNTIL_CLOSED = getattr(socket, "MSG_MORE", 0)
_NO_FAULT = Fault()
_CROWDED = Fault(429)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds


@dataclass
class Emulator:
    """How the server behaves, and what it saw. Any number of threads may use one.

    Attributes:
        strict: See `answer`.
        latency: Seconds a request takes, however little there is to compute.
        latency_per_text: Further seconds for each text.
        max_in_flight: Above this many requests at once the answer is 429; None: no bound.
        faults: One for each POST in order of arrival; None, or none left, is good behaviour.
        judge: Finds fault with any other POST, such as more texts than a limit that is not told.
        error_shape: See `answer`.
        withdrawn: See `answer`.
        requests: Every request received, in order of arrival.
        peak_in_flight: Most requests that were under way at once, from the last byte of the
            question to the first of the answer.
    """

    strict: bool = True
    latency: float = 0.0
    latency_per_text: float = 0.0
    max_in_flight: int | None = None
    faults: Iterable[Fault | None] = ()
    judge: Callable[[Request], Fault | None] | None = None
    error_shape: ErrorShape = "problem"
    withdrawn: frozenset[str] = frozenset()
    requests: list[Request] = field(default_factory=list, init=False)
    peak_in_flight: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Start handing out the faults."""
        self._faults = iter(self.faults)

    @contextlib.contextmanager
    def under_way(self, request: Request) -> Iterator[Fault]:
        """Count a request as under way, and say what shall go wrong with it."""
        with self._lock:
            self.requests.append(request)
            fault = self._find_fault(request) if request.method == "POST" else None
            self._in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
            crowded = self.max_in_flight is not None and self._in_flight > self.max_in_flight
        try:
            yield fault or (_CROWDED if crowded else _NO_FAULT)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _find_fault(self, request: Request) -> Fault | None:
        return next(self._faults, None) or (self.judge(request) if self.judge else None)

    def reply(self, request: Request, fault: Fault) -> Reply:
        """Answer a request under a fault, without waiting."""
        if fault.status is not None:
            return fault.spoil(refuse(request, Refusal(fault.status), self.error_shape))
        good = answer(
            request,
            strict=self.strict,
            error_shape=self.error_shape,
            withdrawn=self.withdrawn,
        )
        return fault.spoil(good)

    def seconds(self, request: Request, fault: Fault) -> float:
        """How long the reply is to take."""
        if fault is _CROWDED:  # turning someone away takes no time
            return 0.0
        texts = _count_texts(request.body) if self.latency_per_text else 0
        return self.latency + self.latency_per_text * texts + fault.delay


def _count_texts(body: bytes) -> int:
    try:
        value = json.loads(body)["input"]
    except (ValueError, KeyError, TypeError):
        return 0
    return len(value) if isinstance(value, list) else 1


@contextlib.contextmanager
def running(emulator: Emulator | None = None, *, port: int = 0) -> Iterator[str]:
    """Serve on the loopback while the block runs, and yield the base URL without a path.

    Args:
        emulator: How to behave; well, when None.
        port: The port; any free one when 0.
    """
    server = _Server(emulator or Emulator(), port)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


class _Server:
    """A listener and its connections, each in a daemon thread of its own."""

    def __init__(self, emulator: Emulator, port: int) -> None:
        self.emulator = emulator
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name="emulator", daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Close every socket and wait for every thread."""
        self.stopping.set()
        with contextlib.suppress(OSError):  # a visit, since closing a listener wakes nobody
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepting.join()
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.stopping.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="emulator", daemon=True
            )
            with self._lock:
                self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):  # the client left, or the server stops
                for request in _requests(connection):
                    if not self._respond(connection, request):
                        break
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
                connection.close()

    def _respond(self, connection: socket.socket, request: Request) -> bool:
        """Send what is due; tell whether the connection may be used again."""
        started = time.monotonic()
        with self.emulator.under_way(request) as fault:
            if fault.hang:
                connection.recv(1, socket.MSG_PEEK)
                return False
            reply = self.emulator.reply(request, fault)
            due = started + self.emulator.seconds(request, fault)
            if (wait := due - time.monotonic()) > 0 and self.stopping.wait(wait):
                return False
        # No longer under way: the next request may be here before `sendall` returns.
        head, body = _head(reply), reply.body
        misframed = "content-length" in reply.headers
        last = fault.close or misframed or request.headers.get("connection") == "close"
        if fault.drop is not None:
            connection.sendall((head + body)[: _stop_at(fault.drop, len(head), len(body))])
            if fault.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            return False
        connection.sendall(head + body, _UNTIL_CLOSED if last else 0)
        return not last


def _stop_at(drop: Drop, head: int, body: int) -> int:
    """How many bytes of a reply to send before dropping the connection."""
    return {
        "before_headers": 0,
        "in_headers": head // 2,
        "after_headers": head,
        "in_body": head + body // 2,
    }[drop]


def _head(reply: Reply) -> bytes:
    headers = {"content-length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _requests(connection: socket.socket) -> Iterator[Request]:
    """Read the requests of a connection, one after another, until the client ends it.

    Raises:
        ConnectionError: The client left, or what it says is not HTTP/1.1 with a known length.
    """
    buffer = bytearray()

    def fill() -> None:
        chunk = connection.recv(_CHUNK)
        if not chunk:
            raise ConnectionResetError("the client left")
        buffer.extend(chunk)

    while True:
        while (end := buffer.find(b"\r\n\r\n")) < 0:
            fill()
        method, path, headers, length = _parse_head(buffer[:end].decode("latin-1"))
        del buffer[: end + 4]
        while len(buffer) < length:
            fill()
        body = bytes(buffer[:length])
        del buffer[:length]
        yield Request(method, path, headers, body)


def _parse_head(head: str) -> tuple[str, str, dict[str, str], int]:
    start, *lines = head.split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    try:
        method, path, _ = start.split(" ")
        return method, path, headers, int(headers.get("content-length", 0))
    except ValueError as error:
        raise ConnectionAbortedError("not HTTP") from error
