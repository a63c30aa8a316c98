"""What was kept is found again: the same number, bit for bit, and nothing else."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import sqlite3
import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import CacheWarning, ConfigurationError, VectorCache
from aimlapi_embeddings._types import Row
from aimlapi_embeddings.cache._contents import contents
from aimlapi_embeddings.cache._file import File
from aimlapi_embeddings.cache._pruning import prune

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NARROW = st.floats(allow_nan=False, allow_infinity=False, width=32)
ROWS = st.one_of(
    st.lists(FLOATS, min_size=1, max_size=20),
    st.lists(NARROW, min_size=1, max_size=20),
    st.lists(NARROW, min_size=1, max_size=20).map(lambda row: struct.pack(f"<{len(row)}f", *row)),
)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def keys(count: int) -> list[bytes]:
    return [key(i) for i in range(count)]


def rows(count: int, size: int = 8) -> list[Row]:
    return [struct.pack("<f", i + 1.0) * size for i in range(count)]


def floats(row: Row) -> list[float]:
    return row if isinstance(row, list) else list(struct.unpack(f"<{len(row) // 4}f", row))


def bits(numbers: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


@given(row=ROWS)
def test_a_vector_comes_back_bit_for_bit(cache: VectorCache, row: Row) -> None:
    cache.keep([key(1)], [row])
    found = cache.find([key(1)])[0]
    assert bits(floats(found)) == bits(floats(row))
    assert cache.find_now([key(1)]) in (None, {0: found})


@pytest.mark.parametrize("number", [-0.0, 5e-324, 1e300, 1.1, math.pi, 3.4028234663852886e38])
def test_numbers_that_are_easily_lost_come_back(cache: VectorCache, number: float) -> None:
    cache.keep([key(1)], [[number, 0.5]])
    assert bits(floats(cache.find([key(1)])[0])) == bits([number, 0.5])


@pytest.mark.parametrize("count", [0, 1, 32, 33, 499, 500, 501, 1200])
def test_any_number_of_keys_is_found_at_its_place(cache: VectorCache, count: int) -> None:
    cache.keep(keys(1300), rows(1300))
    asked = [key(3 * i if i % 2 else 5000 + i) for i in range(count)]
    found = cache.find(asked)
    assert found == {i: rows(3 * i + 1)[3 * i] for i in range(count) if i % 2 and 3 * i < 1300}


def test_a_key_that_is_asked_for_twice_is_found_twice(cache: VectorCache) -> None:
    cache.keep(keys(1), rows(1))
    assert cache.find([key(0), key(7), key(0)]) == {0: rows(1)[0], 2: rows(1)[0]}


def test_of_two_vectors_for_a_key_the_last_one_is_kept(cache: VectorCache) -> None:
    cache.keep(keys(1), [[1.0]])
    cache.keep(keys(1), [[2.0]])
    assert len(cache) == 1
    assert floats(cache.find(keys(1))[0]) == [2.0]


def test_rows_of_several_widths_are_written_together(cache: VectorCache) -> None:
    """As JSON numbers come: some rows lose nothing as float32, the others are wider."""
    some: list[Row] = [
        [0.1, n / 10] if n % 7 == 0 else [float(n)] * (2 + n % 3) for n in range(700)
    ]
    cache.keep(keys(700), some)
    found = cache.find(keys(700))
    assert [floats(found[i]) for i in range(700)] == some


def test_as_many_keys_as_rows_are_written_or_none(cache: VectorCache) -> None:
    with pytest.raises(ValueError, match="2 keys for 3 vectors"):
        cache.keep(keys(2), rows(3))
    cache.keep([key(7)], rows(1))
    assert len(cache) == 1


# What is told of a text


@given(row=ROWS, characters=st.integers(1, 2**40))
def test_a_row_has_the_number_of_characters_in_its_vector(
    cache: VectorCache, row: Row, characters: int
) -> None:
    cache.keep([key(1), key(2)], [row, row], kept={1: characters})
    for found in (cache.find([key(0), key(1), key(2)]), cache.find_now([key(0), key(1), key(2)])):
        assert found is not None
        assert found.kept == {2: characters}
        assert bits(floats(found[2])) == bits(floats(row))
    cache.keep([key(2)], [row])
    assert cache.find([key(2)]).kept == {}


@pytest.mark.parametrize("bit", [0, 2, 3, 8, 20, 31, 32, 40, 62, 63])
def test_a_bit_of_it_that_is_damaged_is_a_miss(cache: VectorCache, bit: int) -> None:
    cache.keep(keys(2), rows(2), kept={0: 1000})
    connection = sqlite3.connect(cache.path)
    ((value,),) = connection.execute("SELECT bytes_each FROM vectors WHERE id = 1")
    flipped = (value ^ 1 << bit) - (2**64 if bit == 63 else 0)
    connection.execute("UPDATE vectors SET bytes_each = ? WHERE id = 1", (flipped,))
    connection.commit()
    connection.close()
    assert [*cache.find(keys(2))] == [1]


def test_a_file_of_a_version_that_did_not_store_it_is_read(cache: VectorCache) -> None:
    """Rows as they were written then: width, checksum and numbers by hand."""
    numbers = struct.pack("<3f", 1.0, 2.0, 3.0)
    connection = sqlite3.connect(cache.path)
    connection.execute(
        "INSERT INTO vectors (key, model, made, bytes_each, checksum, numbers) "
        "VALUES (?, 1, 0, 4, ?, ?)",
        (key(1), crc32(numbers, crc32(key(1), 4)), numbers),
    )
    connection.commit()
    connection.close()
    found = cache.find([key(1)])
    assert (found, found.kept) == ({0: numbers}, {})


def test_it_tells_how_much_it_holds_and_is_true_when_empty(cache: VectorCache) -> None:
    assert len(cache) == 0
    assert cache
    cache.keep(keys(100), rows(100, 1000))
    assert len(cache) == 100
    assert cache.nbytes == cache.path.stat().st_size > 400_000


def test_it_can_be_used_again_after_it_was_closed(cache: VectorCache) -> None:
    cache.keep(keys(2), rows(2))
    cache.close()
    cache.close()
    assert len(cache) == 2
    with cache:
        cache.keep([key(5)], rows(1))
    assert len(cache.find([key(5)])) == 1


def test_its_copies_are_itself_and_its_pickle_is_its_path(cache: VectorCache) -> None:
    cache.keep(keys(1), rows(1))
    assert copy.copy(cache) is copy.deepcopy(cache) is cache
    state = pickle.dumps(cache)
    assert str(cache.path).encode() in state
    assert len(state) < 500
    with pickle.loads(state) as other:
        assert other is not cache
        assert other.find(keys(1)) == cache.find(keys(1))
        assert repr(other) == repr(cache) == f"VectorCache({str(cache.path)!r})"


def test_a_path_is_fixed_when_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with VectorCache("here.db") as relative, VectorCache("~/here.db") as home:
        assert relative.path == home.path == tmp_path / "here.db"
        monkeypatch.chdir("/")
        relative.keep(keys(1), rows(1))
        assert len(home) == 1


@pytest.mark.parametrize("bad", [None, 5, True, b"bytes", "", object()])
def test_what_is_no_path_is_named(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache"):
        VectorCache(bad)


@pytest.mark.parametrize("timeout", [-1, "1", None, math.inf])
def test_a_timeout_is_a_number_of_seconds(path: Path, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        VectorCache(path, timeout=timeout)


# Pruning


def age(cache: VectorCache, below: int, seconds: float) -> None:
    """Make the first rows older."""
    connection = sqlite3.connect(cache.path)
    connection.execute("UPDATE vectors SET made = made - ? WHERE id <= ?", (seconds, below))
    connection.commit()
    connection.close()


def test_pruning_by_age_deletes_what_is_older(cache: VectorCache) -> None:
    older_than = timedelta(hours=1)
    cache.keep(keys(100), rows(100))
    age(cache, 40, 7200)
    assert cache.prune(older_than=older_than) == 40
    assert sorted(cache.find(keys(100))) == [*range(40, 100)]
    assert cache.prune(older_than=older_than) == 0


def test_pruning_by_size_deletes_the_oldest_and_makes_the_file_smaller(cache: VectorCache) -> None:
    for start in range(0, 12_000, 3000):
        cache.keep([key(start + i) for i in range(3000)], rows(3000, 250))
    before = cache.nbytes
    deleted = cache.prune(max_bytes=before // 2)
    assert 5000 < deleted < 8000
    assert before // 3 < cache.nbytes <= before // 2
    assert [*cache.find(keys(12_000))] == [*range(deleted, 12_000)]


def test_clearing_leaves_a_small_file(cache: VectorCache) -> None:
    cache.keep(keys(6000), rows(6000, 250))
    cache.clear()
    assert len(cache) == 0
    assert cache.nbytes < 200_000
    cache.keep(keys(1), rows(1))
    assert len(cache) == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"older_than": timedelta(-1)},
        {"older_than": -1},
        {"older_than": True},
        {"older_than": float("nan")},
        {"older_than": "1"},
        {"max_bytes": -1},
        {"max_bytes": 1.5},
    ],
)
def test_pruning_needs_an_age_or_a_size(cache: VectorCache, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        cache.prune(**options)


def test_a_size_that_is_none_deletes_nothing_by_age_before_it_is_refused(
    cache: VectorCache,
) -> None:
    cache.keep(keys(10), rows(10))
    with pytest.raises(ConfigurationError, match="max_bytes=-1"):
        cache.prune(older_than=timedelta(0), max_bytes=-1)
    assert len(cache) == 10


@pytest.mark.parametrize("number", [0, 90, 90.5])
def test_an_age_without_a_unit_deletes_nothing(cache: VectorCache, number: Any) -> None:
    cache.keep(keys(10), rows(10))
    age(cache, 10, 200 * 86_400)
    with pytest.raises(ConfigurationError) as caught:
        cache.prune(older_than=number, max_bytes=0)
    assert f"timedelta(days={number}) or timedelta(seconds={number})" in str(caught.value)
    assert len(cache) == 10


def test_contents_are_told_by_model(cache: VectorCache) -> None:
    now = time.time()
    cache.keep(keys(3), rows(3, 4), "one-model")
    cache.keep([key(10 + i) for i in range(2)], rows(2, 2), "another")
    told = {each.model: (each.rows, each.nbytes) for each in cache.contents()}
    assert told == {"one-model": (3, 48), "another": (2, 16)}
    assert all(abs(each.newest - now) < 60 for each in cache.contents())


class Watched(File):
    """A file that another program writes to after each use, without waiting for it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 0.0)
        self.path, self.uses = path, 0

    def perform(self, act: Any, patience: float | None = None) -> Any:
        result = super().perform(act, patience)
        other = sqlite3.connect(self.path, timeout=0)
        other.execute("INSERT INTO models (name) VALUES (?)", (f"after use {self.uses}",))
        other.commit()
        other.close()
        self.uses += 1
        return result


@pytest.mark.parametrize(
    "use",
    [contents, lambda file: prune(file, 0.0, timedelta(hours=1), None)],
    ids=["contents", "prune"],
)
def test_others_can_write_while_a_large_file_is_looked_through(
    cache: VectorCache, use: Callable[[File], object]
) -> None:
    cache.keep(keys(12_000), rows(12_000, 4))
    file = Watched(cache.path)
    use(file)
    file.close()
    assert file.uses >= 6


def test_a_large_file_is_looked_through_to_its_end(cache: VectorCache) -> None:
    for start in range(0, 12_000, 4_000):
        some = [key(start + i) for i in range(4_000)]
        cache.keep(some, rows(4_000, 4), "even" if start % 8_000 else "odd")
    age(cache, 3_000, 7_200)
    age(cache, 9_000, 7_200)
    told = {each.model: (each.rows, each.nbytes) for each in cache.contents()}
    assert told == {"even": (4_000, 64_000), "odd": (8_000, 128_000)}
    odd = cache.contents()[1]
    assert odd.newest - odd.oldest >= 14_400
    assert cache.prune(older_than=timedelta(hours=1)) == 9_000
    assert len(cache) == 3_000


# Threads


def test_threads_share_one_cache(cache: VectorCache) -> None:
    def work(thread: int) -> int:
        for n in range(10):
            some = [key(1000 * thread + 10 * n + i) for i in range(10)]
            cache.keep(some, rows(10))
            assert len(cache.find(some)) == 10
        return len(cache)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(cache) == 800


def test_what_several_threads_wait_to_write_is_all_written(cache: VectorCache) -> None:
    """Another process holds the file, so that all of them wait; one of them writes for all."""
    other = sqlite3.connect(cache.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            some = [key(100 * thread + i) for i in range(10)]
            pool.submit(cache.keep, some, rows(10), f"model {thread}")
        other.execute("ROLLBACK")
    other.close()
    for thread in range(8):
        some = [key(100 * thread + i) for i in range(10)]
        assert cache.find(some) == dict(enumerate(rows(10)))
    assert {each.model: each.rows for each in cache.contents()} == {
        f"model {thread}": 10 for thread in range(8)
    }


def test_what_is_queued_is_written_by_whoever_writes_next(cache: VectorCache) -> None:
    waits = [cache.keeping([key(i)], rows(1)) for i in range(3)]
    with VectorCache(cache.path) as other:
        assert len(other) == 0
        cache.keep([key(9)], rows(1))
        assert len(other) == 4
    before = cache.path.read_bytes()
    for finish in waits:
        finish()
    assert cache.path.read_bytes() == before, "it was not written again"


@pytest.mark.parametrize("held_by", ["a writer", "a reader"])
def test_a_batch_that_was_not_written_is_not_written_later_and_hinders_no_other(
    path: Path, held_by: str
) -> None:
    """A writer is met at the beginning of a transaction, a reader at its end."""
    holder = sqlite3.connect(path, isolation_level=None)
    with VectorCache(path, timeout=0.05) as cache:
        cache.keep(keys(1), rows(1))
        if held_by == "a writer":
            holder.execute("BEGIN IMMEDIATE")
        else:
            holder.execute("BEGIN")
            holder.execute("SELECT * FROM vectors").fetchone()
        one, two = (cache.keeping([key(i)], rows(1)) for i in (1, 2))
        with pytest.warns(CacheWarning, match="another process holds it"):
            one()
        holder.execute("ROLLBACK")
        two()
        assert [*cache.find(keys(3))] == [0, 2]
    holder.close()


def test_a_lookup_that_may_not_wait_does_not(cache: VectorCache) -> None:
    cache.close()
    assert cache.find_now(keys(1)) is None, "opening the file may take long"
    cache.keep(keys(1), rows(1))
    assert cache.find(keys(1)) == cache.find_now(keys(1)) == {0: rows(1)[0]}
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert cache.find_now(keys(1)) is None
    other.execute("ROLLBACK")
    other.close()
    assert cache.find_now(keys(1)) == {0: rows(1)[0]}


def open_files(path: Path) -> list[str]:
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(os.readlink(each))
    return [each for each in found if each.startswith(str(path))]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="tells open files on Linux alone")
def test_a_cache_that_is_forgotten_closes_its_file(path: Path) -> None:
    cache = VectorCache(path)
    cache.keep(keys(1), rows(1))
    assert open_files(path)
    del cache
    gc.collect()
    assert not open_files(path)


def test_a_write_that_fails_is_warned_of_once_and_the_next_one_is_tried(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    with VectorCache(path, timeout=0.05) as cache:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.warns(CacheWarning, match="another process holds it"):
            cache.keep(keys(1), rows(1))
        cache.keep(keys(1), rows(1))  # a second warning would be an error
        holder.execute("ROLLBACK")
        cache.keep(keys(1), rows(1))
        assert len(cache) == 1
    holder.close()
