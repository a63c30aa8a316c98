"""Sends bodies to one URL, from threads and from tasks, over our connections or the user's client.

A client of the user's own is used as it is and never closed; it may be of httpx, or of another
library of the same shape (httpx2), whose exceptions have the same names.

Async connections belong to the event loop they were made in: using them in another one ends in
"Event loop is closed" (https://github.com/encode/httpx/discussions/2473). So there is a stack for
each loop. It is held by an async generator that waits for its end, since `asyncio.run` closes those
before it closes the loop: the connections go with their loop, and no socket leaks.
"""

from __future__ import annotations

import contextvars
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from aimlapi_embeddings._errors import AIMLAPIError, ConfigurationError
from aimlapi_embeddings._protocol.attempt import Attempt, Watchdog
from aimlapi_embeddings._protocol.connections import IDLE, AsyncConnection, Maker, Response, Stack
from aimlapi_embeddings._protocol.correlation import CLIENT_REQUEST_ID, own_request_id
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.error_body import READ_BODY, as_utf8
from aimlapi_embeddings._protocol.failures import known_failure
from aimlapi_embeddings._protocol.options import Timeouts
from aimlapi_embeddings._protocol.secrets import SecretLike, hide
from aimlapi_embeddings._types import Reply
from aimlapi_embeddings._warn import warn_user

if TYPE_CHECKING:
    import asyncio

DEFAULT_TIMEOUT = 60.0  # seconds
# Seconds until an event loop looks for connections that stayed idle: all of now will be by then.
_LOOK = 1.1 * IDLE
# `timeout` bounds each wait for a piece; an attempt as a whole may take so many times as long.
WHOLE = 3
# The others are never looked at, and building them all takes longer than the rest of a reply.
_READ_HEADERS = (
    "content-encoding",
    "date",
    "location",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "retry-after-ms",
    "x-aimlapi-credits-used",
    "x-aimlapi-model",
    "x-aimlapi-provider",
    "x-aimlapi-usd-spent",
    "x-inference-id",
    "x-ms-retry-after-ms",
    "x-ratelimit-remaining",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
)


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
        shaped = callable(post) and awaited is is_async and _takes_content(post)
        if isinstance(client, type) or not shaped:
            given = (
                f"class {client.__name__}" if isinstance(client, type) else type(client).__name__
            )
            raise ConfigurationError(f"{name}={given} is neither an httpx.{kind} nor of its shape.")
        if getattr(client, "auth", None) is not None:
            raise ConfigurationError(
                f"{name} has an auth of its own, and the API key has to take its place. Make the "
                "client without auth, and put further credentials into headers or an event hook."
            )


def _takes_content(post: Any) -> bool:
    """Tell whether a method takes a body as httpx's does; those of requests and aiohttp do not."""
    try:
        parameters = inspect.signature(post).parameters
    except (TypeError, ValueError):  # it does not tell
        return True
    return "content" in parameters or "data" not in parameters


class HTTPTransport:
    """Posts bodies to one URL.

    Args:
        url: Of the endpoint.
        api_key: Read for each request.
        headers: Of each request, ours and the user's.
        timeout: Seconds, for each phase or for all, or None: `DEFAULT_TIMEOUT` for our connections,
            and what a client of the user's own was made with.
        http_client: The user's own for threads, or None.
        async_http_client: The user's own for tasks, or None.
    """

    def __init__(
        self,
        url: str,
        api_key: SecretLike,
        headers: Mapping[str, str],
        timeout: float | Timeouts | None = None,
        http_client: Any = None,
        async_http_client: Any = None,
    ) -> None:
        self._url = url
        self._key = api_key
        self._headers = headers
        self._has_own_id = own_request_id(headers) is not None
        self._timeout = timeout
        self._given = http_client
        self._given_async = async_http_client
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        phases = seconds if isinstance(seconds, Timeouts) else Timeouts(*[seconds] * 4)
        self._whole = None if phases.read is None else WHOLE * phases.read
        self._maker = Maker(url, api_key, headers, phases)
        self._begin()
        self._loops: dict[asyncio.AbstractEventLoop, _Held] = {}
        weakref.finalize(self, _let_go, self._loops)
        self._warned = False

    def send(self, body: bytes, attempt: Attempt) -> Reply:
        """Post a body and wait for the whole reply in this thread.

        Raises:
            APIConnectionError: There is no reply; `sent` tells whether the request left.
            ReplyError: The reply cannot be decompressed.
            CallEnded: The call ended before sending began.
        """
        handled = sys.exception()
        try:
            if self._given is not None:
                attempt.begin()
                ours = self._as_ours(attempt)
                response = self._given.post(self._url, content=body, **ours)
                return self._reply(response.status_code, response.headers, response.content)
            return self._reply(*self._post(body, attempt))
        except BaseException as error:
            if (reply := self._reply_of_hook(error, self._given)) is not None:
                return reply
            if known := self._known(error, handled, attempt, self._given):
                raise known from error
            raise

    def _post(self, body: bytes, attempt: Attempt) -> Response:
        self._warn_if_other_was_given(self._given_async, "http_client", "sync")
        stack = self._stack
        while (connection := stack.take()) is not None and not connection.is_usable:
            connection.close()
        connection = connection or self._maker.connection()
        watchdog = self._watchdog  # `close` puts another one in its place
        if self._whole is not None:
            watchdog.watch(attempt, self._whole)
        try:
            response: Response = connection.post(body, attempt)
        except BaseException:
            connection.close()
            raise
        finally:
            watchdog.forget(attempt)
        for old in stack.give_back(connection):
            old.close()
        return response

    async def send_async(self, body: bytes, attempt: Attempt) -> Reply:
        """Post a body and wait for the whole reply in this task; raises like `send`."""
        handled = sys.exception()
        try:
            if self._given_async is not None:
                attempt.begin()
                response = await self._given_async.post(
                    self._url, content=body, **self._as_ours(attempt)
                )
                return self._reply(response.status_code, response.headers, response.content)
            return self._reply(*await self._post_async(body, attempt))
        except BaseException as error:
            if (reply := self._reply_of_hook(error, self._given_async)) is not None:
                return reply
            if known := self._known(error, handled, attempt, self._given_async):
                raise known from error
            raise

    async def _post_async(self, body: bytes, attempt: Attempt) -> Response:
        import asyncio  # which takes 20 ms that sync callers need not wait

        self._warn_if_other_was_given(self._given, "async_http_client", "async")
        stack = await self._stack_of_this_loop()
        while (connection := stack.take()) is not None and not connection.is_usable:
            await _closing(connection)
        connection = connection or self._maker.async_connection()
        try:
            async with asyncio.timeout(self._whole):
                response: Response = await connection.post(body, attempt)
        except GeneratorExit:
            raise  # thrown away with its event loop; nothing can be awaited any more
        except BaseException:
            await _closing(connection)
            raise
        for old in stack.give_back(connection):
            await _closing(old)
        if not stack.is_watched:
            _watch(stack, asyncio.get_running_loop())
        return response

    def close(self) -> None:
        """Close idle connections of threads; those in use are closed when their request ends.

        Returns at once. The transport can be used again.
        """
        finalizers = self._finalizers
        self._begin()  # first: a request that ends now finds the new one, or one that is closed
        for finalizer in finalizers:
            finalizer()

    def _begin(self) -> None:
        """Make what `close` closes; a transport that is dropped closes it too."""
        self._stack = Stack()
        self._watchdog = Watchdog(partial(_close_idle, self._stack))
        self._finalizers = (
            weakref.finalize(self, _close_all, self._stack),
            weakref.finalize(self, self._watchdog.close),
        )

    async def aclose(self) -> None:
        """Close idle connections of this event loop, those in use when their request ends."""
        import asyncio

        if held := self._loops.pop(asyncio.get_running_loop(), None):
            await _closing(held.holder)

    def _as_ours(self, attempt: Attempt) -> dict[str, Any]:
        """Say what a request of ours needs, to a client of the user's own."""
        headers = {**self._headers}
        if attempt.request_id is not None and not self._has_own_id:
            headers[CLIENT_REQUEST_ID] = attempt.request_id
        ours = {
            "headers": headers,
            "auth": partial(_authorize, self._key),  # no method: its `self` would not be collected
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
        body = content
        if status >= 400:
            body = hide(self._key, as_utf8(bytes(content), found.get("content-type", "")))
        elif hide(self._key, shown := bytes(content[:READ_BODY])) != shown:
            body = hide(self._key, bytes(content))
        headers = {name: hide(self._key, found[name]) for name in _READ_HEADERS if name in found}
        return Reply(status, headers, body)

    def _reply_of_hook(self, error: BaseException, given: Any) -> Reply | None:
        """Find the reply that a hook of the user's client refused by `raise_for_status()`.

        It is one like any other: its status decides. Its body is there if the hook has read it.
        """
        if given is None or type(error).__name__ != "HTTPStatusError":
            return None
        response: Any = error.response  # type: ignore[attr-defined]
        try:
            content = response.content
        except RuntimeError:  # it was not read, and is closed now
            content = b""
        return self._reply(response.status_code, response.headers, content)

    def _known(
        self, error: BaseException, handled: BaseException | None, attempt: Attempt, given: Any
    ) -> AIMLAPIError | None:
        phases, seconds = self._maker.timeout, None
        if given is None or self._timeout is not None:
            seconds = phases.read if attempt.sent else phases.connect
        return known_failure(
            error,
            handled,
            attempt,
            url=shown_url(self._url),
            seconds=seconds,
            own=given is not None,
        )

    async def _stack_of_this_loop(self) -> Stack:
        import asyncio

        loop = asyncio.get_running_loop()
        if held := self._loops.get(loop):
            return held.stack
        # Nothing suspends from here to the end, so two tasks of a loop cannot both get here.
        holder = _hold(stack := Stack(), loop)
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


def _close_all(stack: Stack) -> None:
    for connection in stack.clear():
        connection.close()


def _close_idle(stack: Stack) -> None:
    for connection in stack.expired(0.0):
        connection.close()


def _watch(stack: Stack, loop: asyncio.AbstractEventLoop) -> None:
    """Close what stays idle, though no further request comes. Ends when there is nothing left."""
    stack.is_watched = True

    def look() -> None:
        for connection in stack.expired():
            _closing(connection)
        stack.is_watched = False
        if stack:
            _watch(stack, loop)

    # Not in the context of the request that happened to come first, which would be kept alive.
    loop.call_later(_LOOK, look, context=contextvars.Context())


class _Held(NamedTuple):
    stack: Stack
    holder: AsyncGenerator[None]


async def _hold(stack: Stack, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        # A loop that was closed without closing its generators, as nest_asyncio's are, cannot
        # await anything any more; its sockets are closed by the collector.
        if not loop.is_closed():
            for connection in stack.clear():
                await connection.aclose()


def _let_go(loops: dict[asyncio.AbstractEventLoop, _Held]) -> None:
    """Close the connections of a transport that was dropped, each in its own loop."""
    for loop, held in list(loops.items()):
        with suppress(RuntimeError):  # the loop is closed, and with it its connections
            loop.call_soon_threadsafe(_closing, held.holder)


def _closing(what: AsyncConnection | AsyncGenerator[None]) -> asyncio.Task[None]:
    """Close connections in a task that cannot be cancelled and that `asyncio.run` waits for.

    Whoever awaits it and is cancelled goes on when it has ended, and is cancelled then.

    A close that is interrupted leaves sockets open: when whoever closes a client is cancelled, or
    when a client is dropped by the main coroutine as it ends. asyncio's own way with a generator
    that was dropped is a task that is cancelled at the end of the loop.
    """
    import asyncio

    class Closing(asyncio.Task[None]):
        def cancel(self, msg: Any = None) -> bool:
            return False

    async def close() -> None:
        if not getattr(what, "ag_running", False):  # else the end of its loop is closing it
            await what.aclose()

    return Closing(close())
