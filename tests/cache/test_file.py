"""Whatever happens to the file: an error, a miss or a warning, and never a wrong vector."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    CacheError,
    CacheWarning,
    ConfigurationError,
    VectorCache,
)
from tests.support.cache_writer import PER_BATCH, THREADS
from tests.support.cached_rows import key_of, names, row_of

FILLED = 400


def fill(cache: VectorCache, some: list[str]) -> None:
    cache.keep([*map(key_of, some)], [*map(row_of, some)], "a-model")


def found_of(cache: VectorCache, some: list[str]) -> set[str]:
    """Tell which vectors are found; each of them has to be the right one."""
    found = cache.find([*map(key_of, some)])
    for place, row in found.items():
        assert row == row_of(some[place]), "a wrong vector"
    return {some[place] for place in found}


@pytest.fixture
def filled(cache: VectorCache) -> VectorCache:
    """A cache of 400 vectors; no process has it open."""
    fill(cache, names(FILLED))
    cache.close()
    return cache


# What cannot be opened is said when it is made


def text_file(path: Path) -> None:
    path.write_text("This is a text and no database. " * 100)


def short_text_file(path: Path) -> None:
    path.write_text("notes")


def other_sqlite_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.commit()
    connection.close()


def newer_format(path: Path) -> None:
    VectorCache(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a folder"),
        (text_file, "another kind"),
        (short_text_file, "another kind"),
        (other_sqlite_file, "another program"),
        (newer_format, "format 2"),
    ],
    ids=["folder", "text", "short text", "SQLite", "newer"],
)
def test_a_file_of_another_kind_is_refused_and_not_changed(
    path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(CacheError, match=says) as caught:
        VectorCache(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, AIMLAPIError)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"there is no folder .*missing"):
        VectorCache(tmp_path / "missing" / "vectors.db")


def test_an_empty_file_becomes_a_cache(path: Path) -> None:
    path.touch()
    with VectorCache(path) as cache:
        fill(cache, ["a"])
        assert found_of(cache, ["a"]) == {"a"}


def test_a_name_with_characters_of_urls_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "50% #1?mode=ro.db"
    with VectorCache(path) as cache:
        fill(cache, ["a"])
    assert path.exists()


# It is another file than before, or none


def deleted(path: Path) -> None:
    path.unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replaced_by_another_program(path: Path) -> None:
    path.unlink()
    with VectorCache(path) as other:
        fill(other, ["of the other"])


def replaced_by_a_backup(path: Path) -> None:
    with VectorCache(path.with_suffix(".backup")) as other:
        fill(other, ["of the other"])
    path.with_suffix(".backup").replace(path)


@pytest.mark.parametrize(
    ("change", "there"),
    [
        (deleted, set()),
        (renamed, set()),
        (replaced_by_another_program, {"of the other"}),
        (replaced_by_a_backup, {"of the other"}),
    ],
)
def test_a_file_that_is_removed_while_it_is_open_is_made_or_opened_again(
    cache: VectorCache, change: Callable[[Path], None], there: set[str]
) -> None:
    fill(cache, ["before"])
    assert found_of(cache, ["before"]) == {"before"}
    change(cache.path)
    assert found_of(cache, ["before", "of the other"]) == there
    change(cache.path)  # and once more, so that a write is what finds it
    fill(cache, ["after"])
    assert found_of(cache, ["before", "of the other", "after"]) == {*there, "after"}
    with VectorCache(cache.path) as other:
        assert found_of(other, ["after"]) == {"after"}


def test_a_file_that_was_emptied_is_an_error_once_and_then_a_cache_again(
    cache: VectorCache,
) -> None:
    fill(cache, ["before"])
    os.truncate(cache.path, 0)
    with pytest.raises(CacheError, match="cannot be read"):
        cache.find([key_of("before")])
    assert found_of(cache, ["before"]) == set()
    fill(cache, ["after"])
    assert found_of(cache, ["before", "after"]) == {"after"}


# Another process holds it


def test_reads_go_on_while_another_process_writes(filled: VectorCache) -> None:
    other = sqlite3.connect(filled.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with VectorCache(filled.path, timeout=0.1) as cache:
        with pytest.warns(CacheWarning, match="another process holds it"):
            fill(cache, ["new"])
        assert found_of(cache, names(FILLED)) == {*names(FILLED)}
    other.close()


def test_a_file_that_is_held_for_too_long_is_an_error_of_reading(filled: VectorCache) -> None:
    other = sqlite3.connect(filled.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache = VectorCache.__new__(VectorCache)
    cache.__setstate__({"path": str(filled.path), "timeout": 0.1})
    with pytest.raises(CacheError, match=r"held by another process for more than 0\.1 s") as caught:
        cache.find([key_of("0")])
    assert type(caught.value) is CacheError  # a traceback names a class that can be imported
    with pytest.raises(CacheError, match="held by another process"):
        VectorCache(filled.path, timeout=0.1)
    other.close()


def test_a_write_waits_until_another_process_has_ended(filled: VectorCache) -> None:
    other = sqlite3.connect(filled.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
    timer.start()
    fill(filled, ["new"])
    assert found_of(filled, ["new"]) == {"new"}
    timer.join()
    other.close()


def test_a_write_waits_for_those_who_read(filled: VectorCache) -> None:
    other = sqlite3.connect(filled.path, isolation_level=None, check_same_thread=False)
    reading = other.execute("SELECT * FROM vectors")
    reading.fetchone()
    timer = threading.Timer(0.3, reading.close)
    timer.start()
    fill(filled, ["new"])
    timer.join()
    assert found_of(filled, ["new"]) == {"new"}
    other.close()


def test_after_a_write_that_waited_in_vain_the_next_ones_wait_less_until_one_succeeds(
    filled: VectorCache,
) -> None:
    other = sqlite3.connect(filled.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with VectorCache(filled.path, timeout=2.0) as cache:
        with pytest.warns(CacheWarning):
            fill(cache, ["one"])
        begun = time.monotonic()
        fill(cache, ["two"])
        assert time.monotonic() - begun < 1.8
        other.execute("ROLLBACK")
        fill(cache, ["three"])
        assert found_of(cache, ["one", "two", "three"]) == {"three"}
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(1.3, lambda: other.execute("ROLLBACK"))
        timer.start()
        fill(cache, ["four"])
        timer.join()
        assert found_of(cache, ["four"]) == {"four"}
    other.close()


# What cannot be written

READ_ONLY = """
import os, sqlite3, sys, warnings
from aimlapi_embeddings import CacheWarning, VectorCache
from tests.support.cached_rows import key_of, names, row_of
if os.getuid() == 0:  # who may write everywhere
    os.setgid(65534)
    os.setuid(65534)

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    cache = VectorCache(sys.argv[1])
    some = names(400)
    assert cache.find([*map(key_of, some)]) == {i: row_of(n) for i, n in enumerate(some)}
    for name in ("new", "newer"):
        cache.keep([key_of(name)], [row_of(name)])
    assert len(cache) == 400
assert [each.category for each in said] == [CacheWarning], said
print(said[0].message)
"""


@pytest.mark.parametrize(
    ("file", "folder"), [(0o444, 0o755), (0o644, 0o555), (0o444, 0o555)], ids=str
)
def test_what_may_only_be_read_is_found_and_one_warning_tells_of_writes(
    file: int, folder: int
) -> None:
    # Not in a folder that another user may not enter, as those of `tmp_path` are.
    place = Path(tempfile.gettempdir(), f"aimlapi-read-only-{os.getpid()}-{file}-{folder}")
    place.mkdir()
    try:
        with VectorCache(place / "vectors.db") as cache:
            fill(cache, names(FILLED))
        if os.getuid() == 0:
            os.chown(place, 65534, 65534)
            os.chown(cache.path, 65534, 65534)
        cache.path.chmod(file)
        for journal in place.glob("*-journal"):
            journal.unlink()
        place.chmod(folder)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(cache.path)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "could not be written" in done.stdout
    finally:
        place.chmod(0o755)
        for each in place.iterdir():
            each.unlink()
        place.rmdir()


FULL = """
import resource, signal, sys, warnings
from aimlapi_embeddings import CacheWarning, VectorCache
from tests.support.cached_rows import key_of, names, row_of

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = VectorCache(sys.argv[1])
limit = cache.nbytes + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for batch in range(5):
        some = names(300, f"{batch}-")
        cache.keep([*map(key_of, some)], [*map(row_of, some)])
assert [each.category for each in said] == [CacheWarning], said
some = names(400)
assert cache.find([*map(key_of, some)]) == {i: row_of(n) for i, n in enumerate(some)}
print(said[0].message)
"""


def test_a_disk_that_is_full_is_one_warning_and_what_is_there_stays(filled: VectorCache) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(filled.path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout
    fill(filled, ["new"])
    assert found_of(filled, [*names(FILLED), "new"]) == {*names(FILLED), "new"}


# What is damaged

SEED = random.Random(5)


def cut(content: bytearray) -> None:
    del content[SEED.randrange(1, len(content)) :]


def noise(content: bytearray) -> None:
    at = SEED.randrange(len(content) - 500)
    content[at : at + 500] = SEED.randbytes(500)


def zeros(content: bytearray) -> None:
    at = SEED.randrange(len(content) // 16384) * 16384
    content[at : at + 16384] = bytes(16384)


def swapped(content: bytearray) -> None:
    one, other = (n * 16384 for n in SEED.sample(range(1, len(content) // 16384), 2))
    page = content[one : one + 16384]
    content[one : one + 16384] = content[other : other + 16384]
    content[other : other + 16384] = page


def one_byte(content: bytearray) -> None:
    content[SEED.randrange(len(content))] ^= 1 << SEED.randrange(8)


@pytest.mark.parametrize("damage", [cut, noise, zeros, swapped, one_byte])
def test_damage_is_an_error_or_a_miss_and_never_a_wrong_vector(
    filled: VectorCache, damage: Callable[[bytearray], None]
) -> None:
    whole = filled.path.read_bytes()
    some = names(FILLED)
    missed = errors = 0
    for _ in range(30):
        content = bytearray(whole)
        damage(content)
        filled.path.write_bytes(content)
        try:
            with VectorCache(filled.path) as cache:
                missed += len(some) - len(found_of(cache, some))
        except CacheError:
            errors += 1
    assert missed or errors


def test_a_damaged_row_is_deleted_when_it_is_found_and_can_be_written_again(
    filled: VectorCache,
) -> None:
    connection = sqlite3.connect(filled.path)
    for column, value in {"numbers": bytes(256), "checksum": 0, "bytes_each": 8}.items():
        connection.execute(
            f"UPDATE vectors SET {column} = ? WHERE key = ?", (value, key_of(str(len(column))))
        )
    connection.execute("UPDATE vectors SET numbers = 'text' WHERE key = ?", (key_of("100"),))
    connection.commit()
    connection.close()
    damaged = {"7", "8", "10", "100"}
    assert found_of(filled, names(FILLED)) == {*names(FILLED)} - damaged
    assert len(filled) == FILLED - len(damaged)
    fill(filled, [*damaged])
    assert found_of(filled, names(FILLED)) == {*names(FILLED)}


def test_a_row_of_another_key_is_not_taken(filled: VectorCache) -> None:
    """As a damaged index leads to it: whole by itself, but not what was asked for."""
    connection = sqlite3.connect(filled.path)
    (row,) = connection.execute(
        "SELECT numbers FROM vectors WHERE key = ?", (key_of("1"),)
    ).fetchone()
    assert row == row_of("1")
    connection.execute("DELETE FROM vectors WHERE key = ?", (key_of("2"),))
    connection.execute("UPDATE vectors SET key = ? WHERE key = ?", (key_of("2"), key_of("1")))
    connection.commit()
    connection.close()
    assert found_of(filled, ["1", "2"]) == set()


# Kills, processes, forks


def test_what_was_kept_survives_kills(path: Path) -> None:
    """Six kills, of two writers of four threads: each batch told of is there, whole and right."""
    kept: list[str] = []
    for kill in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.cache_writer", path, f"{kill}{name}", "9999"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in "ab"
        ]
        told = []
        for writer in writers:
            assert writer.stdout is not None
            told.append(writer.stdout.readline())
        time.sleep(SEED.uniform(0.02, 0.3))
        for writer in writers:
            writer.kill()
            assert writer.stdout is not None
            told += [line for line in writer.stdout if line.endswith("\n")]
            writer.wait()
            writer.stdout.close()
        for line in told:
            kept += names(PER_BATCH, line.strip())
    with VectorCache(path) as cache:
        assert found_of(cache, kept) == {*kept}
        assert len(cache) % PER_BATCH == 0, "no batch is torn"
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_processes_make_and_fill_one_file_at_once(tmp_path: Path) -> None:
    for n in range(3):
        path = tmp_path / f"{n}.db"
        writers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.support.cache_writer", path, str(i), "10"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for i in range(4)
        ]
        for writer in writers:
            _, said = writer.communicate()
            assert (writer.returncode, said) == (0, b"")
        with VectorCache(path) as cache:
            assert len(cache) == 4 * THREADS * 10 * PER_BATCH


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_in_the_middle_of_work_uses_the_cache(cache: VectorCache) -> None:
    over = threading.Event()

    def work(thread: int) -> None:
        n = 0
        while not over.is_set():
            fill(cache, names(20, f"{thread}-{n}-"))
            found_of(cache, names(20, f"{thread}-{n}-"))
            n += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    try:
        for n in range(20):
            child = context.Process(target=use_in_a_child, args=(cache, n))
            child.start()
            child.join(20)
            assert child.exitcode == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()
    children = [name for n in range(20) for name in names(20, f"child-{n}-")]
    assert found_of(cache, children) == {*children}


def use_in_a_child(cache: VectorCache, n: int) -> None:
    fill(cache, names(20, f"child-{n}-"))
    assert found_of(cache, names(20, f"child-{n}-")) == {*names(20, f"child-{n}-")}


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="not a name that a file can have"):
        VectorCache(tmp_path / name)


def test_a_name_in_another_encoding_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"vectors-\xe9.db")
    with VectorCache(path) as cache:
        fill(cache, names(1))
    assert path.stat().st_size > 0
