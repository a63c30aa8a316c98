"""Vectors that are paid for, in one file that programs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from aimlapi_embeddings._errors import CacheError, CacheWarning
from aimlapi_embeddings._log import CACHE, Once
from aimlapi_embeddings._protocol.options import check_seconds
from aimlapi_embeddings._protocol.request import KEY_BYTES
from aimlapi_embeddings._slices import Blocking
from aimlapi_embeddings._types import Row
from aimlapi_embeddings._warn import warn_user
from aimlapi_embeddings.cache._contents import Contents, contents, count
from aimlapi_embeddings.cache._file import File
from aimlapi_embeddings.cache._opening import Held, absolute, damaged
from aimlapi_embeddings.cache._pruning import clear, prune
from aimlapi_embeddings.cache._rows import ALL_OF_IT, kept_of, row_of
from aimlapi_embeddings.cache._writing import Batch, Writer

if TYPE_CHECKING:
    import sqlite3

_KEYS_PER_STATEMENT = 500
# One statement for any number of keys, which are handed over as one blob: SQLite prepares it once,
# and it takes 0.83 of the time of `key IN (?, ?, ...)`.
_FIND = f"""
    WITH RECURSIVE asked(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM asked WHERE i + 1 < ?)
    SELECT i, id, bytes_each, checksum, numbers
    FROM asked CROSS JOIN vectors ON key = substr(?, i * {KEY_BYTES} + 1, {KEY_BYTES})
"""
_WHOLE: Mapping[int, int] = MappingProxyType({})


class Found(dict[int, Row]):
    """Vectors by the place of their key.

    Attributes:
        kept: How many characters of a text are in its vector, where it was cut; by place.
    """

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}


class VectorCache:
    """A file of vectors, so that no text is paid for twice.

    Threads, processes, clients and both adapters may share one file on a local disk. A vector is
    found only for an equal request: the same text, address, model, size, role, task type, prefix,
    title and extra fields. It equals, bit for bit, the one that came from the server. The vectors
    of a request are written before the progress bar moves, and stay when the process is killed.

    A file that cannot be opened or read is an error before any request. A write that fails is a
    `CacheWarning`, given once, and the call goes on.

    It is pickled as its path. `len(cache)` is the number of its vectors.

    Args:
        path: Path of the file, which is made when there is none. Its folder has to exist.
        timeout: Seconds to wait while another process holds the file.

    Raises:
        CacheError: The file cannot be opened, or is a file of another kind.

    Example:
        >>> with VectorCache("vectors.db") as cache:  # doctest: +SKIP
        ...     client = EmbeddingsClient(model="text-embedding-3-small", cache=cache)
    """

    _path: Path
    _timeout: float

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        self._path = absolute(path)
        self._timeout = check_seconds("timeout", timeout, allow_zero=True)
        self._start()
        with self._reading():
            self._for_reading.perform(_nothing)

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

    def find(self, keys: Sequence[bytes]) -> Found:
        """Look up vectors.

        Args:
            keys: n keys of 16 bytes.

        Returns:
            The vectors that are there, by the place of their key; in `kept` how many characters of
            a text are in its vector, where the text was cut.

        Raises:
            CacheError: The file cannot be read, or is held by another process for too long.
        """
        found = Found()
        for start in range(0, len(keys), _KEYS_PER_STATEMENT):
            look_up = partial(_look_up, keys[start : start + _KEYS_PER_STATEMENT])
            with self._reading():
                rows = self._for_reading.perform(look_up)
            self._take(rows, keys, start, found)
        return found

    def finding(self, keys: Sequence[bytes]) -> Blocking[Found]:
        """Do the same when the result is called."""
        return Blocking(partial(self.find, keys), self._for_reading.threads)

    def find_now(self, keys: Sequence[bytes]) -> Found | None:
        """Do the same for a few keys without waiting for anybody; None when one would have to."""
        with self._reading():
            try:
                rows = self._for_reading.perform_now(partial(_look_up, keys))
            except Held:
                return None
        found = Found()
        self._take(rows, keys, 0, found)
        return found

    def keep(
        self,
        keys: Sequence[bytes],
        rows: Sequence[Row],
        model: str = "",
        kept: Mapping[int, int] = _WHOLE,
    ) -> None:
        """Write vectors; they are on the disk when it returns.

        What cannot be written is warned of once.

        Args:
            keys: n keys of 16 bytes.
            rows: Their vectors, as they came from the server.
            model: Id of the model, for the statistics.
            kept: How many characters of a text are in its vector, where it was cut; by position.
        """
        self.keeping(keys, rows, model, kept)()

    def keeping(
        self,
        keys: Sequence[bytes],
        rows: Sequence[Row],
        model: str = "",
        kept: Mapping[int, int] = _WHOLE,
    ) -> Blocking[None]:
        """Do the same in two steps: queue vectors now, and write them when the result is called.

        Whoever writes in between writes them too, in the same transaction.

        Returns:
            What has to be called. The vectors are on the disk when it returns.
        """
        write = self._writer.queue(Batch(keys, rows, model, kept))
        return Blocking(partial(self._keep, write, len(keys)), self._for_writing.threads)

    def _keep(self, write: Callable[[], None], rows: int) -> None:
        import sqlite3

        try:
            write()
        except (Held, CacheError, sqlite3.Error) as error:
            self._warn(rows, error)

    def contents(self) -> list[Contents]:
        """Return what the file holds, by model.

        Raises:
            CacheError: The file cannot be read.
        """
        with self._reading():
            return contents(self._for_reading)

    def prune(
        self,
        *,
        older_than: timedelta | None = None,
        max_bytes: int | None = None,
    ) -> int:
        """Delete old vectors, and make the file smaller.

        Args:
            older_than: Delete vectors that were written longer ago than this `timedelta`.
            max_bytes: Then delete the oldest ones until the file has at most so many bytes.

        Returns:
            How many vectors were deleted.

        Raises:
            ConfigurationError: Neither was given, a negative one, or a number as age.
            CacheError: The file cannot be read or written.
        """
        with self._reading():
            return prune(self._for_writing, self._timeout, older_than, max_bytes)

    def clear(self) -> None:
        """Delete all vectors.

        Raises:
            CacheError: The file cannot be written.
        """
        with self._reading():
            clear(self._for_writing, self._timeout)

    def close(self) -> None:
        """Close the file. It is opened again when the cache is used again."""
        self._for_reading.close()
        self._for_writing.close()

    def __len__(self) -> int:
        with self._reading():
            return self._for_reading.perform(count)

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
        self._for_reading = File(self._path, self._timeout)
        self._for_writing = File(self._path, self._timeout)
        self._writer = Writer(self._for_writing, self._timeout)
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
                "timeout. A network file system without locks looks the same: there the file "
                "belongs on a local disk."
            ) from error
        except sqlite3.Error as error:
            raise damaged(self._path, error) from error

    def _take(
        self, rows: Sequence[tuple[Any, ...]], keys: Sequence[bytes], start: int, found: Found
    ) -> None:
        """Take the rows that are what was kept for their key; delete the others."""
        damaged_rows = []
        for i, row_id, bytes_each, checksum, numbers in rows:
            row = row_of(keys[start + i], bytes_each, checksum, numbers)
            if row is None:
                damaged_rows.append((row_id,))
                continue
            found[start + i] = row
            if bytes_each > ALL_OF_IT:
                found.kept[start + i] = kept_of(bytes_each)
        if damaged_rows:
            self._drop(damaged_rows)

    def _drop(self, row_ids: Sequence[tuple[int]]) -> None:
        """Delete damaged rows, if that is possible at once; else the next vectors replace them."""
        import sqlite3

        CACHE.warning("%d vectors of the cache are damaged, and count as missing", len(row_ids))

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM vectors WHERE id = ?", row_ids)
            connection.execute("COMMIT")

        try:
            self._for_writing.perform(delete, patience=0)
        except (Held, CacheError, sqlite3.Error) as error:
            CACHE.info("damaged vectors were not deleted: %s", error)

    def _warn(self, rows: int, error: Exception) -> None:
        why = "another process holds it" if isinstance(error, Held) else str(error)
        CACHE.warning("%d vectors were not written: %s", rows, why)
        if self._once.first("not written"):
            warn_user(
                f"vectors could not be written to the cache {str(self._path)!r}: {why}. The call "
                "goes on and returns all vectors, but these will have to be paid for again. This "
                "warning is given once.",
                CacheWarning,
            )


def as_cache(cache: object) -> VectorCache | None:
    """Return a cache, the cache of a path, or None."""
    return cache if isinstance(cache, VectorCache | None) else VectorCache(cache)  # type: ignore[arg-type]


def as_cache_of_workers(cache: object) -> VectorCache | str | None:
    """Return what names the same file in processes that work in other folders; open nothing."""
    return cache if isinstance(cache, VectorCache | None) else str(absolute(cache))


def _nothing(connection: sqlite3.Connection) -> None:
    """Open the file, and no more."""


def _look_up(keys: Sequence[bytes], connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    if not keys:
        return []
    return connection.execute(_FIND, (len(keys), b"".join(keys))).fetchall()
