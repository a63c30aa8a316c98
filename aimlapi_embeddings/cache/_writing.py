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
from functools import cache, partial
from typing import TYPE_CHECKING

from aimlapi_embeddings._types import Row
from aimlapi_embeddings.cache._file import File, commit
from aimlapi_embeddings.cache._opening import Held
from aimlapi_embeddings.cache._rows import stored

if TYPE_CHECKING:
    import sqlite3

# It has less than the 999 values that an old SQLite takes.
_ROWS_PER_STATEMENT = 50
_VALUES_PER_ROW = 4
# Seconds that writes wait for the file after one has timed out, until one succeeds.
_PATIENCE_AFTER_FAILURE = 1.0


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
        self._queued = time.monotonic()
        self._values: list[bytes | int] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def patience(self, most: float) -> float:
        """Return how many of so many seconds are left, the time in the queue counted."""
        return max(0.0, self._queued + most - time.monotonic())

    def prepare(self) -> list[bytes | int]:
        """Make what is written, which takes a while: four values for each vector, in one list.

        Were there a tuple for each vector, the garbage collector would run more often, and walk all
        lists of floats of the process.
        """
        if self._values is None:
            values: list[bytes | int] = []
            for i, (key, row) in enumerate(zip(self._keys, self._rows, strict=True)):
                values += (key, *stored(key, row, self._kept.get(i, 0)))
            self._values = values
        return self._values

    def write(self, connection: sqlite3.Connection) -> None:
        """Write them, in a transaction that is begun and ended by the caller."""
        common, values = (_number_of(connection, self._model), self._made), self.prepare()
        step = _ROWS_PER_STATEMENT * _VALUES_PER_ROW
        for start in range(0, len(values), step):
            some = values[start : start + step]
            rows = len(some) // _VALUES_PER_ROW
            if connection.execute(_insert("IGNORE", rows), (*common, *some)).rowcount < rows:
                # Some are there already, and may be damaged. To ask for this at once takes twice as
                # long, since SQLite would keep what it needs to take back each statement.
                connection.execute(_insert("REPLACE", rows), (*common, *some))


@cache
def _insert(those_there: str, rows: int) -> str:
    """Make the statement for so many rows.

    With one for each row it takes longer, and each gives up Python's lock and has to wait for it
    again while other threads read replies.
    """
    return (
        f"INSERT OR {those_there} INTO vectors (model, made, key, bytes_each, checksum, numbers) "
        f"SELECT ?, ?, * FROM (VALUES {', '.join(['(?, ?, ?, ?)'] * rows)})"
    )


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
            self._file.perform(partial(self._write, batch), batch.patience(self._patience))
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
