"""How are vectors written? All that wait, by one thread, in one transaction.

A transaction waits for the disk five times, however little it writes, and the replies of a wave
come at once. So each batch is queued as soon as it came, before there is a thread to write it. The
thread whose turn it is writes all that is queued, and the others find that theirs is written.
A write returns when its batch is on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from aimlapi_embeddings._protocol.request import KEY_BYTES
from aimlapi_embeddings._types import Row
from aimlapi_embeddings.cache._file import File, commit
from aimlapi_embeddings.cache._opening import Held
from aimlapi_embeddings.cache._rows import stored

if TYPE_CHECKING:
    import sqlite3

_ROWS_PER_STATEMENT = 100
_CHECKSUM, _DIGITS = b"%10d", 10  # of 32 bits
# One statement for any number of rows of one width, each column of which is handed over as one
# blob. With a statement for each row it takes 1.3 times as long, and each gives up Python's lock
# and has to wait for it again while other threads read replies. A row that is there already is
# replaced: it may be damaged.
_KEEP = f"""
    WITH RECURSIVE given(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM given WHERE i + 1 < ?1)
    INSERT OR REPLACE INTO vectors (key, checksum, numbers, bytes_each, model, made)
    SELECT
        substr(?2, i * {KEY_BYTES} + 1, {KEY_BYTES}),
        CAST(substr(?3, i * {_DIGITS} + 1, {_DIGITS}) AS INTEGER),
        substr(?4, i * ?6 + 1, ?6),
        ?5,
        ?7,
        ?8
    FROM given
"""
# Seconds that writes wait for the file after one has timed out, until one succeeds.
_PATIENCE_AFTER_FAILURE = 1.0


class _Alike(NamedTuple):
    """Vectors of a batch that differ in nothing else, column by column.

    Lists of bytes and integers: were there a tuple for each vector, the garbage collector would
    run more often, and walk all lists of floats of the process.
    """

    keys: list[bytes]
    checksums: list[int]
    numbers: list[bytes]


class Batch:
    """Vectors that wait to be written. One is equal to itself alone.

    Args:
        keys: n keys of 16 bytes.
        rows: Their vectors.
        model: Id of the model.
        kept: How many characters of a text are in its vector, where that is not all; by position.
    """

    def __init__(
        self, keys: Sequence[bytes], rows: Sequence[Row], model: str, kept: Mapping[int, int]
    ) -> None:
        if len(keys) != len(rows):
            raise ValueError(f"{len(keys)} keys for {len(rows)} vectors")
        self._keys = keys
        self._rows = rows
        self._model = model
        self._kept = kept
        self._made = int(time.time())
        self._prepared: dict[tuple[int, int], _Alike] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def prepare(self) -> dict[tuple[int, int], _Alike]:
        """Make what is written, which takes a while: by `bytes_each`, and bytes of a vector."""
        if self._prepared is None:
            prepared: dict[tuple[int, int], _Alike] = {}
            for i, (key, row) in enumerate(zip(self._keys, self._rows, strict=True)):
                bytes_each, checksum, numbers = stored(key, row, self._kept.get(i, 0))
                kind = bytes_each, len(numbers)
                if kind not in prepared:
                    prepared[kind] = _Alike([], [], [])
                alike = prepared[kind]
                alike.keys.append(key)
                alike.checksums.append(checksum)
                alike.numbers.append(numbers)
            self._prepared = prepared
        return self._prepared

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them, in a transaction that is begun and ended by the caller."""
        model = _number_of(connection, self._model)
        for (bytes_each, width), alike in self.prepare().items():
            for start in range(0, len(alike.keys), _ROWS_PER_STATEMENT):
                some = slice(start, start + _ROWS_PER_STATEMENT)
                keys = alike.keys[some]
                checksums = _CHECKSUM * len(keys) % tuple(alike.checksums[some])
                columns = (len(keys), b"".join(keys), checksums, b"".join(alike.numbers[some]))
                connection.execute(_KEEP, (*columns, bytes_each, width, model, self._made))


class Writer:
    """Writes what all threads of this process have queued.

    Args:
        file: Of its own, so that look-ups do not wait for a batch that is being written.
        timeout: Seconds to wait while another process holds the file.
    """

    def __init__(self, file: File, timeout: float) -> None:
        self._file = file
        self._timeout = timeout
        self._patience = timeout
        self._waiting: list[Batch] = []  # changed in single steps, by all threads

    def queue(self, batch: Batch) -> Callable[[], None]:
        """Have a batch written by whoever writes next.

        Returns:
            A function that has to be called: perhaps nobody else writes. It returns when the
            batch is on the disk, and raises `Held`, `CacheError` or `sqlite3.Error` where it cannot
            be written.
        """
        self._waiting.append(batch)
        return partial(self._finish, batch)

    def _finish(self, batch: Batch) -> None:
        try:
            batch.prepare()  # here, where it does not keep others from writing
            self._file.perform(partial(self._write, batch), self._patience)
        except Exception as error:
            self._forget(batch)
            if isinstance(error, Held):
                self._patience = min(self._timeout, _PATIENCE_AFTER_FAILURE)
            raise
        self._patience = self._timeout

    def _write(self, batch: Batch, connection: sqlite3.Connection) -> None:
        """Write all that waits, unless this batch is written already."""
        waiting = [*self._waiting]
        if batch not in waiting:
            return
        for each in waiting:
            each.prepare()
        connection.execute("BEGIN IMMEDIATE")
        for each in waiting:
            each.write(connection)
        commit(connection, self._patience)
        for each in waiting:
            self._forget(each)

    def _forget(self, batch: Batch) -> None:
        with suppress(ValueError):  # its own thread gave up waiting at the same moment
            self._waiting.remove(batch)


def _number_of(connection: sqlite3.Connection, model: str) -> int:
    """Return the number of a model in the file."""
    connection.execute("INSERT OR IGNORE INTO models (name) VALUES (?)", (model,))
    (number,) = connection.execute("SELECT id FROM models WHERE name = ?", (model,)).fetchone()
    return int(number)
