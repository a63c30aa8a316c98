"""Texts are checked before the first request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from aimlapi_embeddings import InvalidInputError
from aimlapi_embeddings._engine.inputs import check_texts
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
        (["ok", "\ud835\udc65"], (1,), r"texts\[1\] has a surrogate pair at character 0"),
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
    assert tuple(caught.value.refused) == indices
    assert all(why in str(caught.value) for why in caught.value.refused.values())
    assert entry_point.fake_server.requests == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "the query is None. Nothing was sent."),
        ("", "the query is empty. Nothing was sent."),
        (3, "the query is an int. Nothing was sent."),
        ("\ud800", "the query has a lone surrogate at character 0, which UTF-8 cannot write"),
        ("\ud835\udc65", "the query has a surrogate pair at character 0"),
    ],
)
def test_a_bad_query_is_refused_before_any_request(
    entry_point: EntryPoint, text: Any, said: str
) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError, match=f"^{said}"):
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


class CaseBlind(str):
    """A string that equals any string that differs only in case."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Hostile(str):
    """A string whose methods raise."""

    def _refuse(self, *_: object) -> Any:
        raise TypeError("not a plain string")

    __eq__ = __hash__ = __bool__ = __len__ = __radd__ = __add__ = _refuse  # type: ignore[assignment]
    __str__ = __repr__ = __format__ = __getitem__ = __iter__ = _refuse  # type: ignore[assignment]
    encode = isascii = lower = _refuse  # type: ignore[assignment]


def test_subclasses_of_str_that_compare_equal_get_a_vector_each(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=8)
    apart = entry_point.documents(["Apple", "APPLE"])
    assert entry_point.documents([CaseBlind("Apple"), CaseBlind("APPLE")]) == apart
    assert entry_point.fake_server.inputs == [["Apple", "APPLE"]] * 2


@pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")
@pytest.mark.parametrize("model", [OPENAI, "BAAI/bge-base-en-v1.5"])
def test_the_methods_of_a_subclass_of_str_are_never_called(
    entry_point: EntryPoint, model: str
) -> None:
    entry_point.make(model)
    plain = entry_point.documents(["one", "two"])
    assert entry_point.documents([Hostile("one"), Hostile("two")]) == plain
    assert entry_point.query(Hostile("one")) == entry_point.query("one")


class ReadAnew(Sequence[str]):
    """A sequence that gives other texts each time it is read."""

    def __init__(self) -> None:
        self.readings = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        self.readings += 1
        return iter([f"{self.readings}-{i}" for i in range(3)])


def test_a_sequence_is_read_once() -> None:
    texts = ReadAnew()
    assert check_texts(texts) == ["1-0", "1-1", "1-2"]
    assert texts.readings == 1
