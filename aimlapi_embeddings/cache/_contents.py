"""What does the file hold? Read a slice at a time.

Nobody can end a transaction while somebody reads. To read a file of some gigabytes takes longer
than others wait, and what they could not write would have to be paid for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from aimlapi_embeddings.cache._file import File

if TYPE_CHECKING:
    import sqlite3

ROWS_AT_ONCE = 5_000
_END_OF_SLICE = "SELECT max(id) FROM (SELECT id FROM vectors WHERE id > ? ORDER BY id LIMIT ?)"


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


def count(connection: sqlite3.Connection) -> int:
    """Count the vectors."""
    (rows,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
    return int(rows)


def slices(file: File) -> Iterator[tuple[int, int]]:
    """Cut the rows that are there now into slices: ids above the first number, up to the second."""
    first, (end,) = 0, _ids(file, "SELECT max(id) FROM vectors")
    while end is not None and first < end:
        (last,) = _ids(file, _END_OF_SLICE, first, ROWS_AT_ONCE)
        if last is None:  # another process has deleted what was left
            return
        yield first, last
        first = last


def _ids(file: File, statement: str, *values: int) -> tuple[int | None]:
    def look(connection: sqlite3.Connection) -> tuple[int | None]:
        found: tuple[int | None] = connection.execute(statement, values).fetchone()
        return found

    return file.perform(look)


def contents(file: File) -> list[Contents]:
    """Tell what there is, by model."""
    found: dict[str, Contents] = {}
    for ids in slices(file):

        def look(connection: sqlite3.Connection, ids: tuple[int, int] = ids) -> list[Any]:
            return connection.execute(
                "SELECT coalesce(name, ''), count(*), sum(length(numbers)), min(made), max(made) "
                "FROM vectors LEFT JOIN models ON models.id = model "
                "WHERE vectors.id > ? AND vectors.id <= ? GROUP BY model",
                ids,
            ).fetchall()

        for each in map(Contents._make, file.perform(look)):
            before = found.get(each.model, Contents(each.model, 0, 0, each.oldest, each.newest))
            found[each.model] = Contents(
                each.model,
                before.rows + each.rows,
                before.nbytes + each.nbytes,
                min(before.oldest, each.oldest),
                max(before.newest, each.newest),
            )
    return [found[model] for model in sorted(found)]
