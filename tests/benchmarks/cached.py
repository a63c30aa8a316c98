"""Vectors that are paid for: a cache that is filled before the measure, and one that is written."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from aimlapi_embeddings import EmbeddingsClient, VectorCache

_KEYS_PER_STATEMENT = 500


class Recording(VectorCache):
    """A cache that tells which keys it was asked for."""

    keys: list[bytes]

    def find(self, keys: Sequence[bytes]) -> Any:
        self.keys += keys
        return super().find(keys)


class Filled:
    """A client whose cache holds all texts, in another order than they are read in."""

    def __init__(self, **options: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.cache = Recording(Path(self._folder.name) / "vectors.db")
        self.cache.keys = []
        self.client = EmbeddingsClient(cache=self.cache, **options)
        self.size = 0

    def prepare(self, texts: Sequence[str], dimensions: int) -> None:
        shuffled = random.Random(3).sample(texts, len(texts))
        self.client.embed(shuffled)
        self.cache.keys = []
        self.client.embed(texts)
        self.keys = self.cache.keys
        self.cache.keys = []
        self.size = dimensions

    def embed(self, texts: Sequence[str]) -> Any:
        return self.client.embed(texts).array()

    async def aembed(self, texts: Sequence[str]) -> Any:
        return (await self.client.aembed(texts)).array()

    def find(self, texts: Sequence[str]) -> Any:
        return self._array(self.cache.find(self.keys))

    async def afind(self, texts: Sequence[str]) -> Any:
        return self.find(texts)

    def bare(self, texts: Sequence[str]) -> Any:
        """As one would write it: no checksum, no lock, no look at what kind of file it is."""
        connection = sqlite3.connect(self.cache.path)
        place = {key: i for i, key in enumerate(self.keys)}
        rows: dict[int, bytes] = {}
        for some in _slices(self.keys):
            marks = ",".join("?" * len(some))
            asked = f"SELECT key, numbers FROM vectors WHERE key IN ({marks})"
            rows.update((place[key], numbers) for key, numbers in connection.execute(asked, some))
        connection.close()
        return self._array(rows)

    async def abare(self, texts: Sequence[str]) -> Any:
        return self.bare(texts)

    def query(self, text: str) -> Any:
        return self.client.embed([text]).vectors[0]

    async def aquery(self, text: str) -> Any:
        return (await self.client.aembed([text])).vectors[0]

    def driver(self, name: str) -> Any:
        """Make the driver that reads with a method of this class."""
        return SimpleNamespace(
            prepare=self.prepare,
            documents=getattr(self, name),
            adocuments=getattr(self, f"a{name}"),
            query=self.query,
            aquery=self.aquery,
        )

    def _array(self, rows: dict[int, Any]) -> Any:
        found = np.empty((len(self.keys), self.size), np.float32)
        for place, row in rows.items():
            found[place] = np.frombuffer(row, "<f4")
        return found


def _slices(keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    left = iter(keys)
    while some := list(islice(left, _KEYS_PER_STATEMENT)):
        yield some
