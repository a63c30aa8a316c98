"""The URL of the endpoint for a base URL, and whether the key may be sent there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.endpoint import endpoint, is_loopback, shown_url

AIMLAPI, NUGEN = PROVIDERS["aimlapi"], PROVIDERS["nugen"]


def refused(base_url: Any, *, allow_http: bool = True) -> str:
    """Return the message of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        endpoint(AIMLAPI, base_url, allow_http=allow_http)
    return str(caught.value)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.aimlapi.com/v1", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/embeddings", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/embeddings/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v2", "https://api.aimlapi.com/v2/embeddings"),
        ("https://api.aimlapi.com", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://proxy:8443?tenant=7", "https://proxy:8443/v1/embeddings?tenant=7"),
        ("https://proxy?team=a@b", "https://proxy/v1/embeddings?team=a@b"),
        ("https://proxy/v1?team=a@b", "https://proxy/v1/embeddings?team=a@b"),
        ("https://proxy#a@b", "https://proxy/v1/embeddings"),
        ("https://proxy/a@b", "https://proxy/a@b/embeddings"),
        ("https://proxy/ai/v1?a=1&b=2", "https://proxy/ai/v1/embeddings?a=1&b=2"),
        ("https://proxy/v1/embeddings?a=1#top", "https://proxy/v1/embeddings?a=1"),
        ("https://proxy/my-embeddings", "https://proxy/my-embeddings/embeddings"),
        ("HTTPS://PROXY/V1", "https://PROXY/V1/embeddings"),
        ("https://[2001:db8::1]:8443/v1", "https://[2001:db8::1]:8443/v1/embeddings"),
        ("https://bücher.example/v1", "https://bücher.example/v1/embeddings"),
    ],
)
def test_the_endpoint_is_appended_to_the_path_of_the_base_url(base_url: str, url: str) -> None:
    assert endpoint(AIMLAPI, base_url, allow_http=False) == url


@pytest.mark.parametrize(
    "base_url", [" https://h/v1", "https://h ", "https://h/v1 ", "\thttps://h/v1/ \n"]
)
def test_whitespace_around_a_base_url_is_ignored(base_url: str) -> None:
    assert endpoint(AIMLAPI, base_url, allow_http=False) == "https://h/v1/embeddings"
    here = base_url.replace("https://h", "http://localhost")
    assert endpoint(AIMLAPI, here, allow_http=False) == "http://localhost/v1/embeddings"


def test_a_base_url_without_a_path_gets_the_path_of_its_provider() -> None:
    url = endpoint(NUGEN, "https://api.nugen.in", allow_http=False)
    assert url == "https://api.nugen.in/api/v3/inference/embeddings"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost:80",
        "a.localhost",
        "127.0.0.1:8000",
        "127.9.9.9",
        "[::1]:8000",
    ],
)
def test_http_to_this_machine_is_allowed(host: str) -> None:
    assert endpoint(AIMLAPI, f"http://{host}", allow_http=False) == f"http://{host}/v1/embeddings"


@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "0.0.0.0", "[2001:db8::1]", "localhost.example.com"]
)
def test_http_to_another_machine_needs_allow_http(host: str) -> None:
    said = refused(f"http://{host}/v1", allow_http=False)
    assert said.endswith("Use https, or allow it by name with allow_http=True.")
    url = endpoint(AIMLAPI, f"http://{host}/v1", allow_http=True)
    assert url == f"http://{host}/v1/embeddings"


@pytest.mark.parametrize(
    "base_url",
    ["https://me:hunter2@h/v1", "http://me:hunter2@h", "https://hunter2@h", "https://:hunter2@h",
     "ftp://me:hunter2@h", "https://me:hunter2@h:port"],
)  # fmt: skip
def test_credentials_in_the_base_url_are_refused_and_not_repeated(base_url: str) -> None:
    said = refused(base_url)
    assert "pass api_key instead" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "base_url",
    ["", " ", "api.aimlapi.com", "api.aimlapi.com/v1", "/v1", "ftp://h/v1", "https://", "https:///v1",
     "https://:443", "https://h:port", "https://h:99999", "https://[::1", "https://a b/v1",
     "https://h\\v1", "https://?x=1", "https://api..h/v1", "https://.h/v1",
     f"https://{'h' * 64}/v1", "https://h../v1"],
)  # fmt: skip
def test_an_invalid_base_url_is_refused_with_the_default_one(base_url: str) -> None:
    said = refused(base_url)
    assert said.endswith("is not an http(s) URL; the usual one is 'https://api.aimlapi.com/v1'.")


@pytest.mark.parametrize(
    "base_url", [5, None, b"https://h/v1?key=hunter2", httpx.URL("https://h/v1?key=hunter2")]
)
def test_a_base_url_that_is_no_string_is_refused_and_not_shown(base_url: Any) -> None:
    said = refused(base_url)
    assert said.startswith(f"base_url must be a string, not of type {type(base_url).__name__};")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "base_url", ["ftp://h/v1?key=hunter2", "h?key=hunter2", "http://example.com/v1?key=hunter2"]
)
def test_the_message_does_not_show_the_query_of_a_base_url(base_url: str) -> None:
    said = refused(base_url, allow_http=False)
    assert base_url.partition("?")[0] in said
    assert "hunter2" not in said


def test_a_url_is_shown_without_its_query() -> None:
    assert shown_url("https://h/v1/embeddings?key=hunter2&a=?") == "https://h/v1/embeddings"
    assert shown_url("https://h/v1") == "https://h/v1"


BASE_URLS = st.builds(
    "https://{}{}{}{}".format,
    st.from_regex(r"[a-z][a-z0-9-]{0,9}(\.[a-z]{2,5})?", fullmatch=True),
    st.sampled_from(["", ":1", ":8443"]),
    st.from_regex(r"(/[a-z0-9~.-]{1,8}){0,3}/?", fullmatch=True),
    st.from_regex(r"(\?[a-z0-9=&%/]{1,12})?", fullmatch=True),
)


@given(BASE_URLS)
def test_host_path_and_query_of_a_base_url_are_kept(base_url: str) -> None:
    before, after = (urlsplit(u) for u in (base_url, endpoint(AIMLAPI, base_url, allow_http=False)))
    assert (after.scheme, after.netloc, after.query) == ("https", before.netloc, before.query)
    path = before.path.rstrip("/") or "/v1"
    assert after.path == (path if path.endswith("/embeddings") else path + "/embeddings")


@given(BASE_URLS)
def test_an_endpoint_given_as_base_url_is_kept(base_url: str) -> None:
    url = endpoint(AIMLAPI, base_url, allow_http=False)
    assert endpoint(AIMLAPI, url, allow_http=False) == url


@given(st.sampled_from(["", "http://", "https://", "https://["]), st.text(max_size=20))
def test_any_text_gives_a_url_of_a_host_or_is_refused(scheme: str, text: str) -> None:
    try:
        url = urlsplit(endpoint(AIMLAPI, scheme + text, allow_http=True))
    except ConfigurationError:
        return
    assert url.scheme in ("http", "https")
    assert url.hostname
    assert "@" not in url.netloc


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:80/v1", True), ("https://a.localhost", True), ("http://[::1]:5", True),
        ("http://127.0.0.1", True), ("http://10.0.0.1", False), ("", False),
        ("https://api.aimlapi.com/v1", False), ("https://localhost.example", False),
    ],
)  # fmt: skip
def test_loopback_names_and_addresses_are_recognised(url: str, here: bool) -> None:
    assert is_loopback(url) is here
