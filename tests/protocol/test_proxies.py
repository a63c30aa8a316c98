"""Proxies and certificates of the environment are used; redirects are not followed."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trustme

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    ConfigurationError,
    NotFoundError,
)
from aimlapi_embeddings._protocol.proxies import proxy_for
from aimlapi_embeddings.emulator import Fault
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import KEY, Mode, Package
from tests.support.proxies import relaying

TEXTS = ["a", "b", "c"]
REQUESTS = 2  # to embed TEXTS
ELSEWHERE = "gateway.example"  # a host that does not exist, so that only a proxy reaches it


@pytest.fixture(autouse=True)
def no_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove NO_PROXY and the certificate variables of this machine."""
    for name in ("NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """TLS settings of a server with a certificate of a private authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", ELSEWHERE).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Iterator[Path]:
    """File with the certificate of the private authority."""
    with authority.cert_pem.tempfile(dir=str(tmp_path)) as path:
        yield Path(path)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_from_the_environment_is_used(
    package: Package, mode: Mode, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as (server, base_url), relaying({ELSEWHERE: base_url}) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        entry_point = connected(package, mode, f"http://{ELSEWHERE}/v1", allow_http=True)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == len(proxy.heads) == REQUESTS
    assert proxy.heads[0].startswith(f"POST http://{ELSEWHERE}/v1/embeddings HTTP/1.1\n")
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_requests_to_this_machine_bypass_the_proxy(
    package: Package, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as (server, base_url), relaying({}) as proxy:
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(variable, proxy.url)
        entry_point = connected(package, mode, base_url)
        entry_point.documents(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == REQUESTS
    assert proxy.heads == []


DOCKER = "localhost,127.0.0.0/8,::1/128"  # as Docker Desktop and OrbStack write it


def test_a_network_of_ipv6_among_the_exceptions_leaves_the_proxy(
    package: Package, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as (server, base_url), relaying({ELSEWHERE: base_url}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", DOCKER)
        entry_point = connected(package, mode, f"http://{ELSEWHERE}/v1", allow_http=True)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == len(proxy.heads) == REQUESTS


def test_what_no_proxy_names_goes_straight(
    package: Package, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with relaying({}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", f"{DOCKER},*.example")
        entry_point = connected(
            package, mode, f"http://{ELSEWHERE}", allow_http=True, max_retries=0
        )
        with pytest.raises(APIConnectionError, match="the host name does not exist"):
            entry_point.query("q")
        entry_point.client.close()
    assert proxy.heads == []


NAME = "https://api.corp.example/v1/embeddings"
ADDRESS = "https://10.1.2.3/v1/embeddings"
IPV6 = "https://[fd00::5]:8443/v1/embeddings"


@pytest.mark.parametrize(
    ("exceptions", "url", "straight"),
    [
        ("", NAME, False),
        (" , ,", NAME, False),
        ("*", NAME, True),
        ("other.example, *", NAME, True),
        ("api.corp.example", NAME, True),
        ("API.Corp.Example", NAME, True),
        ("api.corp.example.", NAME, True),
        ("corp.example", NAME, True),
        (".corp.example", NAME, True),
        ("*.corp.example", NAME, True),
        ("*corp.example", NAME, True),
        ("localhost corp.example", NAME, True),
        ("orp.example", NAME, False),
        (".api.corp.example", NAME, False),
        ("*.api.corp.example", NAME, False),
        ("api.corp", NAME, False),
        (".", NAME, False),
        ("corp.example:443", NAME, True),
        ("corp.example:8443", NAME, False),
        ("https://corp.example", NAME, True),
        ("all://corp.example", NAME, True),
        ("http://corp.example", NAME, False),
        ("10.0.0.0/8", NAME, False),
        ("10.0.0.0/8", ADDRESS, True),
        ("10.1.2.3", ADDRESS, True),
        ("10.1.2.3:443", ADDRESS, True),
        ("10.1.2.3:80", ADDRESS, False),
        ("10.1.2.7/24", ADDRESS, True),
        ("192.168.0.0/16,fd00::/8", ADDRESS, False),
        ("fd00::/8", IPV6, True),
        ("fd00::5", IPV6, True),
        ("FD00:0::5", IPV6, True),
        ("[fd00::5]", IPV6, True),
        ("[fd00::]/8", IPV6, True),
        ("[fd00::5]:8443", IPV6, True),
        ("[fd00::5]:443", IPV6, False),
        ("10.0.0.0/8,::1/128", IPV6, False),
        ("10.0.0.0/99,::::,[,]:5,://,:5,/", NAME, False),
        ("localhost", "https://127.0.0.1/v1/embeddings", True),
    ],
)
def test_no_proxy_names_hosts_addresses_and_networks(
    exceptions: str, url: str, straight: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.corp.example:3128")
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert proxy_for(url) == (None if straight else "http://proxy.corp.example:3128")


def test_the_proxy_of_the_scheme_comes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    assert proxy_for(NAME) == "socks5://proxy:1080"
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    assert proxy_for(NAME) == "socks5://proxy:1080"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_for(NAME) == "http://proxy:3128"
    assert proxy_for("http://localhost:8000/v1/embeddings") is None


def test_a_proxy_for_https_does_not_see_the_key(
    package: Package,
    mode: Mode,
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
        entry_point = connected(package, mode, f"https://{ELSEWHERE}")
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == REQUESTS
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert proxy.heads[0].startswith(f"CONNECT {ELSEWHERE}:443 HTTP/1.1\n")
    assert KEY not in str(proxy.heads)


def test_a_proxy_that_does_not_listen_is_a_connection_error(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    entry_point = connected("core", mode, f"http://{ELSEWHERE}", allow_http=True, max_retries=0)
    with pytest.raises(APIConnectionError, match="the network and its proxies"):
        entry_point.query("q")


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers each CONNECT with a status; gives its URL, and what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.requestline)
            self.send_response_only(status)
            self.end_headers()

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://me:hunter2@127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "attempts"),
    [(407, 1), (403, 1), (401, 1), (404, 1), (405, 1), (302, 1), (429, 2), (502, 2), (503, 2)],
)
def test_a_refusal_of_a_proxy_is_repeated_only_where_it_may_pass(
    mode: Mode, status: int, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status) as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url)
        entry_point = connected("core", mode, f"https://{ELSEWHERE}", max_retries=1)
        with pytest.raises(APIConnectionError, match=f"ProxyError: {status}") as caught:
            entry_point.query("q")
        entry_point.client.close()
    assert len(asked) == attempts
    assert ("the proxy refuses the connection" in str(caught.value)) is (attempts == 1)
    assert "hunter2" not in str(caught.value)


def test_a_host_that_no_url_can_have_is_said_to_be_one_of_base_url(mode: Mode) -> None:
    entry_point = connected("core", mode, "https://xn--zzzzzz.invalid")
    with pytest.raises(ConfigurationError, match="base_url is not a URL that HTTP can use"):
        entry_point.query("q")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HTTP_PROXY", "gopher://127.0.0.1:9", "Unknown scheme"),
        ("HTTP_PROXY", "socks5://127.0.0.1:9", "socksio"),
        ("SSL_CERT_FILE", "/nowhere/authority.pem", "No such file"),
        ("SSL_CERT_FILE", __file__, "no certificate"),
        ("SSLKEYLOGFILE", "/nowhere/keys", "No such file"),
        ("all_proxy", "gopher://127.0.0.1:9", "Unknown scheme"),
    ],
)
def test_an_invalid_variable_of_the_environment_is_named_by_the_error(
    mode: Mode, variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    entry_point = connected("core", mode, f"http://{ELSEWHERE}", allow_http=True)
    with pytest.raises(ConfigurationError, match=rf"{said}.*environment: {variable}\.$"):
        entry_point.query("q")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_nothing_is_sent_to_its_target(
    package: Package, mode: Mode, status: int
) -> None:
    with serving() as (target, target_url):
        away = Fault(status, {"location": f"{target_url}/v1/embeddings"})
        with serving(faults=[away]) as (server, base_url):
            entry_point = connected(package, mode, base_url)
            with pytest.raises(AIMLAPIError, match="Redirects are not followed") as caught:
                entry_point.query("q")
            entry_point.client.close()
    assert target_url in str(caught.value)
    assert (len(server.requests), len(target.requests)) == (1, 0)


@pytest.mark.parametrize(
    ("added", "path"),
    [
        ("", "/v1/embeddings"),
        ("/", "/v1/embeddings"),
        ("/v1", "/v1/embeddings"),
        ("/v1/", "/v1/embeddings"),
        ("/v1/embeddings", "/v1/embeddings"),
        ("/v1/embeddings/", "/v1/embeddings"),
        ("?tenant=a%20b", "/v1/embeddings?tenant=a%20b"),
        ("/v1?tenant=a&tenant=b", "/v1/embeddings?tenant=a&tenant=b"),
        ("/v1/?x=/y/", "/v1/embeddings?x=/y/"),
        ("/team%2Fone/api", "/team%2Fone/api/embeddings"),
        ("/a b", "/a%20b/embeddings"),
        ("/v1#part", "/v1/embeddings"),
    ],
)
def test_path_and_query_of_the_base_url_reach_the_server(mode: Mode, added: str, path: str) -> None:
    with serving() as (server, base_url):
        entry_point = connected("core", mode, base_url + added)
        with suppress(NotFoundError):  # the emulator serves one path
            entry_point.query("q")
        entry_point.client.close()
    assert [request.path for request in server.requests] == [path]


# Certificates


def test_ssl_cert_file_makes_a_private_authority_trusted(
    package: Package,
    mode: Mode,
    tls: ssl.SSLContext,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with serving() as (server, base_url), relaying({"": base_url}, tls) as front:
        entry_point = connected(package, mode, front.url)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == REQUESTS


def test_a_certificate_of_an_unknown_authority_is_refused(
    package: Package, mode: Mode, tls: ssl.SSLContext
) -> None:
    with serving() as (server, base_url), relaying({"": base_url}, tls) as front:
        entry_point = connected(package, mode, front.url, max_retries=0)
        with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            entry_point.query("q")
        entry_point.client.close()
    assert server.requests == []


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_users_client_brings_its_own_trusted_authority(
    mode: Mode, library: Any, tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def use() -> None:
        with library.Client(verify=context) as client:
            async with library.AsyncClient(verify=context) as async_client:
                entry_point = connected(
                    "core", mode, front.url, http_client=client, async_http_client=async_client
                )
                call, call_async = calls_of(entry_point.embedder)
                assert await call_async(TEXTS) if mode == "async" else call(TEXTS)

    with serving() as (server, base_url), relaying({"": base_url}, tls) as front:
        asyncio.run(use())
    assert len(server.requests) == REQUESTS
