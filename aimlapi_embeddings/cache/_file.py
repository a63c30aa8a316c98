"""Who uses a connection to the file, and when? One thread at a time, in each process its own.

SQLite's connections must not be carried across a fork. And it could wait by itself while another
process holds the file, but then Ctrl-C would have no effect: so all waits are here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from aimlapi_embeddings.cache._opening import Held, connect, is_held

if TYPE_CHECKING:  # importing them takes some ms, which those without a cache need not wait
    import sqlite3
    from concurrent.futures import Executor

T = TypeVar("T")

# One uses the connection, while others prepare what they write. Each is started when it is needed.
_THREADS = 8
# Seconds between two looks at a file that another process holds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02


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
        self._opened: tuple[int, int] | None = None
        self._process = os.getpid()
        self._inherited: list[object] = []
        self._threads: tuple[int, Executor] | None = None
        with _CHANGING:
            _FILES.add(self)

    @property
    def lock(self) -> threading.Lock:
        """Held by the thread that uses the connection, and while the process is forked."""
        return self._lock

    def threads(self) -> Executor:
        """Return the threads of this process that use the connection for event loops."""
        from concurrent.futures import ThreadPoolExecutor

        threads = self._threads
        if threads is None or threads[0] != os.getpid():
            made = ThreadPoolExecutor(_THREADS, "aimlapi-embeddings-cache")
            self._threads = threads = os.getpid(), made
        return threads[1]

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
        """Close the connection, and end idle threads. It is opened again when it is needed."""
        threads, self._threads = self._threads, None
        if threads is not None and threads[0] == os.getpid():
            threads[1].shutdown(wait=False)  # what is queued is done
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
            if isinstance(error, sqlite3.OperationalError) and is_held(error):
                raise Held from error
            if isinstance(error, sqlite3.DatabaseError):
                self._close()  # whatever it is: the next use looks anew at what is there
            raise

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # forked; closing another process's would break its locks
            self._inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        if self._connection is not None and self._is_moved():
            self._close()
        if self._connection is None:
            self._connection = connect(self._path)
            self._opened = self._file_there()
        return self._connection

    def _is_moved(self) -> bool:
        """Tell whether the file was deleted, renamed or replaced while it was open.

        SQLite would read on from what has no name any more, and refuse to write.
        """
        return self._file_there() != self._opened

    def _file_there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


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
            if not is_held(error) or time.monotonic() >= ends:
                raise
        else:
            return
        time.sleep(_FIRST_PAUSE)
