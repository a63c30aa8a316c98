"""An HTTP client that the user passes is used unchanged, and we do not close it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest

from aimlapi_embeddings import AIMLAPIError, APIConnectionError, APITimeoutError
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
