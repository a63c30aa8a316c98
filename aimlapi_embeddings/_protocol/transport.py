"""Sends bodies to one URL, from threads and from tasks, over our connections or the user's client.

A client of the user's own is used as it is and never closed; it may be of httpx, or of another
library of the same shape (httpx2), whose exceptions have the same names.

Async connections belong to the event loop they were made in: using them in another one ends in
"Event loop is closed" (https://github.com/encode/httpx/discussions/2473). So there is a stack for
each loop. It is held by an async generator that waits for its end, since `asyncio.run` closes those
before it closes the loop: the connections go with their loop, and no socket leaks.
"""

from __future__ import annotations

import inspect
import socket
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aimlapi_embeddings._errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ReplyError,
)
from aimlapi_embeddings._protocol.attempt import Attempt, CallEnded, IdleConnectionClosed, Watchdog
from aimlapi_embeddings._protocol.connections import Maker, Stack
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.secrets import SecretLike, hide
from aimlapi_embeddings._protocol.status import READ_BODY
from aimlapi_embeddings._types import Reply
from aimlapi_embeddings._warn import warn_user

if TYPE_CHECKING:
    import asyncio

DEFAULT_TIMEOUT = 60.0  # seconds
# `timeout` bounds each wait for a piece; an attempt as a whole may take so many times as long.
WHOLE = 3
# The others are never looked at, and building them all takes longer than the rest of a reply.
_READ_HEADERS = (
    "content-encoding",
    "date",
    "location",
    "retry-after",
    "retry-after-ms",
    "x-aimlapi-credits-used",
    "x-aimlapi-model",
    "x-aimlapi-provider",
    "x-aimlapi-usd-spent",
    "x-inference-id",
    "x-ratelimit-remaining",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
)
# Names of exceptions, of httpx and of libraries of its shape, after which nothing was sent.
_NOT_SENT = frozenset(("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"))
_NO_SUCH_HOST = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}


def check_http_clients(http_client: Any, async_http_client: Any) -> None:
    """Refuse what cannot post, a client in the place of the other mode's, and one with `auth`."""
    for name, client, kind, is_async in (
        ("http_client", http_client, "Client", False),
        ("async_http_client", async_http_client, "AsyncClient", True),
    ):
        if client is None:
            continue
        post = getattr(client, "post", None)
        awaited = inspect.iscoroutinefunction(post) or hasattr(client, "__aenter__")
        if not callable(post) or awaited is not is_async:
            raise ConfigurationError(
                f"{name}={type(client).__name__} is neither an httpx.{kind} nor of its shape."
            )
        if getattr(client, "auth", None) is not None:
            raise ConfigurationError(
                f"{name} has an auth of its own, and the API key has to take its place. Make the "
                "client without auth, and put further credentials into headers or an event hook."
            )


class HTTPTransport:
    """Posts bodies to one URL.

    Args:
        url: Of the endpoint.
        api_key: Opened for each request.
        headers: Of each request, ours and the user's.
        timeout: Seconds, or None: `DEFAULT_TIMEOUT` for our connections, and what a client of the
            user's own was made with.
        http_client: The user's own for threads, or None.
        async_http_client: The user's own for tasks, or None.
    """

    def __init__(
        self,
        url: str,
        api_key: SecretLike,
        headers: Mapping[str, str],
        timeout: float | None = None,
        http_client: Any = None,
        async_http_client: Any = None,
    ) -> None:
        self._url = url
        self._shown_url = shown_url(url)
        self._key = api_key
        self._headers = headers
        self._timeout = timeout
        self._given = http_client
        self._given_async = async_http_client
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        self._whole = WHOLE * seconds
        self._maker = Maker(url, api_key, headers, seconds)
        self._watchdog = Watchdog()
        self._stack = Stack()
        self._finalizer = weakref.finalize(self, _close_all, self._stack)
        self._loops: dict[asyncio.AbstractEventLoop, _Held] = {}
        weakref.finalize(self, _let_go, self._loops)
        weakref.finalize(self, self._watchdog.close)
        self._warned = False

    def send(self, body: bytes, attempt: Attempt) -> Reply:
        """Post a body and wait for the whole reply in this thread.

        Raises:
            APIConnectionError: There is no reply; `sent` tells whether the request left.
            ReplyError: The reply cannot be decompressed.
            CallEnded: The call ended before sending began.
        """
        with self._translated(attempt, own=self._given is not None):
            if self._given is not None:
                attempt.begin()
                response = self._given.post(self._url, content=body, **self._as_ours())
                return self._reply(response.status_code, response.headers, response.content)
            self._warn_if_other_was_given(self._given_async, "http_client", "sync")
            stack, watchdog = self._stack, self._watchdog  # `close` replaces them
            connection = stack.take() or self._maker.connection()
            watchdog.watch(attempt, self._whole)
            try:
                response = connection.post(body, attempt)
            except BaseException:
                connection.close()
                raise
            finally:
                watchdog.forget(attempt)
            for old in stack.give_back(connection):
                old.close()
        return self._reply(*response)

    async def send_async(self, body: bytes, attempt: Attempt) -> Reply:
        """Post a body and wait for the whole reply in this task; raises like `send`."""
        import asyncio  # which takes 20 ms that sync callers need not wait

        with self._translated(attempt, own=self._given_async is not None):
            if self._given_async is not None:
                attempt.begin()
                response = await self._given_async.post(self._url, content=body, **self._as_ours())
                return self._reply(response.status_code, response.headers, response.content)
            self._warn_if_other_was_given(self._given, "async_http_client", "async")
            stack = await self._stack_of_this_loop()
            connection = stack.take() or self._maker.async_connection()
            try:
                async with asyncio.timeout(self._whole):
                    response = await connection.post(body, attempt)
            except GeneratorExit:
                raise  # thrown away with its event loop; nothing can be awaited any more
            except BaseException:
                await connection.aclose()
                raise
            for old in stack.give_back(connection):
                await old.aclose()
        return self._reply(*response)

    def close(self) -> None:
        """Close idle connections of threads; those in use are closed when their request ends.

        Waits for nobody. The transport can be used again.
        """
        stack, self._stack = self._stack, Stack()
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _close_all, self._stack)
        watchdog, self._watchdog = self._watchdog, Watchdog()
        weakref.finalize(self, self._watchdog.close)
        watchdog.close()
        _close_all(stack)

    async def aclose(self) -> None:
        """Close idle connections of this event loop, those in use when their request ends."""
        import asyncio

        if held := self._loops.pop(asyncio.get_running_loop(), None):
            await held.holder.aclose()

    def _as_ours(self) -> dict[str, Any]:
        """Say what a request of ours needs, to a client of the user's own."""
        ours = {
            "headers": {**self._headers},
            "auth": partial(_authorize, self._key),  # not of ours: it would keep us alive
            "follow_redirects": False,
        }
        return ours if self._timeout is None else {**ours, "timeout": self._timeout}

    def _warn_if_other_was_given(self, other: Any, name: str, mode: str) -> None:
        if other is not None and not self._warned:
            self._warned = True
            warn_user(
                f"this {mode} call does not go through the HTTP client that was given, which is "
                f"for the other mode. Pass {name} too, or make only one kind of calls."
            )

    def _reply(self, status: int, found: Mapping[str, str], content: bytes | bytearray) -> Reply:
        # Some servers repeat the key they refuse. Of a good reply only the start is ever shown.
        shown = bytes(content if status >= 400 else content[:READ_BODY])
        repeated = hide(self._key, shown) != shown
        body = hide(self._key, bytes(content)) if repeated else content
        headers = {name: hide(self._key, found[name]) for name in _READ_HEADERS if name in found}
        return Reply(status, headers, body)

    @contextmanager
    def _translated(self, attempt: Attempt, *, own: bool) -> Iterator[None]:
        """Make our errors of failures to get a reply; all others are not ours.

        A bug in a client of the user's own keeps its frames; Ctrl-C and cancellation need none.
        """
        handled = sys.exception()
        try:
            yield
        except (APIConnectionError, ConfigurationError, CallEnded):
            raise
        except BaseException as error:
            known = self._translate(error, attempt, own=own)
            if known is not None or not isinstance(error, Exception):
                _forget_request(error, handled)
            if known is None:
                raise
            raise known from error

    def _translate(
        self, error: BaseException, attempt: Attempt, *, own: bool
    ) -> APIConnectionError | ReplyError | None:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if "DecodingError" in kinds:
            return ReplyError(
                f"the reply cannot be decompressed ({what}): its body is not what its "
                "content-encoding says. Ask the provider, or look at the proxies in between."
            )
        late = attempt.expired or not kinds.isdisjoint(("TimeoutException", "TimeoutError"))
        if not late and kinds.isdisjoint(("RequestError", "ConnectionError")):
            return None
        sent = attempt.sent and not (own and kinds & _NOT_SENT)
        failure: APIConnectionError
        if late:
            failure = APITimeoutError(
                f"no reply from {self._shown_url} within {self._maker.timeout:g} s ({what}); raise "
                "timeout, or lower batch_size."
            )
        elif sent and not own and not attempt.connected:
            failure = IdleConnectionClosed(what)
        else:
            remedy = _remedy(error, what)
            failure = APIConnectionError(
                f"no reply from {self._shown_url} ({what}); "
                f"{remedy or 'check base_url, the network and its proxies'}."
            )
            failure.permanent = remedy is not None
        failure.sent = sent
        return failure

    async def _stack_of_this_loop(self) -> Stack:
        import asyncio

        loop = asyncio.get_running_loop()
        if held := self._loops.get(loop):
            return held.stack
        # Nothing suspends from here to the end, so two tasks of a loop cannot both get here.
        holder = _hold(stack := Stack())
        await anext(holder)
        for other in list(self._loops):
            if other.is_closed():
                self._loops.pop(other, None)
        self._loops[loop] = _Held(stack, holder)
        return stack


def _authorize(key: SecretLike, request: Any) -> Any:
    # Called for each request, not a header of ours: no frame holds the key when one fails.
    request.headers["Authorization"] = f"Bearer {key.get_secret_value()}"
    return request


def _remedy(error: BaseException, what: str) -> str | None:
    """Say what to do about a connection that can never succeed; None where it may the next time."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, ssl.SSLCertVerificationError):
            return (
                "the certificate of the server is not trusted; set SSL_CERT_FILE to the file of "
                "its certificate authority (REQUESTS_CA_BUNDLE is not read)"
            )
        if isinstance(link, socket.gaierror) and link.errno in _NO_SUCH_HOST:
            return "the host name does not exist; check base_url, or the proxy's name"
        link = link.__cause__ or link.__context__
    if what.startswith(("ProxyError: 407", "ProxyError: 403")):
        return (
            "the proxy refuses the connection; check the user name and password in HTTPS_PROXY or "
            "ALL_PROXY, or name the host in NO_PROXY"
        )
    return None


def _forget_request(error: BaseException, until: BaseException | None) -> None:
    """Drop what holds a request with its key: an HTTP library's frames, and the request itself.

    Args:
        error: The last of a chain.
        until: What the caller was handling before; it keeps its frames.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and link is not until and id(link) not in seen:
        seen.add(id(link))
        link.__traceback__ = None
        if "_request" in vars(link):  # httpx's errors have one
            vars(link)["_request"] = None
        link = link.__cause__ or link.__context__


def _close_all(stack: Stack) -> None:
    for connection in stack.clear():
        connection.close()


class _Held(NamedTuple):
    stack: Stack
    holder: AsyncGenerator[None]


async def _hold(stack: Stack) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for connection in stack.clear():
            await connection.aclose()


def _let_go(loops: dict[asyncio.AbstractEventLoop, _Held]) -> None:
    """Close the connections of a transport that was dropped, each in its own loop."""
    for loop, held in list(loops.items()):
        with suppress(RuntimeError):  # the loop is closed, and with it its connections
            loop.call_soon_threadsafe(_start_closing, held.holder)


def _start_closing(holder: AsyncGenerator[None]) -> None:
    """Close connections in a task that `asyncio.run` waits for at its end.

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
