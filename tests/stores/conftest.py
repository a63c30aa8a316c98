"""An emulator on a local port, and a vector store whose embeddings come from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aimlapi_embeddings import emulator
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer, Mode
from tests.support.vector_stores import VectorStore

pytest.register_assert_rewrite("tests.support.store_laws")


@pytest.fixture
def server() -> emulator.Emulator:
    return emulator.Emulator()


@pytest.fixture
def base_url(server: emulator.Emulator) -> Iterator[str]:
    with emulator.running(server) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the store; the store creates it."""
    return tmp_path / "store"


@pytest.fixture
def vector_store(
    kind: type[VectorStore], mode: Mode, base_url: str, unencrypted: None, folder: Path
) -> Iterator[VectorStore]:
    """An empty store of the class that the test module parametrises."""
    entry_point = EntryPoint(kind.framework, mode, FakeServer()).make_plain(
        model=GOOGLE, api_key=KEY, base_url=base_url, dimensions=256
    )
    yield (vector_store := kind(folder, mode, entry_point.embedder))
    vector_store.close()
