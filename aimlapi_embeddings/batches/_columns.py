"""Columns of vectors in Arrow: how they are read and made without a detour over Python's floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aimlapi_embeddings._errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[np.float32]
    Mask: TypeAlias = NDArray[np.bool_]

Layout: TypeAlias = Literal["fixed", "list"]

_MOST_OFFSET = 2**31 - 1  # a list column counts its numbers in 32 bits
# The first PyArrow that reads a fixed-size list with nulls back from Parquet; issue 35692 of Arrow.
_READS_NULLS_SINCE = 26


def default_layout(*, nulls: bool) -> Layout:
    """Choose a layout that the installed PyArrow can read back from Parquet.

    Args:
        nulls: Whether some rows may have no vector.
    """
    major = int(pa.__version__.split(".")[0])
    return "list" if nulls and major < _READS_NULLS_SINCE else "fixed"


def vector_type(layout: Layout, size: int) -> Any:
    """Return the Arrow type of a column of vectors."""
    return pa.list_(pa.float32(), size) if layout == "fixed" else pa.list_(pa.float32())


def vector_column(vectors: Matrix, there: Mask | None, layout: Layout) -> Any:
    """Make a column of n vectors; the numbers are not copied.

    Args:
        vectors: n x d.
        there: False where a row is null; None when each row has a vector.
        layout: Fixed-size lists of d numbers, or lists with offsets.
    """
    rows, size = vectors.shape
    if layout == "list" and rows * size > _MOST_OFFSET:
        raise ConfigurationError(
            f"column='list' holds {_MOST_OFFSET:,} numbers in a batch, and this one has {rows:,} "
            f"rows of {size:,}. Make the batches smaller, or use column='fixed'."
        )
    numbers = pa.Array.from_buffers(
        pa.float32(), rows * size, [None, pa.py_buffer(np.ascontiguousarray(vectors))]
    )
    mask = None if there is None else pa.array(~there)
    if layout == "fixed":
        return pa.FixedSizeListArray.from_arrays(numbers, size, mask=mask)
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * np.int32(size))
    return pa.ListArray.from_arrays(offsets, numbers, mask=mask)


def reason_column(reasons: Sequence[str | None]) -> Any:
    """Make the column that says why a row has no vector."""
    return pa.array(reasons, pa.string())


def read_vectors(name: str, column: Any, size: int) -> tuple[Matrix, Mask]:
    """Read a column of vectors; a row that is null, or holds a number that is none, has no vector.

    Args:
        name: Of the column, for errors.
        column: An Arrow array of lists of numbers, fixed-size or not, or of tensors.
        size: Numbers that each vector has to have.

    Returns:
        n x d numbers, and which of the n rows have a vector.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # several chunks that one array cannot hold
        column = pa.concat_arrays(column.chunks)
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    vectors = np.zeros((len(column), size), np.float32)
    there = np.zeros(len(column), np.bool_)
    if pa.types.is_null(column.type) or not column.is_valid().true_count:
        return vectors, there
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in lists):
        raise ConfigurationError(
            f"vector={name!r} is a column of {column.type} already, and not of vectors. Name "
            "another column, or pass keep_existing=False to replace it."
        )
    valid = np.asarray(column.is_valid())
    compute: Any = pc  # whose functions PyArrow's own type hints do not list before version 25
    widths = compute.list_value_length(column)
    lengths = set(widths.drop_null().unique().to_pylist())
    if lengths - {size}:
        found = ", ".join(map(str, sorted(lengths)))
        raise ConfigurationError(
            f"vector={name!r} holds vectors of {found} numbers already, and those of this model "
            f"have {size}. Name another column, or pass keep_existing=False to replace it."
        )
    numbers = column.drop_null().flatten().cast(pa.float32(), safe=False)
    vectors[valid] = numbers.to_numpy(zero_copy_only=False).reshape(-1, size)
    there[valid] = np.isfinite(vectors[valid]).all(axis=1)
    return vectors, there
