"""`python -m aimlapi_embeddings.cache` tells what a file holds, and prunes it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from aimlapi_embeddings import VectorCache
from tests.support.cached_rows import key_of, names, row_of


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aimlapi_embeddings.cache", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


@pytest.fixture
def filled(cache: VectorCache) -> VectorCache:
    """600 vectors of two models; half of the first model's are three days old."""
    for model, count in {"small": 400, "large": 200}.items():
        some = names(count, model)
        cache.keep([*map(key_of, some)], [*map(row_of, some)], model)
    connection = sqlite3.connect(cache.path)
    connection.execute("UPDATE vectors SET made = made - 3 * 86400 - 60 WHERE id <= 200")
    connection.commit()
    connection.close()
    return cache


def test_it_tells_size_rows_models_and_ages(filled: VectorCache) -> None:
    done = command(filled.path)
    assert (done.returncode, done.stderr) == (0, "")
    head, large, small = done.stdout.splitlines()
    assert head == f"{filled.path}: {filled.nbytes / 1000:,.1f} kB, 600 vectors"
    assert large.startswith("  large: 200 vectors, 51.2 kB, ")
    assert large.endswith("seconds old")
    assert small.startswith("  small: 400 vectors, 102.4 kB, ")
    assert small.endswith("to 3 days old")
    assert len(filled) == 600


@pytest.mark.parametrize(
    ("options", "left"),
    [(["--older-than", "3d"], 400), (["--older-than", "1w"], 600), (["--max-bytes", "0"], 0)],
)
def test_it_prunes_what_it_is_told_to(filled: VectorCache, options: list[str], left: int) -> None:
    done = command(filled.path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"deleted {600 - left} vectors\n")
    assert len(filled) == left


def test_it_makes_no_file(path: Path) -> None:
    done = command(path)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert not path.exists()


def test_it_refuses_a_file_that_is_no_cache(path: Path) -> None:
    path.write_text("notes " * 1000)
    done = command(path)
    assert done.returncode == 1
    assert "another kind" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("age", ["soon", "3y", "-1d", ""])
def test_an_age_it_cannot_read_is_named(path: Path, age: str) -> None:
    done = command(path, f"--older-than={age}")
    assert done.returncode == 2
    assert repr(age) in done.stderr
