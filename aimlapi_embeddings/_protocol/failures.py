"""Why is there no reply, can repeating help, and what can the user do about it?

HTTP clients of the user's own may be of httpx or of another library of its shape, so exceptions are
told apart by their names.
"""

from __future__ import annotations

import errno
import re
import signal
import socket
import ssl
import traceback
from collections.abc import Iterator
from types import CodeType
from typing import Any

from aimlapi_embeddings._errors import (
    AIMLAPIError,
    APIConnectionError,
    APITimeoutError,
    ReplyError,
)
from aimlapi_embeddings._protocol.attempt import Attempt, IdleConnectionClosed

_LATE = frozenset(("TimeoutException", "TimeoutError"))
# The last two where the HTTP client lets one through: httpx does with an alert that TLS 1.3 brings
# after the handshake.
_LOST = frozenset(("RequestError", "ConnectionError", "SSLError", "gaierror"))
# After these nothing was sent.
_NOT_SENT = frozenset(("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"))
# What a client of the user's own says when it cannot be used at all; and whether it may have sent.
_UNUSABLE = (
    (
        r"(?i)(?:client|session) (?:has been|is) closed",
        "the HTTP client that was given is closed; make a new one, or leave it out",
        False,
    ),
    (
        r"(?i)event loop|different loop",
        "the HTTP client that was given was used in another event loop, to which its connections "
        "belong; make one for each loop, or leave it out",
        True,
    ),
)
# A proxy's answer to CONNECT, but for those that may be another one the next time.
_REFUSED_BY_PROXY = "ProxyError: (?!408|425|429)[34]"
_NO_SUCH_HOST = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}
# Why a certificate is refused, by OpenSSL's number: openssl/x509_vfy.h, X509_V_ERR_*.
_REFUSED_CERTIFICATES: dict[int | None, str] = {
    9: "the certificate of the server is not valid yet; check the clock of this machine",
    10: "the certificate of the server has expired, or the clock of this machine is wrong; check "
    "the clock, and tell the operator of the server",
    62: "the certificate of the server is for another host name; check base_url, or the proxies "
    "in between",
    64: "the certificate of the server is not for this IP address; use the host name that it is "
    "for as base_url",
}
_NOT_TRUSTED = (
    "the certificate of the server is not trusted; set SSL_CERT_FILE to the file of its "
    "certificate authority (REQUESTS_CA_BUNDLE is not read)"
)
# What TLS says where it can never succeed, by OpenSSL's names. Another alert, or an end without
# one, may pass.
_REFUSED_TLS = (
    (
        "WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE",
        "the server does not speak TLS there; check the port and the https:// of base_url, or the "
        "https:// of the proxy's own URL",
    ),
    (
        (
            "CERTIFICATE_REQUIRED|ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_|ACCESS_DENIED|"
            "UNSUPPORTED_CERTIFICATE)"
        ),
        "the server wants a certificate of the client, or refuses the one it got; pass an "
        "http_client and an async_http_client that have a valid one",
    ),
    (
        (
            "ALERT_(?:HANDSHAKE_FAILURE|PROTOCOL_VERSION|INSUFFICIENT_SECURITY)|UNRECOGNIZED_NAME|"
            "UNSUPPORTED_PROTOCOL|NO_(?:SHARED_CIPHER|PROTOCOLS_AVAILABLE)"
        ),
        "client and server find no way of TLS that both accept, or the server does not serve this "
        "name, or wants a certificate of the client; check base_url and the proxies in between, or "
        "pass an http_client and an async_http_client with TLS settings of their own",
    ),
)


# What to do about a state of this machine, which may pass, by the system's number.
_PASSING: dict[int | None, str] = {
    errno.EMFILE: "this process has as many files and connections open as it may; raise its limit "
    "(ulimit -n), or lower max_concurrency",
    errno.ENFILE: "this machine has as many files and connections open as it may; raise its limit, "
    "or lower max_concurrency",
    errno.EADDRNOTAVAIL: "this machine has no local port left, or the address of base_url is of no "
    "network that it has; use one client for all calls, or check base_url",
}


def known_failure(
    error: BaseException,
    handled: BaseException | None,
    attempt: Attempt,
    *,
    url: str,
    seconds: float | None,
    own: bool,
) -> AIMLAPIError | None:
    """Make our error of a failure to get a reply; None for all others, which are not ours.

    A bug in a client of the user's own keeps its frames. All others lose those of the HTTP
    library, which hold the key; Ctrl-C and cancellation need none.

    Args:
        error: What the HTTP client raised.
        handled: What the caller was handling before; it keeps its frames.
        attempt: How far the request came.
        url: As it may be shown.
        seconds: Of the timeout, where it is known.
        own: Whether the HTTP client is of the user's own.

    Raises:
        BaseException: What a signal handler raised meanwhile.
    """
    if isinstance(error, AIMLAPIError):
        return None
    kinds = {kind.__name__ for kind in type(error).__mro__}
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    late = attempt.expired or not kinds.isdisjoint(_LATE)
    if late and (raised := _of_a_signal_handler(error)) is not None:
        _forget_request(error, handled)
        raise raised from None
    unusable = _unusable(error) if own else None
    known = late or unusable is not None or not kinds.isdisjoint(_LOST)
    if known or not isinstance(error, Exception):
        _forget_request(error, handled)
    if not known:
        return None
    if "DecodingError" in kinds:
        return ReplyError(
            f"the reply cannot be decompressed ({what}): its body is not what its content-encoding "
            "says. Ask the provider, or look at the proxies in between."
        )
    sent = attempt.sent and kinds.isdisjoint(_NOT_SENT)
    failure: APIConnectionError
    if unusable is not None:
        remedy, may_be_sent = unusable
        failure = APIConnectionError(f"no reply from {url} ({what}); {remedy}.")
        failure.permanent, sent = True, sent and may_be_sent
    elif late:
        within = "in time" if seconds is None else f"within {seconds:g} s"
        failure = APITimeoutError(
            f"no reply from {url} {within} ({what}); raise timeout, or lower batch_size."
        )
    elif attempt.reused and not attempt.answered:
        failure = IdleConnectionClosed(what)
    else:
        cure = _remedy(error, what)
        system = _of_the_system(error, handled)
        if system is not None and str(system) not in what:  # async libraries leave it out
            what = f"{what}, {type(system).__name__}: {system}"
        passing = _PASSING.get(system.errno) if system is not None else None
        failure = APIConnectionError(
            f"no reply from {url} ({what}); "
            f"{cure or passing or 'check base_url, the network and its proxies'}."
        )
        failure.permanent = cure is not None
    failure.sent = sent
    return failure


def _of_the_system(error: BaseException, until: BaseException | None) -> OSError | None:
    """Find what the operating system said; of several addresses, about the last one."""
    for link in _chain(error):
        if link is until:
            break
        parts = link.exceptions if isinstance(link, BaseExceptionGroup) else (link,)
        for part in reversed(parts):
            if isinstance(part, OSError) and part.errno is not None:
                return part
    return None


def _unusable(error: BaseException) -> tuple[str, bool] | None:
    """Say why a client of the user's own cannot be used, and whether it may have sent something."""
    if type(error) is RuntimeError:
        for pattern, remedy, may_be_sent in _UNUSABLE:
            if re.search(pattern, str(error)):
                return remedy, may_be_sent
    return None


def _of_a_signal_handler(error: BaseException) -> BaseException | None:
    """Find what a signal handler of the program raised while a request was waited for.

    `signal.alarm` with a handler that raises TimeoutError is a common bound on a call. HTTP clients
    take that error for one of the socket, and it would be repeated.
    """
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()}
    for link in _chain(error):
        frames = traceback.walk_tb(link.__traceback__)
        if any(frame.f_code in handlers for frame, _ in frames):
            return link
    return None


def _code_of(handler: Any) -> CodeType | None:
    handler = getattr(handler, "__func__", getattr(handler, "func", handler))  # method, partial
    code = getattr(handler, "__code__", None)
    return code if isinstance(code, CodeType) else None


def _remedy(error: BaseException, what: str) -> str | None:
    """Say what to do about a connection that can never succeed; None where it may the next time."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return _REFUSED_CERTIFICATES.get(getattr(link, "verify_code", None), _NOT_TRUSTED)
        if isinstance(link, ssl.SSLError):
            for pattern, remedy in _REFUSED_TLS:
                if re.search(pattern, str(getattr(link, "reason", ""))):
                    return remedy
        if isinstance(link, socket.gaierror) and link.errno in _NO_SUCH_HOST:
            return "the host name was not found; check the network, base_url, and the proxy's name"
    if re.match(_REFUSED_BY_PROXY, what):
        return (
            "the proxy refuses the connection; check the user name and password in HTTPS_PROXY or "
            "ALL_PROXY, or name the host in NO_PROXY"
        )
    return None


def _forget_request(error: BaseException, until: BaseException | None) -> None:
    """Drop what holds a request with its key: an HTTP library's frames, and the request itself."""
    for link in _chain(error):
        if link is until:
            return
        link.__traceback__ = None
        if "_request" in vars(link):  # httpx's errors have one
            vars(link)["_request"] = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Follow causes, each once: a chain can be a circle."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
