"""The SQLite file: opened, checked, and asked by one thread at a time.

Each process has connections of its own, since SQLite's must not be carried across a fork. The file
keeps a rollback journal and not a write-ahead log: that is as fast for batches, and until SQLite
3.51.3 a log could lose what two processes wrote at once (https://sqlite.org/wal.html, "The
WAL-reset bug").
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote
from weakref import WeakSet

from aimlapi_embeddings._errors import CacheError

if TYPE_CHECKING:  # importing it takes 5 ms, which those without a cache need not wait
    import sqlite3

T = TypeVar("T")

_APPLICATION_ID = 0x41494D56  # "AIMV"; tells our files from those of other programs
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Not WITHOUT ROWID, which takes three times as long to write with rows of some kilobytes.
    """CREATE TABLE vectors (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        model INTEGER NOT NULL,
        made INTEGER NOT NULL,
        bytes_each INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        numbers BLOB NOT NULL
    )""",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)
# A file that cannot be written can be read; one whose folder or file system allows no locks too.
_MODES = ("mode=rwc", "mode=ro", "mode=ro&immutable=1")
# Seconds between two looks at a file that another process holds. SQLite could wait by itself, but
# then Ctrl-C would have no effect.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02


class Held(Exception):
    """Another process or connection holds the file, and did so for the whole time to wait."""


class File:
    """One connection to the file in each process.

    Args:
        path: Absolute.
        timeout: Seconds to wait while another process holds the file.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._inherited: list[object] = []
        with _CHANGING:
            _FILES.add(self)

    @property
    def lock(self) -> threading.Lock:
        """Held by the thread that uses the connection, and while the process is forked."""
        return self._lock

    def perform(self, act: Callable[[sqlite3.Connection], T], patience: float | None = None) -> T:
        """Do something with the connection, again and again while another process holds the file.

        Args:
            act: Leaves no transaction open.
            patience: Seconds to wait at most, instead of the timeout.

        Raises:
            Held: Another process held the file for the whole time.
            CacheError: The file cannot be opened.
            sqlite3.Error: Of `act`; its transaction is rolled back.
        """
        ends = time.monotonic() + (self._timeout if patience is None else patience)
        pause = _FIRST_PAUSE
        while True:
            with self._lock:
                try:
                    return self._act(act)
                except Held:
                    if time.monotonic() >= ends:
                        raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def perform_now(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Do the same without waiting for anybody.

        Raises:
            Held: Another thread or process is at it, or the file is not open yet.
        """
        if not self._lock.acquire(blocking=False):
            raise Held
        try:
            if self._connection is None or self._process != os.getpid():
                raise Held
            return self._act(act)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection. It is opened again when it is needed."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        # Nobody else has it, so there is nothing to lock; and a lock is no place for a finalizer.
        self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.close()

    def _act(self, act: Callable[[sqlite3.Connection], T]) -> T:
        import sqlite3

        connection = self._open()
        try:
            return act(connection)
        except BaseException as error:
            if connection.in_transaction:
                connection.rollback()
            if isinstance(error, sqlite3.OperationalError) and _is_held(error):
                raise Held from error
            raise

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # forked; closing another process's would break its locks
            self._inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection


# A fork in the middle of SQLite's own work would leave its locks locked in the child. So no
# connection is in use while this process is forked.
_FILES: WeakSet[File] = WeakSet()
_CHANGING = threading.Lock()
_HELD: list[File] = []


def _before_fork() -> None:
    _CHANGING.acquire()
    _HELD[:] = _FILES
    for file in _HELD:
        file.lock.acquire()


def _after_fork() -> None:
    for file in _HELD:
        file.lock.release()
    _HELD.clear()
    _CHANGING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def commit(connection: sqlite3.Connection, timeout: float) -> None:
    """End a transaction, waiting for those who read. New readers are kept out meanwhile."""
    import sqlite3

    ends = time.monotonic() + timeout
    while True:
        try:
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if not _is_held(error) or time.monotonic() >= ends:
                raise
        else:
            return
        time.sleep(_FIRST_PAUSE)


def _is_held(error: sqlite3.OperationalError) -> bool:
    import sqlite3

    # The lower byte is the kind of error, the upper ones tell more about it.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, and make it when there is none.

    Raises:
        CacheError: It cannot be opened, or is no file of ours.
        Held: Another process holds it.
    """
    import sqlite3

    if path.is_dir():
        raise CacheError(f"the cache {str(path)!r} is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise CacheError(
            f"the cache {str(path)!r} cannot be made, since there is no folder "
            f"{str(path.parent)!r}; make it first."
        )
    refused: sqlite3.DatabaseError | None = None
    for mode in _MODES:
        connection = None
        try:
            connection = sqlite3.connect(
                f"file:{quote(os.fsencode(path))}?{mode}",
                uri=True,
                timeout=0,
                isolation_level=None,  # transactions are begun by us
                check_same_thread=False,
            )
            _check(connection, path, make=mode == _MODES[0])
            return connection
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.OperationalError) and _is_held(error):
                raise Held from error
            kind = error.sqlite_errorcode & 0xFF
            if kind == sqlite3.SQLITE_NOTADB:
                raise CacheError(
                    f"the cache {str(path)!r} is a file of another kind; it is left as it is. Name "
                    "another file."
                ) from error
            if kind not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                raise damaged(path, error) from error
            refused = refused or error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
    raise CacheError(f"the cache {str(path)!r} can be neither read nor written: {refused}.")


def damaged(path: Path, error: sqlite3.Error) -> CacheError:
    """Say that the file cannot be read, and what to do."""
    return CacheError(
        f"the cache {str(path)!r} cannot be read: {error}. No vector of it was used. When the disk "
        "is sound, delete the file and what is named like it with -journal: all it holds can be "
        "paid for again. Or save what is left of it: sqlite3 FILE .recover | sqlite3 NEW_FILE"
    )


def _check(connection: sqlite3.Connection, path: Path, *, make: bool) -> None:
    """Prepare a connection; make the tables in an empty file."""
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    # Else a batch larger than SQLite's memory would lock readers out before it is complete.
    connection.execute("PRAGMA cache_spill = OFF")
    if _is_ours(connection, path):
        return
    if not make:
        raise CacheError(
            f"the cache {str(path)!r} is empty, and cannot be written. Name a file that can."
        )
    # Only here: on a file that is not empty, the second would write.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("BEGIN IMMEDIATE")
    if not _is_ours(connection, path):  # looked for again: another process may have made it
        for statement in _SCHEMA:
            connection.execute(statement)
    connection.execute("COMMIT")


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the file is ours or empty.

    Raises:
        CacheError: It is neither.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        if application or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise CacheError(
                f"the cache {str(path)!r} is a SQLite file of another program; it is left as it "
                "is. Name another file."
            )
        return False
    if version != _FORMAT:
        raise CacheError(
            f"the cache {str(path)!r} has format {version}, and this version reads {_FORMAT}. It "
            "was made by another version of aimlapi-embeddings: use that one, or name another file."
        )
    return True
