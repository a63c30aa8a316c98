"""A batch comes as a table of some library, and goes out as one of the same library.

Columns that the step does not make are not touched: they are the objects that came.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from aimlapi_embeddings._catalog.models import nearest
from aimlapi_embeddings._errors import ConfigurationError, InvalidInputError


class Batch(Protocol):
    """A table of n rows, whatever library it is of.

    Attributes:
        only_fixed: Whether vectors are put in as fixed-size lists, whatever the user chose.
    """

    only_fixed: bool

    @property
    def rows(self) -> int:
        """Count the rows."""

    @property
    def names(self) -> Sequence[str]:
        """List the columns."""

    def values(self, name: str) -> list[Any]:
        """Return a column as n Python objects."""

    def arrow(self, name: str) -> Any:
        """Return a column of vectors as an Arrow array."""

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        """Return the table with Arrow arrays of n rows put in, over columns of the same name."""


class _ArrowBatch:
    """A Table or a RecordBatch of PyArrow."""

    only_fixed = False

    def __init__(self, table: Any) -> None:
        self._table = table
        self.rows, self.names = table.num_rows, table.schema.names

    def values(self, name: str) -> list[Any]:
        values: list[Any] = self._table.column(name).to_pylist()
        return values

    def arrow(self, name: str) -> Any:
        return self._table.column(name)

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        table = self._table
        for name, column in columns.items():
            if name in self.names:
                table = table.set_column(self.names.index(name), name, column)
            else:
                table = table.append_column(name, column)
        return table


class _PandasBatch:
    """A DataFrame of pandas: its index and the types of other columns stay."""

    only_fixed = False

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.rows, self.names = len(frame), list(frame.columns)

    def values(self, name: str) -> list[Any]:
        values: list[Any] = self._frame[name].tolist()
        return values

    def arrow(self, name: str) -> Any:
        return pa.array(self._frame[name], from_pandas=True)

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        import pandas as pd

        series = {
            name: pd.Series(pd.arrays.ArrowExtensionArray(column), index=self._frame.index)
            for name, column in columns.items()
        }
        return self._frame.assign(**series)


class _PolarsBatch:
    """A DataFrame of polars."""

    only_fixed = False

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.rows, self.names = frame.height, frame.columns

    def values(self, name: str) -> list[Any]:
        values: list[Any] = self._frame[name].to_list()
        return values

    def arrow(self, name: str) -> Any:
        return self._frame[name].to_arrow()

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        import polars as pl

        read: Any = pl.from_arrow
        return self._frame.with_columns(
            read(column).alias(name) for name, column in columns.items()
        )


class _ColumnsBatch:
    """A dict of columns, each an array of NumPy or a list: Ray's "numpy" format, HF datasets.

    Vectors go out as n x d float32, with NaN where a row has none.
    """

    only_fixed = True

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = columns
        self.names = list(columns)
        self.rows = _rows_of(columns)

    def values(self, name: str) -> list[Any]:
        return _as_list(self._columns[name])

    def arrow(self, name: str) -> Any:
        column = self._columns[name]
        if isinstance(column, np.ndarray) and column.dtype != object:
            if column.ndim != 2:
                return pa.array(column)
            return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
        return pa.array(_as_list(column), from_pandas=True)

    def with_columns(self, columns: Mapping[str, Any]) -> Any:
        return {**self._columns, **{name: _plain(column) for name, column in columns.items()}}


def _rows_of(columns: Mapping[str, Any]) -> int:
    """Count the rows of a dict of columns.

    Raises:
        InvalidInputError: One is no column, or they are not of the same length.
    """
    rows = dict[str, int]()
    for name, column in columns.items():
        try:
            rows[name] = len(column)
        except TypeError:  # it is a single value, or an iterator
            rows[name] = -1
        if rows[name] < 0 or isinstance(column, str | bytes):
            kind = type(column).__name__
            raise InvalidInputError(
                f"{name!r} is no column of the batch, but of the type {kind}. In a dict, a column "
                "is a list or an array with one value for each row. Where an engine hands over one "
                "row at a time, have it hand over batches, for example with batched=True."
            )
    if len({*rows.values()}) > 1:
        raise InvalidInputError(
            f"the columns of the batch are not of the same length: {rows}, in rows."
        )
    return max(rows.values(), default=0)


def _as_list(column: Any) -> list[Any]:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        values: list[Any] = column.to_pylist()
        return values
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _plain(column: Any) -> Any:
    """Return vectors as n x d numbers, everything else as an array of Python objects."""
    if not isinstance(column, pa.FixedSizeListArray):
        return np.array(column.to_pylist(), dtype=object)
    vectors = np.asarray(column.values).reshape(len(column), column.type.list_size)
    if column.null_count:
        vectors = np.where(np.asarray(column.is_valid())[:, None], vectors, np.float32(np.nan))
    return vectors


def _kind_of(batch: Any) -> Callable[[Any], Batch] | None:
    """Tell what library a batch is of; None where it is no batch."""
    if isinstance(batch, pa.Table | pa.RecordBatch):
        return _ArrowBatch
    kinds: tuple[tuple[str, Callable[[Any], Batch]], ...]
    kinds = (("pandas", _PandasBatch), ("polars", _PolarsBatch))
    for module, kind in kinds:
        library: Any = sys.modules.get(module)  # whoever passes its table has imported it
        if library is not None and isinstance(batch, library.DataFrame):
            return kind
    return _ColumnsBatch if isinstance(batch, Mapping) else None


def as_batch(batch: Any) -> Batch:
    """Take a batch by the library that it is of."""
    if (kind := _kind_of(batch)) is not None:
        return kind(batch)
    what = type(batch).__name__
    lazy = "; pass the step to its map_batches" if what == "LazyFrame" else ""
    raise InvalidInputError(
        "a batch is a Table or RecordBatch of PyArrow, a DataFrame of pandas or polars, or a dict "
        f"of columns, and not a {what}{lazy}."
    )


def check_batches(batches: Any) -> None:
    """Raise where one batch, or something else, stands in place of an iterable of them."""
    if _kind_of(batches) is not None:
        raise InvalidInputError(
            "over() takes an iterable of batches, and this is one batch, a "
            f"{type(batches).__name__}: call the step with it, step(batch)."
        )
    if not isinstance(batches, Iterable):
        raise InvalidInputError(
            "over() takes an iterable of batches, and not one of the type "
            f"{type(batches).__name__}."
        )


def check_column(batch: Batch, option: str, name: str) -> None:
    """Raise unless the batch has one column of this name."""
    found = list(batch.names).count(name)
    if found > 1:
        raise ConfigurationError(f"{option}={name!r}: {found} columns of the batch have that name.")
    if not found:
        near = nearest(name, [str(other) for other in batch.names])
        meant = f" Did you mean {near!r}?" if near else ""
        listed = ", ".join(repr(other) for other in batch.names) or "none"
        raise ConfigurationError(
            f"{option}={name!r} is not a column of the batch, which has {listed}.{meant} "
            f"Pass {option}= with the name of the column of {option}s."
        )
