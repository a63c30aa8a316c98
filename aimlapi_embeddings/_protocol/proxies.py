"""Which proxy of the environment do requests to a URL go through?

httpx knows the variables too. But it cannot be built where NO_PROXY has a network of IPv6, as
Docker Desktop writes it (https://github.com/encode/httpx/issues/3221), and what it understands of
networks of IPv4, of ports and of stars matches nothing.
"""

from __future__ import annotations

import re
import urllib.request
from contextlib import suppress
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from aimlapi_embeddings._protocol.endpoint import DEFAULT_PORTS, is_loopback


def proxy_for(url: str) -> str | None:
    """Return the URL of a proxy, or None where requests go straight, as those to this machine do.

    It is that of the URL's scheme, else of ALL_PROXY. NO_PROXY lists what goes straight: names,
    which stand for those below them too; `.name` or `*.name`, for those below it alone; addresses;
    networks, such as `10.0.0.0/8`; `*`, for everything. A `scheme://` in front or a `:port` behind
    limits an entry.
    """
    proxies, parts = urllib.request.getproxies(), urlsplit(url)
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    straight = re.split(r"[\s,]+", proxies.get("no", "").lower())
    if not proxy or is_loopback(url) or any(_covers(entry, parts) for entry in straight):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _covers(entry: str, url: SplitResult) -> bool:
    """Tell whether an entry of NO_PROXY is for a URL."""
    scheme, _, name = entry.rpartition("://")
    port = ""
    if found := re.fullmatch(r"(\[[^]]*\]|[^:]*):(\d+)", name):
        name, port = found.groups()
    if scheme not in ("", "all", url.scheme):
        return False
    if port not in ("", str(url.port or DEFAULT_PORTS[url.scheme])):
        return False
    host, name = (url.hostname or "").rstrip("."), re.sub(r"[\[\]]", "", name)
    with suppress(ValueError):  # one of them is a name
        return ip_address(host) in ip_network(name, strict=False)
    if name == "*":
        return True
    name = name.removeprefix("*").rstrip(".")
    below = name if name.startswith(".") else f".{name}"
    return name != "" and (host == name or host.endswith(below))
