"""A server that takes money: it counts every text that a request brings, answered or not."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.cached_rows import row_of


class Till:
    """What was paid for.

    Attributes:
        requests: The texts of each request, in order of arrival. They are paid for when it arrived.
    """

    def __init__(self, latency: float) -> None:
        self.requests: list[list[str]] = []
        self.latency = latency
        self._changed = threading.Condition()
        self._open = 0

    @property
    def texts(self) -> int:
        """How many texts were paid for."""
        return sum(map(len, self.requests))

    def take(self, texts: list[str]) -> bytes:
        with self._changed:
            self.requests.append(texts)
            self._open += 1
            self._changed.notify_all()
        time.sleep(self.latency)
        data = [
            {"index": i, "embedding": base64.b64encode(row_of(text)).decode()}  # type: ignore[arg-type]
            for i, text in enumerate(texts)
        ]
        return json.dumps({"data": data, "usage": {"total_tokens": len(texts)}}).encode()

    def done(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def wait_for_texts(self, count: int) -> None:
        """Wait until so many texts were paid for."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.texts >= count, timeout=60)

    def wait_until_quiet(self) -> None:
        """Wait until every request that arrived is answered, or its client is gone."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._open == 0, timeout=60)


@contextmanager
def running(latency: float) -> Iterator[tuple[str, Till]]:
    """Serve on 127.0.0.1 within the block; yield the base URL and what was paid for."""
    till = Till(latency)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            given = json.loads(content)["input"]
            body = till.take([given] if isinstance(given, str) else given)
            with suppress(OSError):  # the client was killed
                head = {"content-type": "application/json", "content-length": str(len(body))}
                self.send_response(200)
                for name, value in head.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            till.done()

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # of connections that a kill cut off

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", till
        finally:
            server.shutdown()
            thread.join()
