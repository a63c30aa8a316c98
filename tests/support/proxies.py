"""Proxies and TLS between a client and a server, and minimal HTTP clients of a user."""

from __future__ import annotations

import asyncio
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.support.sockets import SOON


class _Handler(BaseHTTPRequestHandler):
    """Forwards requests, and tunnels CONNECT."""

    protocol_version = "HTTP/1.1"
    server: Relay

    def do_POST(self) -> None:
        self._note()
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers["content-length"]))
        upstream = http.client.HTTPConnection(self._target(url.netloc), timeout=SOON)
        try:
            path = url._replace(scheme="", netloc="").geturl()
            upstream.request("POST", path, body, dict(self.headers))
            reply = upstream.getresponse()
            content = reply.read()
        finally:
            upstream.close()
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_CONNECT(self) -> None:
        self._note()
        host, _, port = self._target(self.path).partition(":")
        self.close_connection = True
        with socket.create_connection((host, int(port)), timeout=SOON) as upstream:
            self.send_response_only(200)
            self.end_headers()
            ends = {upstream: self.connection, self.connection: upstream}
            while True:
                for end in select.select(ends, [], [], SOON)[0]:
                    if not (sent := end.recv(1 << 16)):
                        return
                    ends[end].sendall(sent)

    def _note(self) -> None:
        self.server.heads.append(f"{self.requestline}\n{self.headers}")

    def _target(self, host: str) -> str:
        return urlsplit(self.server.hosts[host]).netloc


class Relay(ThreadingHTTPServer):
    """Forwards requests for host names that do not exist to the given addresses.

    The host "" stands for requests that name no host, as when TLS ends here.

    Attributes:
        heads: Request line and headers of each request that was not inside a tunnel.
    """

    daemon_threads = True

    def __init__(self, hosts: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hosts, self.heads = hosts, list[str]()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)


@contextmanager
def relaying(hosts: Mapping[str, str], tls: ssl.SSLContext | None = None) -> Iterator[Relay]:
    with Relay(hosts, tls) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


class Minimal:
    """The smallest HTTP client that a user can pass instead of an `httpx.Client`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self.is_closed = False
        self.asked: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return 0  # makes the object false: it must be compared with None

    def post(
        self,
        url: str,
        *,
        content: bytes,
        headers: Mapping[str, str],
        auth: Callable[[Any], Any],
        follow_redirects: bool,
        timeout: float | None = None,
    ) -> Any:
        self.asked.append({"timeout": timeout, "follow_redirects": follow_redirects})
        merged = httpx.Headers(self._headers)
        merged.update(headers)  # whatever their case, as every client does
        request = auth(SimpleNamespace(headers=merged))
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            connection.request("POST", parts.path, content, request.headers)
            reply = connection.getresponse()
            return SimpleNamespace(
                status_code=reply.status, headers=dict(reply.getheaders()), content=reply.read()
            )
        finally:
            connection.close()

    def close(self) -> None:
        self.is_closed = True


class MinimalAsync(Minimal):
    """The same for async calls."""

    async def post(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        return await asyncio.to_thread(super().post, *args, **options)

    async def aclose(self) -> None:
        self.is_closed = True
