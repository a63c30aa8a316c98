"""A small HTTP/1.1 server over sockets, with one thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from aimlapi_embeddings.emulator._emulator import Drop, Emulator
from aimlapi_embeddings.emulator._errors import phrase
from aimlapi_embeddings.emulator._http import HTTPError, Received, read_requests
from aimlapi_embeddings.emulator._types import Reply

_BACKLOG = 1024
_RECEIVE = 1 << 16
_DRAIN_SECONDS = 1.0
# Where the system supports it, the end of the connection is sent in the packet of the last reply.
_UNTIL_CLOSED = getattr(socket, "MSG_MORE", 0)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, with zero seconds


@contextlib.contextmanager
def running(emulator: Emulator | None = None, *, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 within the block, and yield the base URL without a path.

    Args:
        emulator: The settings, which also record the requests; the defaults when None.
        port: The port; any free one when 0.
    """
    server = _Server(emulator or Emulator(), port)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


class _Server:
    """A listener and its connections, each served by a daemon thread."""

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
        # Closing a listener does not wake the thread that waits in `accept`; a connection does.
        with contextlib.suppress(OSError):
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
            with contextlib.suppress(OSError):  # the client disconnected, or the server stops
                self._serve_requests(connection)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
                connection.close()

    def _serve_requests(self, connection: socket.socket) -> None:
        try:
            for received in read_requests(connection):
                if not self._respond(connection, received):
                    break
        except HTTPError as error:
            _refuse(connection, error)

    def _respond(self, connection: socket.socket, received: Received) -> bool:
        """Send the reply; return whether the connection can be used again."""
        request = received.request
        started = time.monotonic()
        with self.emulator.in_flight(request) as fault:
            if fault.hang:
                connection.recv(1, socket.MSG_PEEK)  # returns when the client disconnects
                return False
            reply = self.emulator.reply(request, fault)
            due = started + self.emulator.seconds(request, fault)
            if (wait := due - time.monotonic()) > 0 and self.stopping.wait(wait):
                return False
        # The request stops counting as in flight before its reply is sent: the client's next
        # request can arrive before `sendall` returns.
        misframed = "content-length" in reply.headers
        head = _head(reply, closing=received.last)
        body = b"" if request.method == "HEAD" else reply.body
        if fault.drop is not None:
            connection.sendall((head + body)[: _stop_at(fault.drop, len(head), len(body))])
            if fault.reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            return False
        last = received.last or fault.close or misframed
        connection.sendall(head + body, _UNTIL_CLOSED if last else 0)
        return not last


def _refuse(connection: socket.socket, error: HTTPError) -> None:
    """Answer what cannot be read as a request.

    Closing a socket whose input was not read resets the connection, and a reset can destroy the
    reply before the client reads it. So the rest of the input is read, for a limited time.
    """
    headers = {"content-type": "text/plain; charset=utf-8"}
    reply = Reply(error.status, headers, f"{error.text}\n".encode())
    connection.sendall(_head(reply, closing=True) + reply.body)
    connection.shutdown(socket.SHUT_WR)
    give_up = time.monotonic() + _DRAIN_SECONDS
    while (left := give_up - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(_RECEIVE):
            break


def _stop_at(drop: Drop, head: int, body: int) -> int:
    """Return how many bytes of a reply are sent before its connection is dropped."""
    return {
        "before_headers": 0,
        "in_headers": head // 2,
        "after_headers": head,
        "in_body": head + body // 2,
    }[drop]


def _head(reply: Reply, *, closing: bool) -> bytes:
    headers = {"content-length": str(len(reply.body)), **reply.headers}
    if closing:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
