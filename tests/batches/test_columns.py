"""Columns of vectors: their types, and how those that are there are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from aimlapi_embeddings import ConfigurationError, emulator
from aimlapi_embeddings.batches import EmbedBatches
from aimlapi_embeddings.batches._columns import read_vectors, vector_column
from tests.support.batches import SIZE, TEXTS, expected, pd, step, table, vectors_of

FIXED, LIST = pa.list_(pa.float32(), SIZE), pa.list_(pa.float32())
READS_NULLS = int(pa.__version__.split(".")[0]) >= 26


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, FIXED),
        ({"column": "fixed"}, FIXED),
        ({"column": "list"}, LIST),
        ({"on_error": "keep"}, FIXED if READS_NULLS else LIST),
        ({"on_error": "keep", "column": "fixed"}, FIXED),
    ],
)
def test_the_type_of_the_column_follows_from_the_options(
    server: emulator.Emulator, options: dict[str, Any], kind: pa.DataType
) -> None:
    with step(**options) as embed:
        assert embed(table()).schema.field("vector").type == kind


@pytest.mark.parametrize("options", [{}, {"column": "list"}, {"on_error": "keep"}])
def test_a_result_is_read_back_from_parquet(
    server: emulator.Emulator, tmp_path: Path, options: dict[str, Any]
) -> None:
    texts = [*TEXTS, None] if options.get("on_error") else TEXTS
    with step(**options) as embed:
        pq.write_table(embed(table(texts)), tmp_path / "result.parquet")
    read = pq.read_table(tmp_path / "result.parquet")
    np.testing.assert_array_equal(vectors_of(read), expected(texts))


matrices = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 6), st.integers(1, 5)),
    elements=st.floats(-1024, 1024, width=32),
)


@given(matrices, st.data(), st.sampled_from(["fixed", "list"]))
def test_what_is_written_is_read_bit_for_bit(
    vectors: np.ndarray, data: st.DataObject, layout: Any
) -> None:
    rows, size = vectors.shape
    there = data.draw(arrays.arrays(np.bool_, rows))
    column = vector_column(vectors, there, layout)
    column.validate(full=True)
    assert column.is_null().to_pylist() == [not each for each in there]
    found, has = read_vectors("vector", pa.chunked_array([column[:2], column[2:]]), size)
    assert has.tolist() == there.tolist()
    assert found[has].tobytes() == vectors[there].tobytes()


@pytest.mark.parametrize("layout", ["fixed", "list"])
def test_the_numbers_are_not_copied(layout: Any) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    column = vector_column(vectors, None, layout)
    assert column.values.buffers()[1].address == vectors.ctypes.data


EXISTING = [[1.0, 2.0], None, [3.0, 4.0], [float("nan"), 0.0]]


def tensors() -> Any:
    kind = pa.fixed_shape_tensor(pa.float32(), [2])
    rows = pa.array(EXISTING, pa.list_(pa.float32(), 2))
    return pa.ExtensionArray.from_storage(kind, rows)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(EXISTING, pa.list_(pa.float32(), 2)),
        pa.array(EXISTING, pa.list_(pa.float64(), 2)),
        pa.array(EXISTING, pa.list_(pa.float32())),
        pa.array(EXISTING, pa.large_list(pa.float64())),
        pa.array(pd.Series(EXISTING), from_pandas=True),
        tensors(),
    ],
    ids=lambda column: str(column.type)[:40],
)
def test_vectors_that_are_there_are_read_whatever_their_type(column: Any) -> None:
    vectors, there = read_vectors("vector", column, 2)
    assert there.tolist() == [True, False, True, False]
    assert vectors[there].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("column", [pa.nulls(3), pa.nulls(3, FIXED), pa.nulls(3, pa.string())])
def test_a_column_of_nulls_has_no_vectors(column: Any) -> None:
    vectors, there = read_vectors("vector", column, SIZE)
    assert vectors.shape == (3, SIZE)
    assert not there.any()


def test_vectors_of_another_model_are_not_kept(server: emulator.Emulator) -> None:
    with step() as embed:
        first = embed(table())
    with EmbedBatches(model="voyage-2") as other:
        with pytest.raises(ConfigurationError, match="vectors of 8 numbers already, and those of"):
            other(first)
        assert not [r for r in server.requests if b"voyage" in r.body]


def test_a_list_column_that_cannot_count_its_numbers_is_refused() -> None:
    vectors = np.broadcast_to(np.float32(0), (2**20, 2**12))  # takes no memory
    with pytest.raises(ConfigurationError, match="Make the batches smaller"):
        vector_column(vectors, None, "list")
