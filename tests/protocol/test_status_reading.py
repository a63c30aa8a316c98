"""An error body is read once, in linear time, into the server's message and its JSON."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import APIStatusError
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.error_body import effective_reply, find_message
from aimlapi_embeddings._protocol.status import error_of, is_repeated
from aimlapi_embeddings._protocol.wording import reason
from aimlapi_embeddings._types import Reply

HOSTILE: dict[str, Callable[[int], bytes]] = {
    "open tags": lambda n: b"<" * n,
    "open tags with names": lambda n: b"<a" * (n // 2),
    "tags that never close": lambda n: b"<p " * (n // 3),
    "open scripts": lambda n: b"<script>" * (n // 8),
    "scripts and styles": lambda n: b"<script><style>" * (n // 15),
    "open titles": lambda n: b"<title>" * (n // 7),
    "half titles": lambda n: b"<title" * (n // 6),
    "blanks": lambda n: b" " * n,
    "a title of blanks": lambda n: b"<title>" + b" " * n,
    "entities": lambda n: b"&" * n,
    "one long entity": lambda n: b"&#" + b"9" * n,
    "brackets": lambda n: b"[" * n,
    "nested errors": lambda n: b'{"error":' * (n // 9),
    "a string in strings": lambda n: json.dumps({"message": "[" * n}).encode(),
    "many places": lambda n: json.dumps({"detail": [{"loc": ["a"] * (n // 5)}] * 1}).encode(),
    "sizes": lambda n: json.dumps({"message": "too large tokens " * (n // 17)}).encode(),
    "quotes": lambda n: json.dumps({"message": "\"'" * (n // 4)}).encode(),
    "digits": lambda n: json.dumps({"message": "Limit " + "1" * n}).encode(),
    "a quota in depth": lambda n: (
        (b'{"message": "exceeded your current quota", "details": ' + b"[" * 900 + b"]" * 900 + b"}")
        + b" " * n
    ),
    "bytes that are no text": lambda n: b"\xff<" * (n // 2),
}


def seconds(work: Callable[[], object]) -> float:
    """Return the shortest of three runs, in CPU time of this thread."""
    spent = []
    for _ in range(3):
        start = time.thread_time()
        work()
        spent.append(time.thread_time() - start)
    return min(spent)


def classify(body: bytes) -> None:
    for status in (400, 429, 500):
        made = error(body, status)
        assert len(made.message) <= 500
        assert len(str(made)) < 1_000
        is_repeated(made)
        reason(made.message)
    effective_reply(Reply(200, {}, body))


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_time_to_read_a_body_grows_linearly_with_its_size(kind: str) -> None:
    half, whole = HOSTILE[kind](500_000), HOSTILE[kind](1_000_000)
    # Quadratic time would be 4 times as long, and minutes; 50 ms cover the constant part.
    assert seconds(lambda: classify(whole)) < 3 * seconds(lambda: classify(half)) + 0.05
    assert seconds(lambda: classify(whole)) < 2


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("a < b and b > c", "a < b and b > c"),
        ("<p>one<p>two", "one two"),
        ("<style>p{}</style><p>down</p><script>if (a < b) {}</script>", "down"),
        ("<svg><title>icon</title></svg><title>Down</title>", "icon"),
        ("<title></title><h1>Down</h1>", "Down"),
        ("<SCRIPT>x</SCRIPT >Down", "Down"),
        ("down<", "down<"),
    ],
)
def test_the_text_of_a_page_is_read_without_its_tags(page: str, message: str) -> None:
    assert find_message(page.encode()) == message


def test_an_entity_of_thousands_of_digits_is_read() -> None:
    assert find_message(b"down &#" + b"9" * 10_000 + b";").startswith("down")


def error(body: bytes, status: int = 500) -> APIStatusError:
    return error_of(
        Reply(status, {}, body),
        provider=PROVIDERS["aimlapi"],
        key="AIMLAPI_API_KEY",
        url="https://api.example",
        where="text 0 of 1",
        indices=(0,),
    )


def test_message_holds_the_servers_message_only() -> None:
    assert error(b'{"error": {"message": "it\\n is  down"}}').message == "it is down"
    assert error(b"").message == ""


def test_the_message_is_read_from_the_whole_body() -> None:
    made = error(json.dumps({"input": "x" * 10_000, "message": "at the end"}).encode())
    assert made.message == "at the end"
    assert len(made.content) == 4096


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (b'{"error": {"code": 5}}', {"error": {"code": 5}}),
        (b'["a"]', ["a"]),
        (b"5", 5),
        (b"down", None),
        (b"", None),
        (b'{"half": ', None),
    ],
)
def test_the_body_is_the_decoded_json(body: bytes, decoded: Any) -> None:
    assert error(body).body == decoded


def test_body_is_decoded_from_the_whole_body() -> None:
    body = {"detail": "x" * 10_000}
    assert error(json.dumps(body).encode()).body == body


@pytest.mark.parametrize(
    "body", [b"[" * 400 + b"]" * 400, b'{"a":' * 33 + b"1" + b"}" * 33, b'"%s"' % (b"x" * 70_000)]
)
def test_json_that_is_too_deep_or_too_large_is_not_kept(body: bytes) -> None:
    made = error(body)
    assert made.body is None
    assert copy.deepcopy(made).content == pickle.loads(pickle.dumps(made)).content == body[:4096]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("text 7 is not allowed", "text 12 is not allowed"),
        ("'one' is not allowed", "'two' is not allowed"),
        ('input "a b" is bad', 'input "c" is bad'),
        ("no (request req_0a1b2c3d4e)", "no (request req_ffee112233)"),
        (
            "no; id 5b4f8c0e-8f5e-9b1e-8a2f-0d6c6f3a7b11",
            "no; id 0d6c6f3a-1111-9b1e-8a2f-5b4f8c0e7b11",
        ),
        ("id deadbeefcafe failed", "id abcdefabcdef failed"),
        ("No  such\ntext", "no such text"),
        ("refused: “one”", "refused: “two”"),
        ('refused: "one of many that was cu…', 'refused: "another that was longer and cu…'),
    ],
)
def test_messages_that_differ_in_ids_digits_and_quotes_have_one_reason(
    one: str, other: str
) -> None:
    assert reason(one) == reason(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the text is empty", "the text is too long"),
        ("this doesn't fit", "this doesn't work"),
        ("content filter: hate", "content filter: violence"),
    ],
)
def test_messages_about_different_things_have_different_reasons(one: str, other: str) -> None:
    assert reason(one) != reason(other)


@given(st.text())
def test_a_reason_holds_no_digits(message: str) -> None:
    assert not any(letter.isdecimal() for letter in reason(message))
