"""The buffer of vectors returns the rows that were put in, without copying them for an array."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ReplyError
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from tests.support.entry_points import EntryPoint, FakeServer, Mode

SIZE = 3
number = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = st.lists(st.tuples(st.booleans(), st.lists(number, min_size=SIZE, max_size=SIZE)))


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def filled(rows: list[Any]) -> VectorBuffer:
    buffer = VectorBuffer(len(rows))
    for i in reversed(range(len(rows))):
        buffer.place([i], [rows[i]])
    return buffer


@given(vectors)
def test_packed_and_listed_rows_are_returned_at_their_indices(
    rows: list[tuple[bool, list[float]]],
) -> None:
    buffer = filled([packed(row) if in_base64 else row for in_base64, row in rows])
    assert all(buffer.holds(i) for i in range(len(rows)))
    assert buffer.vectors() == [row for _, row in rows]
    assert buffer.vectors() == [row for _, row in rows]


def test_an_array_is_a_view_of_the_buffer() -> None:
    buffer = filled([packed([1.0, 2.0]), packed([3.0, 4.0])])
    assert np.shares_memory(buffer.array(), buffer.array())


def test_an_array_stays_valid_after_the_lists_are_made() -> None:
    rows = [[float(i), -1.0] for i in range(1000)]
    buffer = filled([packed(row) for row in rows])
    array = buffer.array()
    assert buffer.vectors() == rows
    assert array.tolist() == rows
    assert buffer.array().tolist() == rows


def test_missing_rows_are_none() -> None:
    buffer = VectorBuffer(3)
    buffer.place([1], [packed([1.0, 2.0])])
    assert [buffer.holds(i) for i in range(3)] == [False, True, False]
    assert buffer.vectors() == [None, [1.0, 2.0], None]


@pytest.mark.parametrize("form", [packed, list])
def test_a_copied_row_is_independent_of_its_original(form: Any) -> None:
    buffer = VectorBuffer(3)
    buffer.place([0], [form([1.0, 2.0])])
    buffer.copy(2, 0)
    buffer.copy(1, 1)
    first, second, third = buffer.vectors()
    assert (first, second, third) == ([1.0, 2.0], None, [1.0, 2.0])
    assert first is not third


def test_numbers_beyond_float32_keep_every_bit(fake_server: FakeServer, mode: Mode) -> None:
    sent = [0.1, 1e-50, 1e300]
    fake_server.answer = lambda request: _reply(sent)
    entry_point = EntryPoint("core", mode, fake_server).make("qwen3-embedding-8b", provider="nugen")
    assert entry_point.query("q") == sent


def _reply(vector: list[float]) -> Any:
    import json

    from aimlapi_embeddings import emulator

    body = json.dumps({"data": [{"index": 0, "embedding": vector}]}).encode()
    return emulator.Reply(200, {}, body)


@pytest.mark.parametrize("form", [packed, list])
def test_one_vector_is_read_without_the_others(form: Any) -> None:
    buffer = VectorBuffer(3)
    buffer.place([1], [form([1.0, 2.0])])
    assert [buffer.vector(i) for i in range(3)] == [None, [1.0, 2.0], None]


@pytest.mark.parametrize("forms", [(packed, packed), (list, list), (packed, list), (list, packed)])
def test_missing_rows_of_an_array_are_nan(forms: Any) -> None:
    buffer = VectorBuffer(4)
    buffer.place([3, 1], [form([1.0, 2.0]) for form in forms])
    array = buffer.array()
    assert np.isnan(array[[0, 2]]).all()
    assert array[[1, 3]].tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert buffer.vectors() == [None, [1.0, 2.0], None, [1.0, 2.0]]


def test_a_returned_array_keeps_its_memory_and_the_lists_are_made_once() -> None:
    rows = [[float(i), -1.0] for i in range(1000)]
    buffer = filled([packed(row) for row in rows])
    array = buffer.array()
    lists = buffer.vectors()
    assert lists is buffer.vectors()
    assert lists == rows
    assert np.shares_memory(array, buffer.array())


def test_a_row_placed_after_the_lists_were_made_is_added_to_them() -> None:
    buffer = VectorBuffer(2)
    buffer.place([0], [packed([1.0])])
    assert buffer.vectors() == [[1.0], None]
    buffer.place([1], [packed([2.0])])
    assert buffer.vectors() == [[1.0], [2.0]]
    assert buffer.array().tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("number", [1e39, -1e300, 3.5e38])
@pytest.mark.parametrize("beside", [packed, list])
def test_a_number_beyond_float32_is_refused_by_an_array_and_kept_by_the_lists(
    number: float, beside: Any
) -> None:
    buffer = VectorBuffer(2)
    buffer.place([0, 1], [beside([1.0, 2.0]), [0.5, number]])
    with pytest.raises(ReplyError, match="vector 1 holds a number beyond the range of float32"):
        buffer.array()
    assert buffer.vectors() == [[1.0, 2.0], [0.5, number]]


@pytest.mark.parametrize("size", [None, 5])
def test_an_array_without_vectors_has_the_known_size(size: int | None) -> None:
    assert VectorBuffer(0, size).array().shape == (0, size or 0)
    assert VectorBuffer(2, size).array().shape == (2, size or 0)
