"""Which vectors does the user's `embeddings_cache` hold already?

The base class keeps vectors under the bare text, whatever the model, size or role. Here each kind
of vectors has a collection of its own.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.storage.kvstore.types import BaseKVStore

from aimlapi_embeddings.adapters import in_turns


class CachedVectors:
    """One collection of a store: the vectors of one model, for documents or for queries.

    Args:
        store: Of the user's.
        collection: Another one for each kind of vectors.
        size: Floats per vector, where it is known; else the first entry tells.
    """

    def __init__(self, store: BaseKVStore, collection: str, size: int | None) -> None:
        self._store, self._collection, self._size = store, collection, size

    def find(self, texts: object) -> dict[int, Embedding]:
        """Return vectors by the place of their text."""
        found: dict[int, Embedding] = {}
        for text, places in _places(texts).items():
            entry = self._store.get(text, collection=self._collection)
            found.update(self._read(entry, places))
        return found

    async def afind(self, texts: object) -> dict[int, Embedding]:
        """Return vectors by the place of their text."""
        found: dict[int, Embedding] = {}
        async for text, places in in_turns(_places(texts).items()):
            entry = await self._store.aget(text, collection=self._collection)
            found.update(self._read(entry, places))
        return found

    def keep(
        self, texts: Sequence[str], vectors: Sequence[Embedding | None], known: Mapping[int, Any]
    ) -> None:
        """Store each vector that is there and was not known."""
        for text, entry in _entries(texts, vectors, known):
            self._store.put(text, entry, collection=self._collection)

    async def akeep(
        self, texts: Sequence[str], vectors: Sequence[Embedding | None], known: Mapping[int, Any]
    ) -> None:
        """Store each vector that is there and was not known."""
        async for text, entry in in_turns(_entries(texts, vectors, known)):
            await self._store.aput(text, entry, collection=self._collection)

    def _read(self, entry: object, places: list[int]) -> dict[int, Embedding]:
        """Return the vector of an entry for each place; nothing when it cannot be one."""
        vector = next(iter(entry.values()), None) if isinstance(entry, Mapping) else None
        if not isinstance(vector, list) or not vector or not _is_finite(vector):
            return {}
        if len(vector) != (self._size or len(vector)):
            return {}
        self._size = len(vector)
        return {place: [*vector] for place in places}


def _places(texts: object) -> dict[str, list[int]]:
    """Find the places of each text; what is none is left for the client to refuse."""
    places: dict[str, list[int]] = {}
    if isinstance(texts, Sequence) and not isinstance(texts, str):
        for i, text in enumerate(texts):
            if isinstance(text, str) and text:
                places.setdefault(str.__str__(text), []).append(i)
    return places


def _entries(
    texts: Sequence[str], vectors: Sequence[Embedding | None], known: Mapping[int, Any]
) -> Iterator[tuple[str, dict[str, Embedding]]]:
    """Pair each new text with what the base class would store for it."""
    done = set()
    for i, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        if vector is not None and i not in known and text not in done:
            done.add(text)
            yield str.__str__(text), {str(uuid.uuid4()): [*vector]}


def _is_finite(numbers: list[Any]) -> bool:
    try:
        # The sum is quick, and finite only when all numbers are; huge ones may overflow it.
        return math.isfinite(sum(numbers)) or all(map(math.isfinite, numbers))
    except TypeError:
        return False
