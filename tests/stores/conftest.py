"""An emulator on the loopback, and one store at a time whose embeddings come from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shelves import Shelf
from surfaces import GOOGLE, KEY, Colour, Surface, Wire

from aimlapi_embeddings import emulator

pytest.register_assert_rewrite("store_laws")


@pytest.fixture
def server() -> emulator.Emulator:
    return emulator.Emulator()


@pytest.fixture
def base_url(server: emulator.Emulator) -> Iterator[str]:
    with emulator.running(server) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store lives; it makes it by itself."""
    return tmp_path / "store"


@pytest.fixture
def shelf(
    kind: type[Shelf], colour: Colour, base_url: str, unencrypted: None, folder: Path
) -> Iterator[Shelf]:
    """An empty store of the kind that the test module asks for."""
    surface = Surface(kind.framework, colour, Wire()).make_plain(
        model=GOOGLE, api_key=KEY, base_url=base_url, dimensions=256
    )
    yield (shelf := kind(folder, colour, surface.embedder))
    shelf.close()
