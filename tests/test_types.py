"""Usage, task types and results."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import EmbeddingResult, TaskType, Usage
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._types import Row

FUZZ = settings(max_examples=50)
VECTORS = [[1.0, -2.5, 3.25], [0.0, 0.5, -0.125]]  # exact in float32


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def result(rows: Iterable[Row]) -> EmbeddingResult:
    rows = list(rows)
    buffer = VectorBuffer(len(rows))
    buffer.place(range(len(rows)), rows)
    return EmbeddingResult("m", buffer, Usage())


in_each_form = pytest.mark.parametrize(
    "rows",
    [
        [form(vector) for form, vector in zip(forms, VECTORS, strict=True)]
        for forms in [(list, list), (packed, packed), (list, packed), (packed, list)]
    ],
    ids=["numbers", "base64", "numbers first", "base64 first"],
)


def test_adding_usages_adds_each_figure() -> None:
    ones = range(1, len(Usage.__struct_fields__) + 1)
    tens, both = [10 * n for n in ones], [11 * n for n in ones]
    assert Usage(*ones) + Usage(*tens) == Usage(*both)


def test_an_empty_usage_is_zero() -> None:
    assert sum([Usage(requests=2), Usage(requests=3)], Usage()) == Usage(requests=5)


def test_usage_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Usage().requests = 1  # type: ignore[misc]


@pytest.mark.parametrize("task", TaskType)
@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_a_task_type_is_found_in_any_case(task: TaskType, spell: Callable[[str], str]) -> None:
    assert TaskType(spell(task.value)) is task


@pytest.mark.parametrize("value", ["", "RETRIEVAL", "clustering ", 1, None, b"CLUSTERING", []])
def test_an_unknown_task_type_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="is not a valid TaskType"):
        TaskType(value)


def test_a_task_type_is_sent_as_its_name() -> None:
    assert f"{TaskType.CLUSTERING}" == "CLUSTERING" == TaskType.CLUSTERING


@in_each_form
def test_vectors_are_lists_of_floats_from_packed_or_listed_rows(rows: list[Row]) -> None:
    assert result(rows).vectors == VECTORS


@in_each_form
def test_an_array_has_a_float32_row_for_each_text(rows: list[Row]) -> None:
    array = result(rows).array()
    assert (array.shape, array.dtype) == ((2, 3), np.dtype(np.float32))
    assert array.tolist() == VECTORS


@in_each_form
def test_an_array_is_writable(rows: list[Row]) -> None:
    array = result(rows).array()
    array /= 2
    assert array.tolist() == [[x / 2 for x in vector] for vector in VECTORS]


def test_reading_vectors_does_not_change_the_array() -> None:
    embedded = result(map(packed, VECTORS))
    before = embedded.array()
    assert embedded.vectors == VECTORS
    assert np.array_equal(embedded.array(), before)


def test_vectors_are_built_once() -> None:
    embedded = result(map(packed, VECTORS))
    assert embedded.vectors is embedded.vectors


@FUZZ
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_packed_floats_keep_every_bit(vector: list[float]) -> None:
    assert result([packed(vector)]).vectors == [vector]
    assert result([packed(vector)]).array()[0].tobytes() == packed(vector)


def test_a_result_without_texts_is_empty() -> None:
    empty = result([])
    assert (len(empty), empty.vectors) == (0, [])
    assert (empty.array().shape, empty.array().dtype) == ((0, 0), np.dtype(np.float32))


def test_repr_of_a_result_shows_size_and_cost_but_no_numbers() -> None:
    shown = repr(result(map(packed, VECTORS)))
    assert shown.startswith("EmbeddingResult(2 vectors, model='m', usage=Usage(prompt_tokens=0,")
    assert "2.5" not in shown


@in_each_form
def test_a_result_can_be_iterated_and_indexed(rows: list[Row]) -> None:
    found = result(rows)
    assert [found[0], found[-1]] == VECTORS
    assert found[:1] == VECTORS[:1]
    assert found[5:] == []
    assert list(found) == VECTORS
    assert found[1] == VECTORS[1], "also once the lists are made"
    np.testing.assert_array_equal(np.array(found), found.array())
    with pytest.raises(IndexError):
        found[2]


def test_a_notebook_shows_a_result_as_a_small_table() -> None:
    buffer = VectorBuffer(1)
    buffer.place([0], [[0.5, -0.25, 1.0, 0.125, 7.0]])
    usage = Usage(total_tokens=1234, credits_used=5678, usd_spent=0.002839)
    shown = EmbeddingResult("a<b", buffer, usage, possibly_truncated=(0,))._repr_html_()
    rows = re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", shown)
    assert rows == [
        ("model", "a&lt;b"),
        ("vectors", "1"),
        ("dimensions", "5"),
        ("tokens", "1,234"),
        ("credits", "5,678"),
        ("US dollars", "0.002839"),
        ("first vector", "0.5000, -0.2500, 1.0000, 0.1250, \u2026"),
        ("possibly truncated", "1 texts"),
    ]
    empty = EmbeddingResult("m", VectorBuffer(0), Usage())._repr_html_()
    assert "<th>dimensions</th><td>0</td>" in empty
