"""Texts are checked before the first request."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_embeddings import InvalidInputError
from tests.support.entry_points import OPENAI, EntryPoint

GOOD = "good"


@pytest.mark.parametrize(
    ("texts", "indices", "said"),
    [
        ([None], (0,), r"texts\[0\] is None"),
        ([""], (0,), r"texts\[0\] is empty"),
        (["ok", 3], (1,), r"texts\[1\] is an int"),
        (["ok", b"bytes"], (1,), r"texts\[1\] is a bytes"),
        (["ok", "\ud800x"], (1,), r"texts\[1\] has a lone surrogate at character 0"),
        (["", "ok", None, "é\udfff"], (0, 2, 3), r"3 of 4 texts .*texts\[0\].*\[2\].*\[3\]"),
    ],
)
def test_every_bad_text_is_named_before_any_request(
    entry_point: EntryPoint, texts: list[Any], indices: tuple[int, ...], said: str
) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError, match=said) as caught:
        entry_point.documents(texts)
    assert caught.value.indices == indices
    assert entry_point.fake_server.requests == []


@pytest.mark.parametrize("text", [None, "", 3, "\ud800"])
def test_a_bad_query_is_refused_before_any_request(entry_point: EntryPoint, text: Any) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError, match=r"texts\[0\]"):
        entry_point.query(text)
    assert entry_point.fake_server.requests == []


@pytest.mark.parametrize("texts", ["text", b"text", 7, None, {"a": 1}, {"a"}, iter(["a"])])
def test_an_argument_that_is_no_list_is_refused_before_any_request(
    entry_point: EntryPoint, texts: Any
) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError, match="must be a list of strings"):
        entry_point.documents(texts)
    assert entry_point.fake_server.requests == []


def test_the_message_for_a_bare_string_says_to_pass_a_list(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError, match=r"Put the one text into a list: \[text\]"):
        entry_point.documents("text")


def test_texts_are_sent_unchanged(entry_point: EntryPoint) -> None:
    texts = [" leading", "two\nlines", "tab\t", "e\u0301", "\U0001f600", "\x00", " "]
    entry_point.make(OPENAI).documents(texts)
    assert entry_point.fake_server.inputs == [texts]


def test_a_tuple_of_texts_is_accepted(entry_point: EntryPoint) -> None:
    assert len(entry_point.make(OPENAI).documents((GOOD, "b"))) == 2
