"""Where does a request go, and may the key be sent there?"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._errors import ConfigurationError

_PATH = "/embeddings"
# Parts of 63 characters at most (RFC 1035, 2.3.4), none empty; colons are of IPv6.
_HOST = re.compile(r"[\w:%-]{1,63}(?:\.[\w:%-]{1,63})*\.?")
DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint(provider: Provider, base_url: str, *, allow_http: bool) -> str:
    """Put the URL of the endpoint together.

    A base URL of a host alone gets the provider's own path; one that names the endpoint is kept.
    """
    if not isinstance(base_url, str):  # not shown, since it may hold a secret
        raise ConfigurationError(
            f"base_url must be a string, not of type {type(base_url).__name__}; an object that "
            "is a URL can be passed as str(url)."
        )
    try:
        parts = urlsplit(base_url.strip())
        parts.port  # noqa: B018  (raises on a port that is not a number)
    except ValueError:
        parts = urlsplit("")
    shown = _without_secrets(base_url)
    # Of the text and not of its parts, which there are none of when it cannot be read.
    if "@" in re.split("[/?#]", base_url.partition("//")[2], maxsplit=1)[0]:
        raise ConfigurationError("base_url holds a user name or password; pass api_key instead.")
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ConfigurationError(
            f"base_url={shown!r} is not an http(s) URL; the usual one is {provider.base_url!r}."
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.geturl()):
        raise ConfigurationError(
            f"base_url={shown!r} would send the API key unencrypted to another machine. Use "
            "https, or allow it by name with allow_http=True."
        )
    path = parts.path.rstrip("/") or urlsplit(provider.base_url).path
    if not path.endswith(_PATH):
        path += _PATH
    return parts._replace(path=path, fragment="").geturl()


def shown_url(url: str) -> str:
    """Return a URL without its query string, which may hold a secret, for errors and `repr`."""
    return re.split("[?#]", url, maxsplit=1)[0]


def _without_secrets(url: str) -> str:
    """Leave out what may be secret in something that was given as a URL and may not be one."""
    return re.sub(r"^(\w+:/*)?.*@", r"\1", shown_url(url))


def location(url: str) -> str:
    """Write a valid URL in one spelling: no query, the host in lower case, no default port."""
    parts = urlsplit(shown_url(url))
    host = parts.netloc.lower().removesuffix(f":{DEFAULT_PORTS[parts.scheme]}")
    return parts._replace(netloc=host).geturl()


def base_of(provider: Provider, url: str) -> str:
    """Return the shortest base URL that leads to an endpoint, in one spelling."""
    whole = location(url)
    short = whole.removesuffix(_PATH)
    return short if endpoint(provider, short, allow_http=True) == whole else whole


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
