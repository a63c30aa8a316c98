"""A server on a real socket that answers byte by byte as a test wants it."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

Respond: TypeAlias = Callable[[socket.socket, int, int], bool]
"""Called as `respond(connection, number of the request, its place on this connection)`, both from
0; returns whether the connection stays open."""


def reply(texts: int = 1, size: int = 8) -> bytes:
    """A whole good reply, with the same vector for each text."""
    data = [{"index": i, "embedding": [1.0] * size} for i in range(texts)]
    body = json.dumps({"data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


class RawServer:
    """Reads requests and has them answered.

    Attributes:
        ports: The client's port of each request, in order of arrival.
        opened: Connections that were opened.
        stopping: Set when the test is over.
    """

    def __init__(self, respond: Respond) -> None:
        self.ports: list[int] = []
        self.opened = 0
        self.stopping = threading.Event()
        self._respond = respond
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, name="raw server")]
        self._connections: list[socket.socket] = []
        self._threads[0].start()

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, (_, port) = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.opened += 1
            self._connections.append(connection)
            thread = threading.Thread(
                target=self._serve, args=(connection, port), name="raw server"
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, port: int) -> None:
        place = 0
        with connection, suppress(OSError):
            while read_request(connection):
                with self._lock:
                    self.ports.append(port)
                    number = len(self.ports) - 1
                if not self._respond(connection, number, place):
                    return
                place += 1


def read_request(connection: socket.socket) -> bool:
    """Read one request; False when the client closes the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return False
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    assert length
    while len(body) < int(length[1]):
        body += connection.recv(65536)
    return True


@contextmanager
def raw_server(respond: Respond) -> Iterator[RawServer]:
    """Serve within a block."""
    server = RawServer(respond)
    try:
        yield server
    finally:
        server.stop()
