"""Checks of texts and titles before a plan is made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, InvalidInputError
from aimlapi_embeddings._engine.inputs import check_texts, check_titles_fit

NOT_LISTS: list[tuple[Any, str]] = [
    ("text", "not a str. Put the one text into a list: [text]."),
    (b"text", "not a bytes. Pass list(texts)."),
    (None, "not a NoneType."),
    (7, "not an int."),
    ({"text"}, "not a set. Pass list(texts)."),
    (
        iter(["text"]),
        "not a list_iterator. Pass list(texts). embed_iter and embed_documents_iter take any "
        "iterable.",
    ),
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
        "their ids and metadata."
    )
    assert caught.value.indices == (1, 2, 3, 4, 5, 6)


def test_ten_bad_texts_are_shown_and_all_are_in_indices() -> None:
    with pytest.raises(
        InvalidInputError, match=r"12 of 12 .*texts\[9\] is empty; and 2 more\. "
    ) as caught:
        check_texts([""] * 12)
    assert caught.value.indices == tuple(range(12))
    assert "texts[10]" not in str(caught.value)


def test_of_several_queries_the_bad_ones_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"1 of 2 queries .*: queries\[1\] is empty"):
        check_texts(["good", ""], "query")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x \ud835\udc65", "a surrogate pair at character 2"),
        ("\ud835\udc65\ud835\udc65", "a surrogate pair at character 0"),
        ("\ud835\udc65 \ud835", "a lone surrogate at character 3"),
        ("\udc65\ud835", "a lone surrogate at character 0"),
        ("\ud835\ud835\udc65", "a lone surrogate at character 0"),
    ],
)
def test_a_surrogate_pair_and_a_lone_surrogate_have_different_messages(
    text: str, what: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_texts([text])
    assert f"texts[0] has {what}" in str(caught.value)


def test_the_remedy_for_surrogate_pairs_works() -> None:
    text = "\ud835\udc65 = mc\u00b2"
    with pytest.raises(InvalidInputError) as caught:
        check_texts([text])
    cure = "text.encode('utf-16', 'surrogatepass').decode('utf-16')"
    assert cure in str(caught.value)
    assert check_texts([eval(cure, {"text": text})]) == ["\U0001d465 = mc\u00b2"]


@given(st.text(st.characters(categories=["Lu", "Cs"]), min_size=1))
def test_a_text_is_refused_exactly_if_utf_8_cannot_encode_it(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(InvalidInputError, match="surrogate"):
            check_texts([text])
    else:
        assert check_texts([text]) == [text]


class Shout(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "changed"


def test_subclasses_of_str_become_plain_strings_of_the_same_letters() -> None:
    assert [(text, type(text)) for text in check_texts([Shout("as it is")])] == [("as it is", str)]
    titles = check_titles_fit([Shout("as it is"), None], ["a", "b"])
    assert [(title, type(title)) for title in titles] == [("as it is", str), (None, type(None))]


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
