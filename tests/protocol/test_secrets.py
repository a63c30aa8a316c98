"""The key is sent in the Authorization header to the configured base URL, and shown nowhere."""

from __future__ import annotations

import logging
import pickle
import traceback
from urllib.parse import urlsplit

import httpx
import pytest

from aimlapi_embeddings import AIMLAPIError, AuthenticationError, EmbeddingsClient
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Package

ENVIRONMENTS = [
    ("aimlapi", "AIMLAPI_API_KEY", OPENAI),
    ("nugen", "NUGEN_API_KEY", "qwen3-embedding-8b"),
]


def test_no_headers_but_the_listed_ones_are_sent(
    entry_point: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://foreign.example")
    entry_point.make(OPENAI).documents(["a"])
    (request,) = entry_point.fake_server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["host"] == "api.aimlapi.com"
    assert request.headers["user-agent"].startswith("aimlapi-embeddings/")
    assert set(request.headers) == {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-client-request-id",
    }
    assert KEY not in str({**request.headers, "authorization": ""}) + request.path
    assert KEY.encode() not in request.body


@pytest.mark.parametrize(("provider", "variable", "model"), ENVIRONMENTS)
def test_key_and_base_url_come_from_arguments_else_from_the_providers_own_variables(
    entry_point: EntryPoint,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    variable: str,
    model: str,
) -> None:
    for prefix in ("AIMLAPI", "NUGEN"):
        monkeypatch.setenv(f"{prefix}_API_KEY", f"from {prefix}_API_KEY")
        monkeypatch.setenv(f"{prefix}_API_BASE", f"http://{prefix}.localhost")
    entry_point.make(model, provider=provider, api_key=None).query("q")
    here = "http://127.0.0.1:9"
    entry_point.make(model, provider=provider, api_key="given", base_url=here).query("q")
    sent = [request.headers for request in entry_point.fake_server.requests]
    assert [(headers["host"], headers["authorization"]) for headers in sent] == [
        (f"{provider}.localhost", f"Bearer from {variable}"),
        ("127.0.0.1:9", "Bearer given"),
    ]


@pytest.mark.parametrize(("provider", "variable", "model"), ENVIRONMENTS)
@pytest.mark.parametrize("key", [None, "", "  "])
def test_a_missing_key_is_an_error_that_names_the_variable(
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    variable: str,
    model: str,
    key: str | None,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "foreign")
    with pytest.raises(ValueError, match=f"no API key: set {variable}"):
        EntryPoint(package, "sync", FakeServer()).make_plain(provider, model=model, api_key=key)


NO_KEYS = {
    "double quotes": (f'"{KEY}"', "has quotation marks around it"),
    "single quotes": (f"'{KEY}'", "has quotation marks around it"),
    "a quote that was left over": (f'{KEY}"', "has quotation marks around it"),
    "curly quotes": (f"\u201c{KEY}\u201d", "has quotation marks around it"),
    "backticks": (f"`{KEY}`", "has quotation marks around it"),
    "Bearer": (f"Bearer {KEY}", "begins with 'Bearer', which is added when it is sent"),
    "bearer": (f"bearer  {KEY}", "begins with 'Bearer', which is added when it is sent"),
    "a header": (f"Authorization: Bearer {KEY}", "begins with 'Bearer'"),
    "angle brackets": ("<your-api-key>", "is a placeholder in angle brackets"),
    "a shell variable": ("$AIMLAPI_API_KEY", "is the name of a variable"),
    "a braced variable": ("${AIMLAPI_API_KEY}", "is the name of a variable"),
    "a template": ("{{ api_key }}", "is the name of a variable"),
    "a Windows variable": ("%AIMLAPI_API_KEY%", "is the name of a variable"),
    "a mask": ("**********", "is the mask that stands for a hidden key"),
    "a line break": (f"{KEY}\n", "a blank or line break around it"),
    "a letter that cannot be sent": ("schl\u00fcssel", "has a character that cannot be sent"),
}


@pytest.mark.parametrize("name", NO_KEYS)
@pytest.mark.parametrize("from_environment", [False, True])
def test_an_invalid_key_is_refused_with_the_reason_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, package: Package, name: str, from_environment: bool
) -> None:
    key, why = NO_KEYS[name]
    if from_environment:
        monkeypatch.setenv("AIMLAPI_API_KEY", key)
    given = {} if from_environment else {"api_key": key}
    source = "AIMLAPI_API_KEY" if from_environment else "api_key"
    with pytest.raises(ValueError, match=rf"\b{source} (has|begins|is) ") as caught:
        EntryPoint(package, "sync", FakeServer()).make_plain(model=OPENAI, **given)
    assert why in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["k", "a b", "a-key-with-<>-inside", "bearers-key", "a$b", "a*b"])
def test_a_key_of_unusual_characters_is_sent_unchanged(entry_point: EntryPoint, key: str) -> None:
    entry_point.make(OPENAI, api_key=key).query("q")
    assert entry_point.fake_server.requests[0].headers["authorization"] == f"Bearer {key}"


def test_headers_of_the_user_are_added_to_ours(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, headers={"X-Team": "search", "user-agent": "mine"}).query("q")
    headers = entry_point.fake_server.requests[0].headers
    assert (headers["x-team"], headers["user-agent"]) == ("search", "mine")
    assert headers["authorization"] == f"Bearer {KEY}"


def test_an_authorization_header_of_the_user_is_refused(entry_point: EntryPoint) -> None:
    with pytest.raises(ValueError, match="pass api_key instead"):
        entry_point.make(OPENAI, headers={"authorization": "Bearer other"})


def test_the_key_is_masked_in_a_quoted_message_of_the_server(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(
        Fault(401, body=b'{"message": "Incorrect API key: %s."}' % KEY.encode())
    )
    with pytest.raises(AuthenticationError) as caught:
        entry_point.query("q")
    assert_hidden(caught.value)
    assert "Incorrect API key: **********" in str(caught.value)


def test_neither_errors_nor_logs_show_the_key(
    entry_point: EntryPoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    entry_point.make(OPENAI, max_retries=0)
    entry_point.documents(["a"])
    for failure in (Fault(403), Fault(500), httpx.ConnectError("refused"), Fault(body=b"{}")):
        entry_point.fake_server.will(failure)
        with pytest.raises(AIMLAPIError) as caught:
            entry_point.documents(["a"])
        assert_hidden(caught.value)
    assert KEY not in caplog.text


def assert_hidden(error: BaseException) -> None:
    """Fail if the key is in an error, in its chain, or in a local of our frames."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    for chained in (shown, shown.__cause__, shown.__context__):
        for frame in chained.stack if chained else ():
            if "aimlapi_embeddings" in frame.filename:
                assert KEY not in str(frame.locals)
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY not in f"{error!r} {vars(error)!r}"


def test_no_frame_of_ours_holds_the_key_when_construction_fails(
    package: Package,
) -> None:
    with pytest.raises(ValueError, match="dimensions") as caught:
        EntryPoint(package, "sync", FakeServer()).make(OPENAI, dimensions=-1)
    assert_hidden(caught.value)


def test_repr_and_str_hide_the_key(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE)
    for shown in (repr(entry_point.embedder), str(entry_point.embedder), repr(entry_point.client)):
        assert KEY not in shown
    assert KEY not in repr(vars(entry_point.client))


def test_a_pickle_keeps_the_key(package: Package) -> None:
    entry_point = EntryPoint(package, "sync", FakeServer()).make_plain(model=GOOGLE, api_key=KEY)
    assert KEY.encode() in pickle.dumps(entry_point.embedder)
    copy = pickle.loads(pickle.dumps(entry_point.client))
    assert isinstance(copy, EmbeddingsClient)
    assert repr(copy) == repr(entry_point.client)


@pytest.mark.parametrize(
    "url", ["http://example.com", "http://192.168.1.2/v1", "http://127.example"]
)
def test_the_key_is_sent_unencrypted_to_another_machine_only_with_allow_http(
    entry_point: EntryPoint, url: str
) -> None:
    with pytest.raises(ValueError, match="allow_http=True"):
        entry_point.make(OPENAI, base_url=url)
    entry_point.make(OPENAI, base_url=url, allow_http=True).query("q")
    hosts = [request.headers["host"] for request in entry_point.fake_server.requests]
    assert hosts == [urlsplit(url).netloc]


def test_a_redirect_is_an_error_and_not_followed(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(307, headers={"location": "https://elsewhere.example/v1"}))
    with pytest.raises(AIMLAPIError, match=r"set base_url to the target: https://elsewhere"):
        entry_point.query("q")
    assert len(entry_point.fake_server.requests) == 1
