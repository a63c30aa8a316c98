"""A TLS connection that can never succeed is tried once, and the error names the remedy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trustme

from aimlapi_embeddings import APIConnectionError
from tests.support.emulator_server import connected
from tests.support.entry_points import Mode, Package

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def trusted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have the client trust the authority."""
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with authority.cert_pem.tempfile(dir=str(tmp_path)) as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield


class Server:
    """Begins TLS with each connection, and answers nothing.

    Attributes:
        connections: How many there were.
    """

    def __init__(self, begin: Callable[[socket.socket], socket.socket]) -> None:
        self.connections = 0
        self._begin = begin
        self._listener = socket.create_server((HERE, 0))
        self.url = f"https://{HERE}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(OSError):
                connection.settimeout(2)
                with self._begin(connection) as begun:
                    begun.recv(1)


@contextmanager
def serving(begin: Callable[[socket.socket], socket.socket]) -> Iterator[Server]:
    server = Server(begin)
    try:
        yield server
    finally:
        server.stop()


def settings(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def with_alert(authority: trustme.CA, alert: ssl.AlertDescription) -> ssl.SSLContext:
    context = settings(authority.issue_cert(HERE))
    context.sni_callback = lambda *_: alert
    return context


def wanting_a_certificate(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = settings(authority.issue_cert(HERE))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    return context


CASES: dict[str, tuple[Callable[[trustme.CA], ssl.SSLContext], str]] = {
    "another host": (lambda ca: settings(ca.issue_cert("other.example")), "not for this IP"),
    "expired": (
        lambda ca: settings(ca.issue_cert(HERE, not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY)),
        "has expired.*clock",
    ),
    "not valid yet": (
        lambda ca: settings(ca.issue_cert(HERE, not_before=NOW + 2 * DAY, not_after=NOW + 9 * DAY)),
        "not valid yet.*clock",
    ),
    "unknown authority": (lambda _: settings(trustme.CA().issue_cert(HERE)), "SSL_CERT_FILE"),
    "wants a certificate, 1.2": (
        partial(wanting_a_certificate, version=ssl.TLSVersion.TLSv1_2),
        "certificate of the client",
    ),
    "name not served": (
        partial(with_alert, alert=ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME),
        "does not serve this name",
    ),
    "no way that both accept": (
        partial(with_alert, alert=ssl.ALERT_DESCRIPTION_PROTOCOL_VERSION),
        "no way of TLS that both accept",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_of_tls_is_not_repeated_and_its_remedy_is_named(
    package: Package, mode: Mode, authority: trustme.CA, case: str
) -> None:
    make, remedy = CASES[case]
    context = make(authority)
    with serving(partial(context.wrap_socket, server_side=True)) as server:
        entry_point = connected(package, mode, server.url)
        with pytest.raises(APIConnectionError, match=remedy) as caught:
            entry_point.query("q")
        entry_point.client.close()
    assert caught.value.permanent
    assert server.connections == 1


def test_https_to_a_server_without_tls_is_not_repeated(mode: Mode) -> None:
    def answer(connection: socket.socket) -> socket.socket:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        return connection

    with serving(answer) as server:
        entry_point = connected("core", mode, server.url)
        with pytest.raises(APIConnectionError, match="does not speak TLS there"):
            entry_point.query("q")
        entry_point.client.close()
    assert server.connections == 1


def test_an_alert_that_may_pass_is_repeated(mode: Mode, authority: trustme.CA) -> None:
    context = with_alert(authority, ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
    with serving(partial(context.wrap_socket, server_side=True)) as server:
        entry_point = connected("core", mode, server.url, max_retries=1)
        with pytest.raises(APIConnectionError, match="2 attempts"):
            entry_point.query("q")
        entry_point.client.close()
    assert server.connections == 2


def test_an_alert_after_the_handshake_is_a_connection_error_of_ours(
    package: Package, mode: Mode, authority: trustme.CA
) -> None:
    """TLS 1.3 refuses a client's certificate when the client has already sent its request."""
    context = wanting_a_certificate(authority, ssl.TLSVersion.TLSv1_3)
    with serving(partial(context.wrap_socket, server_side=True)) as server:
        for _ in range(5):  # what the HTTP client makes of it depends on what arrives first
            entry_point = connected(package, mode, server.url, max_retries=0)
            with pytest.raises(APIConnectionError):
                entry_point.query("q")
            entry_point.client.close()
