"""Which file is ours, and how is it opened?

A file is made where there is none, and one of another program is left as it is. It keeps a rollback
journal and not a write-ahead log: that is as fast for batches, and until SQLite 3.51.3 a log could
lose what two processes wrote at once (https://sqlite.org/wal.html, "The WAL-reset bug").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from aimlapi_embeddings._errors import CacheError, ConfigurationError

if TYPE_CHECKING:  # importing it takes 5 ms, which those without a cache need not wait
    import sqlite3

_APPLICATION_ID = 0x41494D56  # "AIMV"; tells our files from those of other programs
_FORMAT = 1
_SCHEMA = (
    "CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    # Not WITHOUT ROWID, which takes three times as long to write with rows of some kilobytes. What
    # the last three columns hold is said in `_rows`.
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


class Held(Exception):
    """Another process or connection holds the file, and did so for the whole time to wait."""


def connect(path: Path) -> sqlite3.Connection:
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
            if isinstance(error, sqlite3.OperationalError) and is_held(error):
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


def is_held(error: sqlite3.OperationalError) -> bool:
    """Tell whether another process or connection has the file."""
    import sqlite3

    # The lower byte is the kind of error, the upper ones tell more about it.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def absolute(path: object) -> Path:
    """Return the path of a file that can be named, whatever folder the process changes to."""
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
