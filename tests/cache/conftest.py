"""Fixtures of the tests of caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aimlapi_embeddings import VectorCache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a cache may be made."""
    return tmp_path / "vectors.db"


@pytest.fixture
def cache(path: Path) -> Iterator[VectorCache]:
    """An empty cache."""
    with VectorCache(path) as made:
        yield made
