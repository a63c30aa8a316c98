"""Vectors that are paid for, in one file that programs share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from aimlapi_embeddings._errors import CacheError, CacheWarning, ConfigurationError
from aimlapi_embeddings._log import CACHE, Once
from aimlapi_embeddings._protocol.options import as_integer, check_seconds
from aimlapi_embeddings._protocol.request import KEY_BYTES
from aimlapi_embeddings._types import Row
from aimlapi_embeddings._warn import warn_user
from aimlapi_embeddings.cache._file import File, Held, commit, damaged
from aimlapi_embeddings.cache._rows import row_of, stored

if TYPE_CHECKING:
    import sqlite3

_KEYS_PER_STATEMENT = 500
# One statement for any number of keys, which are handed over as one blob: SQLite prepares it once,
# and it takes 0.83 of the time of `key IN (?, ?, ...)`.
_FIND = f"""
    WITH RECURSIVE asked(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM asked WHERE i + 1 < ?1)
    SELECT i, id, bytes_each, checksum, numbers
    FROM asked CROSS JOIN vectors ON key = substr(?2, i * {KEY_BYTES} + 1, {KEY_BYTES})
"""
# A row that is there already is replaced: it may be damaged.
_KEEP = """
    INSERT OR REPLACE INTO vectors (key, bytes_each, checksum, numbers, model, made)
    VALUES (?, ?, ?, ?, ?, ?)
"""
# Rows that one transaction deletes, and pages that one frees: others can write in between.
_DELETED_AT_ONCE = 5_000
_FREED_AT_ONCE = 5_000
# Seconds to wait for the file after a write that waited in vain, until one succeeds.
_PATIENCE_AFTER_FAILURE = 1.0


class Contents(NamedTuple):
    """What the file holds of one model.

    Attributes:
        model: Its id.
        rows: Vectors.
        nbytes: Bytes of their numbers.
        oldest: When the first one was written, in seconds since 1970.
        newest: The same of the last one.
    """

    model: str
    rows: int
    nbytes: int
    oldest: float
    newest: float


class _Batch:
    """Vectors that wait to be written. One is equal to itself alone.

    Args:
        columns: Of each vector: its key, and what is stored of it.
        model: Id of the model.
        made: When they came, in seconds since 1970.
    """

    def __init__(self, columns: Sequence[tuple[Any, ...]], model: str, made: int) -> None:
        self._columns = columns
        self._model = model
        self._made = made

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them, in a transaction that is begun and ended by the caller."""
        more = (_number_of(connection, self._model), self._made)
        connection.executemany(_KEEP, [(*row, *more) for row in self._columns])


class VectorCache:
    """A file of vectors that are paid for, so that no text is paid for twice.

    Threads, processes, clients and both adapters may share one file on a local disk. A vector is
    found only for the very request that would have bought it: same address, model, size, role, task
    type, prefix, title and extra fields. It is the same number, bit for bit, that came from the
    server. A batch is on the disk before the progress moves, and survives a kill.

    What cannot be opened or read is an error, before any request. What cannot be written is a
    `CacheWarning`, said once, and the job goes on.

    It pickles as its path. `len(cache)` counts its vectors.

    Args:
        path: Of the file, which is made when there is none. Its folder has to exist.
        timeout: Seconds to wait while another process holds the file.

    Raises:
        CacheError: The file cannot be opened, or is none of ours.

    Example:
        >>> with VectorCache("vectors.db") as cache:  # doctest: +SKIP
        ...     client = EmbeddingsClient(model="text-embedding-3-small", cache=cache)
    """

    _path: Path
    _timeout: float
    _patience: float

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        self._path = _absolute(path)
        self._timeout = check_seconds("timeout", timeout, allow_zero=True)
        self._start()
        with self._reading():
            self._reader.perform(_nothing)

    @property
    def path(self) -> Path:
        """Of the file; absolute."""
        return self._path

    @property
    def nbytes(self) -> int:
        """Bytes of the file, free pages and all; 0 when it is gone."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def find(self, keys: Sequence[bytes]) -> dict[int, Row]:
        """Look up vectors.

        Args:
            keys: n keys of 16 bytes.

        Returns:
            The vectors that are there, by the place of their key.

        Raises:
            CacheError: The file cannot be read, or is held by another process for too long.
        """
        found: dict[int, Row] = {}
        for start in range(0, len(keys), _KEYS_PER_STATEMENT):
            look_up = partial(_look_up, keys[start : start + _KEYS_PER_STATEMENT])
            with self._reading():
                rows = self._reader.perform(look_up)
            found |= self._sound(rows, keys, start)
        return found

    def find_now(self, keys: Sequence[bytes]) -> dict[int, Row] | None:
        """Do the same for a few keys without waiting for anybody; None when one would have to."""
        with self._reading():
            try:
                rows = self._reader.perform_now(partial(_look_up, keys))
            except Held:
                return None
        return self._sound(rows, keys, 0)

    def keep(self, keys: Sequence[bytes], rows: Sequence[Row], model: str = "") -> None:
        """Write vectors; they are on the disk when it returns.

        What cannot be written is warned of once.

        Args:
            keys: n keys of 16 bytes.
            rows: Their vectors, as they came from the server.
            model: Id of the model, for the statistics.
        """
        import sqlite3

        columns = [(key, *stored(key, row)) for key, row in zip(keys, rows, strict=True)]
        batch = _Batch(columns, model, int(time.time()))

        def write(connection: sqlite3.Connection) -> None:
            # What other threads wait to write is written too: that takes one wait for the disk.
            waiting = [*self._waiting]
            if batch not in waiting:  # another thread has written it
                return
            connection.execute("BEGIN IMMEDIATE")
            for each in waiting:
                each.write(connection)
            commit(connection, self._patience)
            for each in waiting:
                self._forget(each)

        self._waiting.append(batch)
        try:
            self._writer.perform(write, self._patience)
        except (Held, CacheError, sqlite3.Error) as error:
            self._forget(batch)
            if isinstance(error, Held):
                self._patience = min(self._timeout, _PATIENCE_AFTER_FAILURE)
            self._warn(len(columns), error)
        else:
            self._patience = self._timeout

    def contents(self) -> list[Contents]:
        """Tell what the file holds, by model.

        Raises:
            CacheError: The file cannot be read.
        """
        with self._reading():
            rows = self._reader.perform(
                lambda connection: connection.execute(
                    "SELECT coalesce(name, ''), count(*), sum(length(numbers)), min(made), "
                    "max(made) FROM vectors LEFT JOIN models ON models.id = model "
                    "GROUP BY model ORDER BY 1"
                ).fetchall()
            )
        return [Contents(*row) for row in rows]

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        max_bytes: int | None = None,
    ) -> int:
        """Delete vectors by the age of their writing, and make the file smaller.

        Args:
            older_than: Delete what was written longer ago than this, as a `timedelta`: a bare
                number would not say whether it means days or seconds.
            max_bytes: Then delete the oldest ones until the file has at most so many bytes.

        Returns:
            How many vectors were deleted.

        Raises:
            ConfigurationError: Neither was given, a negative one, or a number as age.
            CacheError: The file cannot be read or written.
        """
        if older_than is None and max_bytes is None:
            raise ConfigurationError("prune() needs older_than, max_bytes, or both.")
        deleted = 0
        if older_than is not None:
            deleted += self._delete("made <= ?", time.time() - _checked_age(older_than))
        if max_bytes is not None:
            most = as_integer(max_bytes)
            if most is None or most < 0:
                raise ConfigurationError(f"max_bytes={max_bytes!r} is not an integer of 0 or more.")
            while excess := self._rows_above(most):
                deleted += self._delete("true", limit=excess)
        self._shrink()
        return deleted

    def clear(self) -> None:
        """Delete all vectors.

        Raises:
            CacheError: The file cannot be written.
        """
        self._delete("true")
        self._shrink()

    def close(self) -> None:
        """Close the file. It is opened again when the cache is used again."""
        self._reader.close()
        self._writer.close()

    def __len__(self) -> int:
        with self._reading():
            return self._reader.perform(_count)

    def __bool__(self) -> bool:
        return True  # an empty one is a cache too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"VectorCache({str(self._path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": str(self._path), "timeout": self._timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path = Path(state["path"])
        self._timeout = state["timeout"]
        self._start()

    def __copy__(self) -> Self:
        return self  # a file cannot be copied by copying what reads it

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def _start(self) -> None:
        # Two, so that a query does not wait for a batch that is being written.
        self._reader = File(self._path, self._timeout)
        self._writer = File(self._path, self._timeout)
        self._patience = self._timeout
        self._waiting: list[_Batch] = []  # changed in single steps, by all threads
        self._once = Once()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn errors of SQLite into ours."""
        import sqlite3

        try:
            yield
        except Held as error:
            raise CacheError(
                f"the cache {str(self._path)!r} was held by another process for more than "
                f"{self._timeout:g} s. Wait until that has ended, or give VectorCache a longer "
                "timeout."
            ) from error
        except sqlite3.Error as error:
            raise damaged(self._path, error) from error

    def _sound(
        self, rows: Sequence[tuple[Any, ...]], keys: Sequence[bytes], start: int
    ) -> dict[int, Row]:
        """Take the rows that are what was kept for their key; delete the others."""
        found, damaged_rows = {}, []
        for i, row_id, *columns in rows:
            row = row_of(keys[start + i], *columns)
            if row is None:
                damaged_rows.append((row_id,))
            else:
                found[start + i] = row
        if damaged_rows:
            self._drop(damaged_rows)
        return found

    def _drop(self, row_ids: Sequence[tuple[int]]) -> None:
        """Delete damaged rows, if that is possible at once; else the next vectors replace them."""
        import sqlite3

        CACHE.warning("%d vectors of the cache are damaged, and count as missing", len(row_ids))

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM vectors WHERE id = ?", row_ids)
            connection.execute("COMMIT")

        try:
            self._writer.perform(delete, patience=0)
        except (Held, CacheError, sqlite3.Error) as error:
            CACHE.info("damaged vectors were not deleted: %s", error)

    def _forget(self, batch: _Batch) -> None:
        with suppress(ValueError):  # its own thread gave up waiting at the same moment
            self._waiting.remove(batch)

    def _warn(self, rows: int, error: Exception) -> None:
        why = "another process holds it" if isinstance(error, Held) else str(error)
        CACHE.warning("%d vectors were not written: %s", rows, why)
        if self._once.first("not written"):
            warn_user(
                f"vectors could not be written to the cache {str(self._path)!r}: {why}. The call "
                "goes on and gives all vectors, but these will have to be paid for again. This is "
                "said once.",
                CacheWarning,
            )

    def _delete(self, condition: str, *values: float, limit: int | None = None) -> int:
        """Delete the oldest rows of which something is true; tell how many."""
        deleted = 0
        while limit is None or deleted < limit:
            most = _DELETED_AT_ONCE if limit is None else min(_DELETED_AT_ONCE, limit - deleted)

            def delete(connection: sqlite3.Connection, most: int = most) -> int:
                connection.execute("BEGIN IMMEDIATE")
                # Ids go up with time, since a row that is replaced gets a new one.
                rows = connection.execute(
                    f"DELETE FROM vectors WHERE id IN (SELECT id FROM vectors WHERE {condition} "
                    f"ORDER BY id LIMIT {most})",
                    values,
                ).rowcount
                commit(connection, self._timeout)
                return rows

            with self._reading():
                rows = self._writer.perform(delete)
            deleted += rows
            if rows < most:
                break
        return deleted

    def _rows_above(self, max_bytes: int) -> int:
        """Estimate how many rows have to go before the file can have a size."""

        def look(connection: sqlite3.Connection) -> tuple[int, int]:
            pages, free, each = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return (pages - free) * each - max_bytes, _count(connection)

        with self._reading():
            excess, rows = self._writer.perform(look)
        if excess <= 0 or rows == 0:
            return 0
        each = max((excess + max_bytes) / rows, 1)
        return min(rows, int(excess / each) + 1)

    def _shrink(self) -> None:
        """Give free pages back to the file system."""

        def free(connection: sqlite3.Connection) -> int:
            # By executescript: with execute, fetchall() frees one page.
            connection.executescript(f"PRAGMA incremental_vacuum({_FREED_AT_ONCE})")
            return int(connection.execute("PRAGMA freelist_count").fetchone()[0])

        left = -1
        while left:
            with self._reading():
                now = self._writer.perform(free)
            if now == left:  # a file whose pages cannot be freed
                break
            left = now


def as_cache(cache: object) -> VectorCache | None:
    """Return a cache, the cache of a path, or None."""
    return cache if isinstance(cache, VectorCache | None) else VectorCache(cache)  # type: ignore[arg-type]


def check_cache(cache: object) -> None:
    """Raise unless it is a cache, names the file of one, or is None; nothing is opened."""
    if not isinstance(cache, VectorCache | None):
        _absolute(cache)


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


def _absolute(path: object) -> Path:
    if isinstance(path, bool):
        raise ConfigurationError(
            f"cache={path!r} names no file. Pass the path of one, such as cache='vectors.db', or "
            "leave out cache for none."
        )
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ConfigurationError(
            f"cache={path!r} is neither a VectorCache nor the path of a file, such as 'vectors.db'."
        )
    if not os.fspath(path):
        raise ConfigurationError("the path of the cache is empty; name a file.")
    if os.fspath(path) == ":memory:":
        raise ConfigurationError(
            "cache=':memory:' is no file: a cache in memory is not supported, since it would end "
            "with the process. Name a file, such as 'vectors.db'."
        )
    if not _can_be_named(os.fspath(path)):
        raise ConfigurationError(f"cache={path!r} is not a name that a file can have.")
    return Path(os.path.abspath(os.path.expanduser(path)))


def _can_be_named(path: str) -> bool:
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _nothing(connection: sqlite3.Connection) -> None:
    """Open the file, and no more."""


def _count(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    return int(rows)


def _look_up(keys: Sequence[bytes], connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    if not keys:
        return []
    return connection.execute(_FIND, (len(keys), b"".join(keys))).fetchall()


def _number_of(connection: sqlite3.Connection, model: str) -> int:
    """Return the number of a model in the file."""
    connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (model,))
    (number,) = connection.execute("SELECT id FROM models WHERE name = ?", (model,)).fetchone()
    return int(number)
