"""Connections of our own. The only module that imports httpx, and the only one that reads the key.

How this works: each connection is an httpx transport of its own, used by one request at a time.
Idle ones wait in a stack: the one used last is used next, so that the others fall idle and are
closed. This has three reasons. httpx's pool walks all of its connections for each request: 200
requests at once took 2 to 5 s over one pool, 0.25 s over small ones. A transport costs 70 % of what
a client costs a request, since nothing of a client is needed here. And a connection can be shut
down for the one call that has ended, and be closed by the last one who uses it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import httpx
import msgspec

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.attempt import Attempt
from aimlapi_embeddings._protocol.correlation import CLIENT_REQUEST_ID
from aimlapi_embeddings._protocol.options import Timeouts
from aimlapi_embeddings._protocol.proxies import proxy_for
from aimlapi_embeddings._protocol.secrets import SecretLike

# Seconds after which an idle connection is closed; httpx does the same.
_IDLE = 5.0
# Environment variables that decide how connections are made; an error names those that are set.
_VARIABLES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
)
# How long a connection stays idle is decided here: a transport that opened another one by itself
# could not be shut down.
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
_OF_EACH_REQUEST = (b"authorization", b"content-length")
# Headers of httpx that say what HTTP/1.1 means without them; each header costs 2 us.
_MEANT_ANYWAY = ((b"accept", b"*/*"), (b"connection", b"keep-alive"))


class Response(NamedTuple):
    """A reply as it came, decompressed; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytearray


class Maker(msgspec.Struct):
    """What all connections of a client are made of.

    Attributes:
        url: Where requests are posted.
        key: Read for each request, and kept in no variable.
        headers: Of each request.
        timeout: Seconds that connecting, each wait for a piece, and sending may take.
    """

    url: str
    key: SecretLike
    headers: Mapping[str, str]
    timeout: Timeouts
    _target: httpx.URL | None = None
    _timeouts: Mapping[str, float | None] = {}
    _defaults: Sequence[tuple[bytes, bytes]] = ()
    _certificates: ssl.SSLContext | None = None
    _proxy: httpx.Proxy | None = None

    def connection(self) -> Connection:
        """Make a connection for threads; it is opened by its first request."""
        return Connection(self, self._carrier(httpx.HTTPTransport))

    def async_connection(self) -> AsyncConnection:
        """Make a connection for tasks of one event loop."""
        return AsyncConnection(self, self._carrier(httpx.AsyncHTTPTransport))

    def _carrier(self, transport: Any) -> Any:
        try:
            if self._certificates is None:
                self._prepare()
            return transport(verify=self._certificates, limits=_ONE, proxy=self._proxy)
        except (ConfigurationError, TimeoutError):
            raise  # a timeout is of a signal handler: making a connection waits for nothing
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            named = [name for name in os.environ if name.upper() in _VARIABLES] or _VARIABLES
            raise ConfigurationError(
                f"no HTTP connection can be made ({type(error).__name__}: {error}); check the "
                f"environment: {', '.join(named)}."
            ) from error

    def _prepare(self) -> None:
        """Do once what takes long: loading certificates takes 20 ms."""
        certificates = httpx.create_ssl_context()
        self._timeouts = self.timeout._asdict()
        if proxy := proxy_for(self.url):
            self._proxy = httpx.Proxy(proxy)
        # The headers that httpx sends by itself, and ours over them.
        with httpx.Client(verify=certificates, trust_env=False) as client:
            try:
                self._target = httpx.URL(self.url)
                request = client.build_request("POST", self._target, content=b"")
            except (httpx.InvalidURL, UnicodeError) as error:
                raise ConfigurationError(
                    f"base_url is not a URL that HTTP can use: {error}."
                ) from error
        request.headers.update(self.headers)
        self._defaults = [
            (name, value)
            for name, value in request.headers.raw
            if name.lower() not in _OF_EACH_REQUEST and (name.lower(), value) not in _MEANT_ANYWAY
        ]
        self._certificates = certificates

    def request(self, body: bytes, attempt: Attempt, trace: Any) -> httpx.Request:
        """Make a request. It holds the key: callers keep it in no variable.

        Args:
            body: JSON.
            attempt: Told when the body is sent.
            trace: Called with each step of httpcore, or None.
        """
        # A list of pairs, since httpx looks through all headers for each one that is assigned.
        headers = [
            *self._defaults,
            (b"Authorization", b"Bearer " + self.key.get_secret_value().encode()),
            (b"Content-Length", b"%d" % len(body)),
        ]
        if attempt.request_id is not None:
            headers.append((CLIENT_REQUEST_ID.encode(), attempt.request_id.encode()))
        return httpx.Request(
            "POST",
            self._target or self.url,
            headers=headers,
            stream=_Body(body, attempt),  # httpx adds no headers of its own to a stream
            extensions={"timeout": self._timeouts, "trace": trace},
        )


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request. Sending begins when it is asked for.

    What is before it, the headers alone, is no request that a server could answer. An idle
    connection needs no trace for this; ten events would cost a task 7 us.
    """

    def __init__(self, body: bytes, attempt: Attempt) -> None:
        self._body, self._attempt = body, attempt

    def __iter__(self) -> Iterator[bytes]:
        self._attempt.begin()
        yield self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._attempt.begin()
        yield self._body


class _Base:
    """What connections of both modes share: they know their socket."""

    def __init__(self, maker: Maker, carrier: Any) -> None:
        self._maker = maker
        self._carrier = carrier
        self._stream: Any = None
        self._socket: Any = None
        self.idle_since = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and the server has neither closed it nor sent anything unasked."""
        if self._socket is None or time.monotonic() - self.idle_since > _IDLE:
            return False
        if self._socket.fileno() < 0:  # closed after its last reply, as the server asked
            return False
        if not hasattr(select, "poll"):  # Windows
            return not select.select([self._socket], [], [], 0)[0]
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def _note(self, attempt: Attempt, event: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's trace events: https://www.encode.io/httpcore/extensions/#trace."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            self._socket = self._stream.get_extra_info("socket")
        elif (
            event.endswith("send_request_headers.started")
            and info["request"].method != b"CONNECT"  # to a proxy, before the request itself
        ):
            attempt.check_call()

    async def _note_async(self, attempt: Attempt, event: str, info: Mapping[str, Any]) -> None:
        self._note(attempt, event, info)

    def _begin(self, attempt: Attempt, trace: Any) -> Any:
        """Take up an attempt; return what traces it, where the connection is to be opened."""
        attempt.use(self)
        attempt.reused = self._socket is not None
        return None if attempt.reused else partial(trace, attempt)

    def shut_down(self) -> None:
        """Break the connection, from any thread; whoever waits for its reply gets an error."""
        if self._socket is not None:
            with suppress(OSError):
                # The plain method: an SSLSocket's own would first send messages to the server.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Connection(_Base):
    """Carries one request at a time, for threads."""

    def post(self, body: bytes, attempt: Attempt) -> Response:
        """Send a body and read the whole reply."""
        response = self._start(body, attempt)
        attempt.answered = True
        headers = _plain(response.headers)
        # Pieces that are not compressed need no decoder.
        pieces: Any = response.iter_bytes() if "content-encoding" in headers else response.stream
        try:
            content = bytearray()  # grows in place; `response.read()` would copy once more
            for piece in pieces:
                content += piece
                attempt.check_time()
        except httpx.DecodingError:
            if response.is_success:
                raise
            content.clear()  # the status is what counts
        finally:
            response.close()
        return Response(response.status_code, headers, content)

    def _start(self, body: bytes, attempt: Attempt) -> httpx.Response:
        trace = self._begin(attempt, self._note)
        return self._carrier.handle_request(  # type: ignore[no-any-return]
            self._maker.request(body, attempt, trace)
        )

    def close(self) -> None:
        """Close it, once it is not in use any more."""
        self._carrier.close()
        if self._stream is not None:  # of which it knows nothing if TLS was interrupted
            self._stream.close()


class AsyncConnection(_Base):
    """Carries one request at a time, for tasks of one event loop."""

    async def post(self, body: bytes, attempt: Attempt) -> Response:
        """Send a body and read the whole reply."""
        response = await self._start(body, attempt)
        attempt.answered = True
        headers = _plain(response.headers)
        pieces: Any = response.aiter_bytes() if "content-encoding" in headers else response.stream
        try:
            content = bytearray()
            async for piece in pieces:
                content += piece
        except httpx.DecodingError:
            if response.is_success:
                raise
            content.clear()
        finally:
            await response.aclose()
        return Response(response.status_code, headers, content)

    async def _start(self, body: bytes, attempt: Attempt) -> httpx.Response:
        trace = self._begin(attempt, self._note_async)
        return await self._carrier.handle_async_request(  # type: ignore[no-any-return]
            self._maker.request(body, attempt, trace)
        )

    async def aclose(self) -> None:
        """Close it, once it is not in use any more."""
        await self._carrier.aclose()
        if self._stream is not None:  # of which it knows nothing if TLS was cancelled
            await self._stream.aclose()


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Read headers once; httpx would walk all of them for each one that is looked up."""
    return {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in headers.raw}


class Stack:
    """Idle connections, the one used last on top. Needs no lock: each step is one deque operation.

    Attributes:
        is_open: False once it was cleared; connections that come back later are closed.
    """

    def __init__(self) -> None:
        self.is_open = True
        self._idle: deque[Any] = deque()

    def take(self) -> Any:
        """Take the connection that was used last; None when there is none."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def give_back(self, connection: Connection | AsyncConnection) -> list[Any]:
        """Put a connection on top, and take out those to be closed now, by the caller."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        return self._remove(connection.idle_since - _IDLE) if self.is_open else self.clear()

    def clear(self) -> list[Any]:
        """Take out all connections, to be closed by the caller."""
        self.is_open = False
        return self._remove(float("inf"))

    def _remove(self, idle_since: float) -> list[Any]:
        removed = []
        try:
            while self._idle[0].idle_since < idle_since:
                removed.append(self._idle.popleft())
        except IndexError:  # empty, or another thread was faster
            pass
        return removed
