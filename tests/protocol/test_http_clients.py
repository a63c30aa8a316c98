"""An HTTP client that the user passes is used unchanged, and we do not close it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
)
from aimlapi_embeddings.emulator import Fault
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import KEY, Mode, Package
from tests.support.proxies import Minimal, MinimalAsync
from tests.support.sockets import SOON

TEXTS = ["a", "b", "c"]
REQUESTS = 2  # to embed TEXTS
THEIRS = {"x-theirs": "yes", "authorization": "Bearer theirs", "user-agent": "theirs"}


class Library:
    """A library of HTTP clients."""

    def __init__(self, sync: Callable[..., Any], tasks: Callable[..., Any]) -> None:
        self.make = {"sync": sync, "async": tasks}


LIBRARIES = {
    "httpx": Library(httpx.Client, httpx.AsyncClient),
    "httpx2": Library(httpx2.Client, httpx2.AsyncClient),
    "minimal": Library(Minimal, MinimalAsync),
}
KINDS = {"sync": "http_client", "async": "async_http_client"}


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]


def with_client(
    name: Package, mode: Mode, base_url: str, make: Callable[[], Any], **options: Any
) -> tuple[Any, list[Any]]:
    """Embed TEXTS twice with a client of the user; return the client and the results."""

    async def use() -> None:
        client = make()
        used.append(client)
        entry_point = connected(name, mode, base_url, **{KINDS[mode]: client}, **options)
        call, call_async = calls_of(entry_point.embedder)
        try:
            for _ in range(2):
                found.append(await call_async(TEXTS) if mode == "async" else call(TEXTS))
                await entry_point.client.aclose()
                assert not client.is_closed
            del entry_point, call, call_async
            await asyncio.sleep(0.01)
            assert not client.is_closed
        finally:
            await client.aclose() if mode == "async" else client.close()

    used: list[Any] = []
    found: list[Any] = []
    asyncio.run(use())
    return used[0], found


def test_a_users_client_gets_our_headers_and_stays_open(
    package: Package, mode: Mode, library: Library
) -> None:
    with serving() as (server, base_url):
        client, found = with_client(
            package, mode, base_url, lambda: library.make[mode](headers=THEIRS), timeout=7
        )
    assert len(found) == 2
    assert len(server.requests) == 2 * REQUESTS
    for request in server.requests:
        assert request.headers["x-theirs"] == "yes"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("aimlapi-embeddings/")
    if isinstance(client, Minimal):
        assert client.asked == [{"timeout": 7.0, "follow_redirects": False}] * 2 * REQUESTS


@pytest.mark.parametrize("library", sorted(LIBRARIES.keys() - {"minimal"}), indirect=True)
def test_our_timeout_and_redirect_settings_override_those_of_a_users_client(
    mode: Mode, library: Library
) -> None:
    def make() -> Any:
        return library.make[mode](timeout=0.001, follow_redirects=True)

    with serving() as (target, target_url):
        away = Fault(307, {"location": f"{target_url}/v1/embeddings"}, delay=0.1)
        with (
            serving(faults=[away] * REQUESTS) as (_, base_url),
            pytest.raises(AIMLAPIError, match="Redirects are not followed"),
        ):
            with_client("core", mode, base_url, make, timeout=SOON)
    assert target.requests == []


@pytest.mark.parametrize("library", sorted(LIBRARIES.keys() - {"minimal"}), indirect=True)
def test_a_users_client_keeps_its_timeout_unless_one_is_given(mode: Mode, library: Library) -> None:
    with (
        serving(faults=[Fault(delay=SOON)]) as (_, base_url),
        pytest.raises(APITimeoutError),
    ):
        with_client("core", mode, base_url, lambda: library.make[mode](timeout=0.05), max_retries=0)


def test_a_users_client_of_the_other_mode_is_not_used_but_a_warning_is_given(
    mode: Mode, library: Library
) -> None:
    other: Mode = "async" if mode == "sync" else "sync"
    with serving() as (server, base_url):
        entry_point = connected(
            "core", mode, base_url, **{KINDS[other]: library.make[other](headers=THEIRS)}
        )
        with pytest.warns(UserWarning, match=f"Pass {KINDS[mode]} too"):
            entry_point.documents(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == REQUESTS
    assert "x-theirs" not in server.requests[0].headers


def test_a_failure_to_connect_of_a_users_client_is_a_connection_error(
    package: Package, mode: Mode, library: Library
) -> None:
    with pytest.raises(APIConnectionError, match="check base_url") as caught:
        with_client(
            package,
            mode,
            "http://127.0.0.1:9",
            lambda: library.make[mode](headers=THEIRS),
            max_retries=0,
        )
    assert type(caught.value) is APIConnectionError
    assert caught.value.__cause__ is not None


def test_a_timeout_of_a_users_client_is_a_timeout_error(mode: Mode, library: Library) -> None:
    with (
        serving(faults=[Fault(hang=True)] * REQUESTS) as (server, base_url),
        pytest.raises(APITimeoutError, match=r"within 0.2 s"),
    ):
        with_client(
            "core",
            mode,
            base_url,
            lambda: library.make[mode](headers=THEIRS),
            max_retries=0,
            timeout=0.2,
        )
    assert 1 <= len(server.requests) <= REQUESTS


class Broken(Minimal):
    """A client with a bug."""

    def post(self, url: str, **options: Any) -> Any:  # type: ignore[override]
        return {}["bug"]


def test_a_bug_in_a_users_client_keeps_its_traceback_without_the_key() -> None:
    with pytest.raises(KeyError, match="bug") as caught:
        with_client("core", "sync", "http://127.0.0.1:9", lambda: Broken({}))
    assert caught.traceback[-1].name == "post"
    assert caught.traceback[-1].path.name == "test_http_clients.py"
    shown = repr(caught.traceback[-1].frame.f_locals)
    assert "'headers': {" in shown
    assert KEY not in shown, "`auth` adds the key last, so it is in no argument before"


def raising(mode: Mode, *, reads: bool) -> dict[str, list[Any]]:
    """Hooks as many people give their clients."""

    def hook(response: Any) -> None:
        if reads:
            response.read()
        response.raise_for_status()

    async def hook_async(response: Any) -> None:
        if reads:
            await response.aread()
        response.raise_for_status()

    return {"response": [hook_async if mode == "async" else hook]}


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("library", sorted(LIBRARIES.keys() - {"minimal"}), indirect=True)
def test_a_status_that_a_hook_of_the_client_refuses_is_read_like_any_other(
    package: Package, mode: Mode, library: Library, reads: bool
) -> None:
    def make() -> Any:
        return library.make[mode](event_hooks=raising(mode, reads=reads))

    faults = [Fault(503), Fault(429, retry_after="0"), Fault(401)]
    with (
        serving(faults=faults) as (server, base_url),
        pytest.raises(AuthenticationError, match="Check api_key") as caught,
    ):
        with_client(package, mode, base_url, make, max_concurrency=1)
    assert len(server.requests) == 3
    assert bool(caught.value.message) is reads
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize("library", sorted(LIBRARIES.keys() - {"minimal"}), indirect=True)
def test_a_closed_client_is_named_and_nothing_is_counted(mode: Mode, library: Library) -> None:
    client = library.make[mode]()
    asyncio.run(client.aclose()) if mode == "async" else client.close()
    with serving() as (server, base_url):
        entry_point = connected("core", mode, base_url, **{KINDS[mode]: client})
        with pytest.raises(APIConnectionError, match="that was given is closed") as caught:
            entry_point.documents(TEXTS)
        assert caught.value.permanent
        assert entry_point.client.usage.requests == 0
        entry_point.client.close()
    assert server.requests == []


class OfAnotherLoop(MinimalAsync):
    """A client that sends over a connection of a loop that is closed, and cannot read the reply."""

    async def post(self, *args: Any, **options: Any) -> Any:
        await super().post(*args, **options)
        raise RuntimeError("Event loop is closed")


def test_an_async_client_of_another_event_loop_is_named_and_what_it_sent_is_counted() -> None:
    with serving() as (server, base_url):
        entry_point = connected("core", "async", base_url, async_http_client=OfAnotherLoop({}))
        with pytest.raises(APIConnectionError, match="used in another event loop"):
            entry_point.query("q")
        assert entry_point.client.usage.requests == 1
    assert len(server.requests) == 1


class LikeRequests:
    """A client of the shape of requests and aiohttp."""

    def post(self, url: str, data: Any = None, json: Any = None, **options: Any) -> Any: ...


@pytest.mark.parametrize("client", [LikeRequests(), httpx.Client, 5, "no client"])
def test_what_cannot_be_given_a_body_is_refused_before_any_call(
    package: Package, client: Any
) -> None:
    with pytest.raises(ValueError, match=r"is neither an httpx\.Client nor of its shape"):
        connected(package, "sync", "http://127.0.0.1:9", http_client=client)
