"""The buffer of vectors returns the rows that were put in, without copying them for an array."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings._protocol.vectors import Matrix
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode

SIZE = 3
number = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = st.lists(st.tuples(st.booleans(), st.lists(number, min_size=SIZE, max_size=SIZE)))


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def filled(rows: list[Any]) -> Matrix:
    matrix = Matrix(len(rows))
    for i in reversed(range(len(rows))):
        matrix.place([i], [rows[i]])
    return matrix


@settings(deadline=None, max_examples=100)
@given(vectors)
def test_packed_and_listed_rows_are_returned_at_their_indices(
    rows: list[tuple[bool, list[float]]],
) -> None:
    matrix = filled([packed(row) if in_base64 else row for in_base64, row in rows])
    assert all(i in matrix for i in range(len(rows)))
    assert matrix.vectors() == [row for _, row in rows]
    assert matrix.vectors() == [row for _, row in rows]


def test_an_array_is_a_view_of_the_buffer() -> None:
    matrix = filled([packed([1.0, 2.0]), packed([3.0, 4.0])])
    assert np.shares_memory(matrix.array(), matrix.array())


def test_an_array_stays_valid_after_the_lists_are_made() -> None:
    rows = [[float(i), -1.0] for i in range(1000)]
    matrix = filled([packed(row) for row in rows])
    array = matrix.array()
    assert matrix.vectors() == rows
    assert array.tolist() == rows
    assert matrix.array().tolist() == rows


def test_missing_rows_are_none() -> None:
    matrix = Matrix(3)
    matrix.place([1], [packed([1.0, 2.0])])
    assert [i in matrix for i in range(3)] == [False, True, False]
    assert matrix.vectors() == [None, [1.0, 2.0], None]


@pytest.mark.parametrize("form", [packed, list])
def test_a_copied_row_is_independent_of_its_original(form: Any) -> None:
    matrix = Matrix(3)
    matrix.place([0], [form([1.0, 2.0])])
    matrix.copy(2, 0)
    matrix.copy(1, 1)
    first, second, third = matrix.vectors()
    assert (first, second, third) == ([1.0, 2.0], None, [1.0, 2.0])
    assert first is not third


def test_numbers_beyond_float32_keep_every_bit(fake_server: FakeServer, mode: Mode) -> None:
    sent = [0.1, 1e-50, 1e300]
    fake_server.answer = lambda request: _reply(sent)
    assert EntryPoint("core", mode, fake_server).make(OPENAI).query("q") == sent


def _reply(vector: list[float]) -> Any:
    import json

    from aimlapi_embeddings import emulator

    body = json.dumps({"data": [{"index": 0, "embedding": vector}]}).encode()
    return emulator.Reply(200, {}, body)
