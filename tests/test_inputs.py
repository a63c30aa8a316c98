"""Law 5: inputs are checked before money is spent."""

from __future__ import annotations

from typing import Any

import pytest
from surfaces import OPENAI, Surface

from aimlapi_embeddings import InvalidInputError

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
    surface: Surface, texts: list[Any], indices: tuple[int, ...], said: str
) -> None:
    surface.make(OPENAI)
    with pytest.raises(InvalidInputError, match=said) as caught:
        surface.documents(texts)
    assert caught.value.indices == indices
    assert surface.wire.requests == []


@pytest.mark.parametrize("text", [None, "", 3, "\ud800"])
def test_a_bad_query_is_refused_before_any_request(surface: Surface, text: Any) -> None:
    surface.make(OPENAI)
    with pytest.raises(InvalidInputError, match=r"texts\[0\]"):
        surface.query(text)
    assert surface.wire.requests == []


@pytest.mark.parametrize("texts", ["text", b"text", 7, None, {"a": 1}, {"a"}, iter(["a"])])
def test_what_is_not_a_list_is_refused_before_any_request(surface: Surface, texts: Any) -> None:
    surface.make(OPENAI)
    with pytest.raises(InvalidInputError, match="must be a list of strings"):
        surface.documents(texts)
    assert surface.wire.requests == []


def test_a_bare_string_is_told_to_go_into_a_list(surface: Surface) -> None:
    surface.make(OPENAI)
    with pytest.raises(InvalidInputError, match=r"Put the one text into a list: \[text\]"):
        surface.documents("text")


def test_texts_are_sent_as_they_are(surface: Surface) -> None:
    texts = [" leading", "two\nlines", "tab\t", "e\u0301", "\U0001f600", "\x00", " "]
    surface.make(OPENAI).documents(texts)
    assert surface.wire.inputs == [texts]


def test_a_tuple_will_do(surface: Surface) -> None:
    assert len(surface.make(OPENAI).documents((GOOD, "b"))) == 2
