"""The server's message is found in an error body of any shape."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import BadRequestError
from aimlapi_embeddings._protocol.error_body import as_utf8, find_message
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import KEY, EntryPoint


def said(value: Any) -> str:
    """Find the message in this JSON."""
    return find_message(json.dumps(value).encode())


HTML = "<!doctype html><head><style>b{}</style>%s</head><body><b>Bad</b> gateway%s</body></html>"
PROBLEM = {
    "title": "Unauthorized",
    "status": 401,
    "message": "This request requires a valid API key.",
    "error": {"name": "UnauthorizedException", "message": "inner"},
}
FASTAPI = [
    {"loc": ["body", "input", 1], "msg": "str type expected", "type": "type_error.str"},
    {"loc": ["body", "model"], "msg": "field required", "type": "value_error.missing"},
]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"message": "no"}, "no"),
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": FASTAPI}, "body.input.1: str type expected; body.model: field required"),
        ({"detail": [{"msg": "field required"}]}, "field required"),
        ({"detail": {"message": "no"}}, "no"),
        ({"errors": ["one", {"message": "two"}, None]}, "one; two"),
        ({"title": "Unauthorized", "status": 401}, "Unauthorized"),
        (PROBLEM, "This request requires a valid API key."),
        ({"message": "", "error": {"message": "no"}}, "no"),
        ({"message": None, "title": "no"}, "no"),
        ({"message": {"description": "no"}}, "no"),
        ({"message": json.dumps({"error": {"message": "no"}})}, "no"),
        ({"message": json.dumps(json.dumps({"detail": "no"}))}, "no"),
        ({"message": "5"}, "5"),
        ({"message": "{half of some JSON"}, "{half of some JSON"),
        ("no", "no"),
        (["no", "yes"], "no; yes"),
        ({"errors": {"input": ["too short", "not English"]}}, "too short; not English"),
        ({"message": {"en": "no"}}, "no"),
        ({"errcode": 5, "errmsg": "no"}, "no"),
        ({"base_resp": {"status_code": 1002, "status_msg": "no"}}, "no"),
        ({"code": "E-5", "id": "f00", "why": "not today"}, "not today"),
    ],
)  # fmt: skip
def test_the_message_is_found_in_every_known_shape(value: Any, message: str) -> None:
    assert said(value) == message


@pytest.mark.parametrize("body", [b"%s", b"<html><title>%s</title></html>", b'{"message": "%s"}'])
def test_control_characters_of_a_message_reach_no_terminal(body: bytes) -> None:
    """An escape sequence, a NUL, and a character that turns the direction of the rest."""
    characters = "a\\u001b[31m\\u0000b\\u202ec" if b"message" in body else "a\x1b[31m\x00b\u202ec"
    assert find_message(body % characters.encode()) == "a [31m b c"


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        5,
        True,
        {"code": 5},
        {"message": 5},
        "",
        [[[]]],
        {"id": "f00", "path": "/v1/embeddings"},
    ],
)
def test_json_without_a_message_gives_an_empty_one(value: Any) -> None:
    assert said(value) == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"upstream connect error\n  or disconnect", "upstream connect error or disconnect"),
        (HTML % ("<title>502: Bad &amp; gateway</title>", ""), "502: Bad & gateway"),
        (HTML % ('<TITLE lang="en">\n Down \n</TITLE>', ""), "Down"),
        (HTML % ("", "<script>var x = '<p>';</script> &lt;5&gt;"), "Bad gateway <5>"),
        (HTML % ("<title> </title>", ""), "Bad gateway"),
        (b"\xff\xfe caf\xe9", "\ufffd\ufffd caf\ufffd"),
        (b'{"message": "caf\xe9 closed"}', '{"message": "caf\ufffd closed"}'),
        (b'{"message": "half', '{"message": "half'),
        (b'\xef\xbb\xbf{"message": "after a mark"}', "after a mark"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_gives_its_text_or_html_title(
    body: bytes | str, message: str
) -> None:
    assert find_message(body.encode() if isinstance(body, str) else body) == message


TEXT = "My diagnosis is private"


@pytest.mark.parametrize(
    "value",
    [
        {"code": 77, "input": TEXT},
        {"code": 77, "input": [TEXT, TEXT]},
        {"model": "m", "input": {"text": TEXT}},
        {"ok": False, "request": {"model": "m", "input": [TEXT]}},
        {"status": "failed", "body": json.dumps({"input": [TEXT]})},
        {"texts": [TEXT], "embeddings": []},
        {"requestBody": {"prompt": TEXT}},
        {"original_input": TEXT},
        {"param": "input", "value": TEXT},
    ],
)
def test_what_repeats_the_request_is_no_message(value: Any) -> None:
    """It holds texts of the user's customers, and errors go to logs."""
    assert said(value) == ""
    assert said({**value, "why": "not today"}) == "not today"


FULL = "\u8f93\u5165\u8fc7\u957f"  # "the input is too long"


@pytest.mark.parametrize(
    ("charset", "message"),
    [
        ("gbk", FULL),
        ("GB2312", FULL),
        ("gb18030", FULL),
        ("big5", "\u8f38\u5165\u904e\u9577"),
        ("Shift_JIS", "\u30a8\u30e9\u30fc"),
        ("euc-kr", "\uc624\ub958"),
        ("iso-8859-1", "cl\xe9 invalide"),
        ("windows-1252", "cl\xe9 \u201cx\u201d invalide"),
        ("koi8-r", "\u043e\u0448\u0438\u0431\u043a\u0430"),
        ("utf-16", "cl\xe9 invalide"),
    ],
)
def test_a_message_in_a_charset_that_is_named_is_read(charset: str, message: str) -> None:
    packed = json.dumps({"message": message}, ensure_ascii=False).encode(charset)
    for content_type in (f"application/json; charset={charset}", f'text/html;charset="{charset}"'):
        assert find_message(as_utf8(packed, content_type)) == message
    page = f'<html><head><meta charset="{charset}"><title>{message}</title></head></html>'
    assert find_message(as_utf8(page.encode(charset), "text/html")) == message


@pytest.mark.parametrize("charset", ["latin-9-x", "punycode", "hex", "utf-7", "idna", "", "rot13"])
def test_a_charset_that_is_none_or_is_slow_to_read_is_not_believed(charset: str) -> None:
    body = b"caf\xe9" * 1000
    assert as_utf8(body, f"text/plain; charset={charset}") is body


def test_a_body_in_utf_8_is_kept_whatever_charset_it_names() -> None:
    body = "caf\xe9".encode()
    assert as_utf8(body, "text/plain; charset=iso-8859-1") is body


@given(st.binary(), st.text())
def test_any_body_in_any_charset_can_be_read(body: bytes, content_type: str) -> None:
    find_message(as_utf8(body, content_type))


def test_a_message_in_another_charset_reaches_the_caller_and_hides_the_key(
    entry_point: EntryPoint,
) -> None:
    body = json.dumps({"error": {"message": f"{FULL} {KEY}"}}, ensure_ascii=False)
    for charset in ("gbk", "utf-16"):
        headers = {"content-type": f"application/json; charset={charset}"}
        entry_point.make()
        entry_point.fake_server.will(Fault(400, headers, body=body.encode(charset)))
        with pytest.raises(BadRequestError) as caught:
            entry_point.documents(["a"])
        assert caught.value.message == f"{FULL} **********"
        assert KEY.encode() not in caught.value.content.replace(b"\0", b"")


def test_a_long_message_is_cut() -> None:
    assert said({"message": "a" * 501}) == "a" * 499 + "…"
    assert said({"message": "a" * 500}) == "a" * 500


def test_a_message_may_hold_many_brackets() -> None:
    assert said({"message": "[" * 100_000}) == "[" * 499 + "…"


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"error":' * 600 + b'"x"' + b"}" * 600,
        b'{"error":' * DEEP + b'"x"' + b"}" * DEEP,
        json.dumps({"message": "[" * DEEP}).encode(),
        json.dumps({"message": '{"error":' * 600 + '"x"' + "}" * 600}).encode(),
    ],
    ids=["open", "closed", "errors", "many errors", "in a message", "errors in a message"],
)
def test_deeply_nested_json_does_not_exceed_the_recursion_limit(body: bytes) -> None:
    assert len(find_message(body)) <= 500


@given(st.binary() | st.text().map(str.encode))
def test_any_body_gives_a_message_of_one_short_line(body: bytes) -> None:
    message = find_message(body)
    assert len(message.splitlines()) <= 1
    assert len(message) <= 500
