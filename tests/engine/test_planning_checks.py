"""Checks of texts and titles before a plan is made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, InvalidInputError
from aimlapi_embeddings._engine.planning import check_texts, check_titles_fit

NOT_LISTS: list[tuple[Any, str]] = [
    ("text", "not a str. Put the one text into a list: [text]."),
    (b"text", "not a bytes."),
    (None, "not a NoneType."),
    (7, "not an int."),
    ({"text"}, "not a set."),
    (iter(["text"]), "not a list_iterator."),
]


@pytest.mark.parametrize(("texts", "said"), NOT_LISTS)
def test_an_argument_that_is_no_list_is_refused_by_its_type(texts: Any, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_texts(texts)
    assert str(caught.value) == f"texts must be a list of strings, {said}"


def test_every_bad_text_is_named_with_its_fault() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_texts(["good", "", None, 3, b"b", True, "é\ud800"])
    assert str(caught.value) == (
        "6 of 7 texts cannot be embedded: texts[1] is empty; texts[2] is None; texts[3] is an int; "
        "texts[4] is a bytes; texts[5] is a bool; texts[6] has a lone surrogate at character 1, "
        "which UTF-8 cannot write. Nothing was sent; replace them, or leave them out together with "
        "whatever belongs to them."
    )
    assert caught.value.indices == (1, 2, 3, 4, 5, 6)


def test_ten_bad_texts_are_shown_and_all_are_in_indices() -> None:
    with pytest.raises(
        InvalidInputError, match=r"12 of 12 .*texts\[9\] is empty; and 2 more\. "
    ) as caught:
        check_texts([""] * 12)
    assert caught.value.indices == tuple(range(12))
    assert "texts[10]" not in str(caught.value)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(min_size=1)).map(tuple))
def test_any_text_that_utf_8_can_encode_is_kept_unchanged(texts: tuple[str, ...]) -> None:
    assert check_texts(texts) == list(texts)


@pytest.mark.parametrize("titles", ["ab", ["a"], ["a", "b", "c"], None, 5, {"a": 1, "b": 2}])
def test_titles_must_be_as_many_as_texts(titles: Any) -> None:
    with pytest.raises(ConfigurationError, match="one string or None for each of the 2 texts"):
        check_titles_fit(titles, ["a", "b"])


@pytest.mark.parametrize("title", ["", 5, b"t", "\udfff"])
def test_a_bad_title_is_named_by_its_index(title: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"titles\[1\] .*; use None for no title") as caught:
        check_titles_fit([None, title], ["a", "b"])
    assert caught.value.indices == (1,)
