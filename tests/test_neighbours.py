"""Laws 10 and 11: proxies, certificates and clients of the user's own are used as they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trustme
from neighbours import Minimal, MinimalAsync, relaying
from scene import embedding
from surfaces import GOOGLE, KEY, Colour, Surface, SurfaceName
from surroundings import connected, serving

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
)
from aimlapi_embeddings.emulator import Emulator, Fault

TEXTS = ["a", "b", "c"]
REQUESTS = 2  # for these texts
ELSEWHERE = "gateway.example"  # no such host: only a proxy can reach it


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests alone say which hosts need no proxy, and which certificates hold."""
    for name in ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """What a server of a private authority encrypts with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", ELSEWHERE).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Iterator[Path]:
    """The authority's own certificate, in a file."""
    with authority.cert_pem.tempfile(dir=str(tmp_path)) as path:
        yield Path(path)


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_from_the_environment_is_used(
    surface_name: SurfaceName, colour: Colour, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as (server, base_url), relaying({ELSEWHERE: base_url}) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        surface = connected(surface_name, colour, f"http://{ELSEWHERE}/v1", allow_http=True)
        assert len(surface.documents(TEXTS)) == len(TEXTS)
        surface.client.close()
    assert len(server.requests) == len(proxy.heads) == REQUESTS
    assert proxy.heads[0].startswith(f"POST http://{ELSEWHERE}/v1/embeddings HTTP/1.1\n")
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_what_is_sent_to_this_machine_is_not_for_a_proxy_to_see(
    surface_name: SurfaceName, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as (server, base_url), relaying({}) as proxy:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        surface = connected(surface_name, colour, base_url)
        surface.documents(TEXTS)
        surface.client.close()
    assert len(server.requests) == REQUESTS
    assert proxy.heads == []


def test_a_proxy_sees_no_key_on_the_way_to_https(
    surface_name: SurfaceName,
    colour: Colour,
    tls: ssl.SSLContext,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        serving() as (server, base_url),
        relaying({"": base_url}, tls) as front,
        relaying({f"{ELSEWHERE}:443": front.url}) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        surface = connected(surface_name, colour, f"https://{ELSEWHERE}")
        assert len(surface.documents(TEXTS)) == len(TEXTS)
        surface.client.close()
    assert len(server.requests) == REQUESTS
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert proxy.heads[0].startswith(f"CONNECT {ELSEWHERE}:443 HTTP/1.1\n")
    assert KEY not in str(proxy.heads)


def test_a_proxy_that_is_away_is_a_connection_error(
    colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    surface = connected("core", colour, f"http://{ELSEWHERE}", allow_http=True, max_retries=0)
    with pytest.raises(APIConnectionError, match="the network and its proxies"):
        surface.query("q")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HTTP_PROXY", "gopher://127.0.0.1:9", "Unknown scheme"),
        ("HTTP_PROXY", "socks5://127.0.0.1:9", "socksio"),
        ("SSL_CERT_FILE", "/nowhere/authority.pem", "No such file"),
        ("SSL_CERT_FILE", __file__, "no certificate"),
    ],
)
def test_an_environment_that_cannot_work_is_an_error_that_names_it(
    colour: Colour, variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    surface = connected("core", colour, f"http://{ELSEWHERE}", allow_http=True)
    with pytest.raises(ConfigurationError, match=f"(?i){said}.*{variable}"):
        surface.query("q")
