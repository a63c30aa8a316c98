"""Which vectors are deleted, and how does the file get smaller?

A slice at a time, so that others can write in between. All functions raise `Held` and
`sqlite3.Error`.
"""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.options import as_integer
from aimlapi_embeddings.cache._contents import count, slices
from aimlapi_embeddings.cache._file import File, commit

if TYPE_CHECKING:
    import sqlite3

# Rows that one transaction deletes, and pages that one frees.
_DELETED_AT_ONCE = 5_000
_FREED_AT_ONCE = 5_000


def prune(file: File, timeout: float, older_than: timedelta | None, max_bytes: int | None) -> int:
    """Delete by age, then by size; see `VectorCache.prune`."""
    if older_than is None and max_bytes is None:
        raise ConfigurationError("prune() needs older_than, max_bytes, or both.")
    age = None if older_than is None else _checked_age(older_than)
    most = None if max_bytes is None else as_integer(max_bytes)
    if max_bytes is not None and (most is None or most < 0):
        raise ConfigurationError(f"max_bytes={max_bytes!r} is not an integer of 0 or more.")
    deleted = 0
    if age is not None:
        deleted += _delete_older(file, timeout, time.time() - age)
    if most is not None:
        while excess := _rows_above(file, most):
            deleted += _delete_oldest(file, timeout, excess)
    _shrink(file)
    return deleted


def clear(file: File, timeout: float) -> None:
    """Delete all vectors."""
    _delete_oldest(file, timeout)
    _shrink(file)


def _delete_older(file: File, timeout: float, made: float) -> int:
    """Delete what was written before a moment; tell how many."""
    condition = "id > ? AND id <= ? AND made <= ?"
    return sum(_delete_where(file, timeout, condition, *ids, made) for ids in slices(file))


def _delete_oldest(file: File, timeout: float, most: float = math.inf) -> int:
    """Delete the oldest vectors, at most so many; tell how many."""
    # Ids go up with time, since a row that is replaced gets a new one.
    condition, deleted = "id IN (SELECT id FROM vectors ORDER BY id LIMIT ?)", 0
    while deleted < most:
        rows = _delete_where(file, timeout, condition, int(min(_DELETED_AT_ONCE, most - deleted)))
        deleted += rows
        if not rows:
            break
    return deleted


def _delete_where(file: File, timeout: float, condition: str, *values: float) -> int:
    def delete(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(f"DELETE FROM vectors WHERE {condition}", values).rowcount
        commit(connection, timeout)
        return rows

    return file.perform(delete)


def _rows_above(file: File, max_bytes: int) -> int:
    """Estimate how many rows have to go before the file can have a size."""

    def look(connection: sqlite3.Connection) -> tuple[int, int]:
        pages, free, each = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * each - max_bytes, count(connection)

    excess, rows = file.perform(look)
    if excess <= 0 or rows == 0:
        return 0
    each = max((excess + max_bytes) / rows, 1)
    return min(rows, int(excess / each) + 1)


def _shrink(file: File) -> None:
    """Give free pages back to the file system."""

    def free(connection: sqlite3.Connection) -> int:
        # By executescript: with execute, fetchall() frees one page.
        connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])

    left = -1
    while left:
        now = file.perform(free)
        if now == left:  # a file whose pages cannot be freed
            break
        left = now


def _checked_age(older_than: object) -> float:
    """Return an age in seconds."""
    if isinstance(older_than, timedelta) and older_than >= timedelta(0):
        return older_than.total_seconds()
    number = isinstance(older_than, int | float) and not isinstance(older_than, bool)
    if number and 0 <= older_than < timedelta.max.days:  # type: ignore[operator]
        raise ConfigurationError(
            f"older_than={older_than!r} has no unit, so nothing was deleted. Pass "
            f"timedelta(days={older_than!r}) or timedelta(seconds={older_than!r})."
        )
    raise ConfigurationError(
        f"older_than={older_than!r} is not a timedelta of 0 or more, such as timedelta(days=90)."
    )
