"""HTTP. The only module that imports httpx, and the only one that opens the key.

The sync client is made on first use. An async client belongs to the event loop it was made in:
using it in another one ends in "Event loop is closed"
(https://github.com/encode/httpx/discussions/2473), so there is one for each loop. It is held by an
async generator that waits for its end, since `asyncio.run` closes those before it closes the loop:
the client goes with its loop, and no socket leaks. A client of the user's own is used as it is and
never closed; it may be of httpx, or of another library of the same shape (httpx2), whose exceptions
have the same names.
"""

from __future__ import annotations

import ssl
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import httpx

from aimlapi_embeddings._errors import APIConnectionError, APITimeoutError, ConfigurationError
from aimlapi_embeddings._protocol.endpoint import is_loopback
from aimlapi_embeddings._protocol.secrets import SecretLike, hide
from aimlapi_embeddings._types import Reply

if TYPE_CHECKING:
    import asyncio

# How many requests are under way is decided before they come here.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
_START = 1024  # bytes
# The others are never looked at, and building them all takes longer than the rest of a reply.
_READ_HEADERS = (
    "location",
    "retry-after",
    "x-aimlapi-credits-used",
    "x-aimlapi-usd-spent",
    "x-inference-id",
    "x-request-id",
)


def check_http_clients(http_client: Any, async_http_client: Any) -> None:
    """Refuse what cannot post, and a client in the place of the other colour's."""
    for name, client, kind, other in (
        ("http_client", http_client, "Client", httpx.AsyncClient),
        ("async_http_client", async_http_client, "AsyncClient", httpx.Client),
    ):
        posts = callable(getattr(client, "post", None)) and not isinstance(client, other)
        if client is not None and not posts:
            raise ConfigurationError(
                f"{name}={type(client).__name__} is neither an httpx.{kind} nor of its shape."
            )


def _forget_request(error: BaseException, until: BaseException | None) -> None:
    """Drop what holds a request with its key: an HTTP library's frames, and the request itself.

    Args:
        error: The last of a chain.
        until: What the caller was handling before; it keeps its frames.
    """
    link: BaseException | None = error
    while link is not None and link is not until:
        link.__traceback__ = None
        if "_request" in vars(link):  # httpx's errors have one
            vars(link)["_request"] = None
        link = link.__cause__ or link.__context__


_Client = TypeVar("_Client", httpx.Client, httpx.AsyncClient)


class HTTPTransport:
    """Posts bodies to one URL, from threads and from tasks."""

    def __init__(
        self,
        url: str,
        api_key: SecretLike,
        headers: Mapping[str, str],
        timeout: float,
        http_client: Any = None,
        async_http_client: Any = None,
    ) -> None:
        self._url = url
        self._key = api_key
        self._headers = {"Content-Type": "application/json", **headers}
        self._timeout = timeout
        # What is sent to this machine is not for the environment's proxies to see.
        self._trust_env = not is_loopback(url)
        self._given = http_client
        self._given_async = async_http_client
        self._certificates: ssl.SSLContext | None = None  # loading them takes 20 ms
        self._client: httpx.Client | None = None
        self._async_clients: dict[asyncio.AbstractEventLoop, _Held] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _let_go, self._async_clients)

    def send(self, body: bytes) -> Reply:
        """Post a body and wait for the whole reply in this thread."""
        handled = sys.exception()
        try:
            if self._given is not None:
                response = self._given.post(self._url, content=body, **self._as_ours())
                return self._reply(response, response.content)
            response, content = _read(self._client or self._open(), self._url, body)
        except BaseException as error:
            if known := self._translate(error, handled):
                raise known from error
            raise
        return self._reply(response, content)

    async def send_async(self, body: bytes) -> Reply:
        """Post a body and wait for the whole reply in this task."""
        handled = sys.exception()
        try:
            if self._given_async is not None:
                response = await self._given_async.post(self._url, content=body, **self._as_ours())
                return self._reply(response, response.content)
            response, content = await _read_async(await self._open_async(), self._url, body)
        except BaseException as error:
            if known := self._translate(error, handled):
                raise known from error
            raise
        return self._reply(response, content)

    def close(self) -> None:
        """Close what was opened for sync calls."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close what was opened for this event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        if held := self._async_clients.pop(loop, None):
            await held.holder.aclose()

    def _as_ours(self) -> dict[str, Any]:
        """What each request needs; our own clients are made with it, which saves 25 us each."""
        return {
            "headers": self._headers,
            "auth": partial(_authorize, self._key),  # not of ours: it would keep us alive
            "timeout": self._timeout,
            "follow_redirects": False,
        }

    def _reply(self, response: Any, content: bytes | bytearray) -> Reply:
        # Some servers repeat the key they refuse. Of a good reply only the start is ever shown.
        shown = bytes(content if response.status_code >= 400 else content[:_START])
        repeated = hide(self._key, shown) != shown
        body = hide(self._key, bytes(content)) if repeated else content
        found = response.headers
        headers = {name: hide(self._key, found[name]) for name in _READ_HEADERS if name in found}
        return Reply(response.status_code, headers, body)

    def _translate(
        self, error: BaseException, handled: BaseException | None
    ) -> APIConnectionError | None:
        """Make our error of a failure to get a reply; None for all others, which are not ours.

        A bug in a client of the user's own keeps its frames; Ctrl-C and cancellation need none.
        """
        kinds = {kind.__name__ for kind in type(error).__mro__}
        late = not kinds.isdisjoint(("TimeoutException", "TimeoutError"))
        known = late or not kinds.isdisjoint(("RequestError", "ConnectionError"))
        if known or not isinstance(error, Exception):
            _forget_request(error, handled)
        if not known:
            return None
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if late:
            return APITimeoutError(
                f"no reply from {self._url} within {self._timeout:g} s ({what}); raise timeout, or "
                "lower batch_size."
            )
        return APIConnectionError(
            f"no reply from {self._url} ({what}); check base_url, the network and its proxies."
        )

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = self._make(httpx.Client)
                # Adapters are rarely closed by those who use them.
                weakref.finalize(self, self._client.close)
            return self._client

    async def _open_async(self) -> httpx.AsyncClient:
        import asyncio  # which takes 20 ms that sync callers need not wait

        loop = asyncio.get_running_loop()
        if held := self._async_clients.get(loop):
            return held.client
        # Nothing suspends from here to the end, so two tasks of a loop cannot both get here.
        holder = _hold(self._make(httpx.AsyncClient))
        client = await anext(holder)
        with self._lock:
            for other in [other for other in self._async_clients if other.is_closed()]:
                del self._async_clients[other]
            self._async_clients[loop] = _Held(client, holder)
        return client

    def _make(self, kind: type[_Client]) -> _Client:
        try:
            self._certificates = self._certificates or httpx.create_ssl_context()
            return kind(
                verify=self._certificates,
                limits=_LIMITS,
                trust_env=self._trust_env,
                **self._as_ours(),
            )
        except Exception as error:
            raise ConfigurationError(
                f"no HTTP client can be made ({type(error).__name__}: {error}); check the "
                "environment: SSL_CERT_FILE, SSL_CERT_DIR, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY."
            ) from error


def _authorize(key: SecretLike, request: Any) -> Any:
    # Called for each request, not a header of ours: no frame holds the key when one fails.
    request.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return request


# The buffer grows in place; `response.content` would be a copy more, and 8 % more CPU for large
# replies.
def _read(client: httpx.Client, url: str, body: bytes) -> tuple[httpx.Response, bytearray]:
    with client.stream("POST", url, content=body) as response:
        content = bytearray()
        for piece in response.iter_bytes():
            content += piece
    return response, content


async def _read_async(
    client: httpx.AsyncClient, url: str, body: bytes
) -> tuple[httpx.Response, bytearray]:
    async with client.stream("POST", url, content=body) as response:
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
    return response, content


class _Held(NamedTuple):
    client: httpx.AsyncClient
    holder: AsyncGenerator[httpx.AsyncClient]


async def _hold(client: httpx.AsyncClient) -> AsyncGenerator[httpx.AsyncClient]:
    try:
        yield client
    finally:
        await client.aclose()


def _let_go(clients: dict[asyncio.AbstractEventLoop, _Held]) -> None:
    """Close the clients of a transport that was dropped, each in its own loop."""
    for loop, held in clients.items():
        with suppress(RuntimeError):  # the loop is closed, and with it the client
            loop.call_soon_threadsafe(_start_closing, held.holder)


def _start_closing(holder: AsyncGenerator[httpx.AsyncClient]) -> None:
    """Close a client in a task that `asyncio.run` waits for at its end.

    asyncio's own way with a generator that was dropped is a task that is cancelled there: when a
    client is dropped by the main coroutine as it ends, its sockets would stay open.
    """
    import asyncio

    class Closing(asyncio.Task[None]):
        def cancel(self, msg: Any = None) -> bool:
            return False

    async def close() -> None:
        await holder.aclose()

    Closing(close())
