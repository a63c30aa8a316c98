"""Which vectors are there already? Looked up before anything is planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aimlapi_embeddings._protocol.request import CacheKeys
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._types import Row
from aimlapi_embeddings.cache import VectorCache

# So few take some 0.1 ms: an event loop is held up by less than it costs to change threads.
_AT_ONCE = 32
# Changing threads costs 0.2 ms, and placing so many vectors 1 ms.
_PER_THREAD = 2_000
_PLACED_AT_ONCE = 500
_KEYS_PER_STEP = 64


def making_keys(
    keys: CacheKeys, texts: Sequence[str], titles: Sequence[str | None] | None
) -> Work[list[bytes]]:
    """Name the vectors of n texts."""
    made = []
    for i, text in enumerate(texts):
        made.append(keys.key(text, titles[i] if titles else None))
        if i % _KEYS_PER_STEP == 0:
            yield
    return made


def looking_up(
    cache: VectorCache,
    keys: Mapping[int, bytes],
    place: Callable[[Sequence[int], Sequence[Row]], None],
    kept: dict[int, int],
) -> Work[list[int]]:
    """Find vectors, in slices.

    Args:
        cache: Asked in a thread where it may have to wait.
        keys: By place in the caller's list.
        place: Is given places and their vectors.
        kept: Is given how many characters of a text are in its vector, where it was cut; by place.

    Returns:
        The places whose vectors are there.

    Raises:
        CacheError: The cache cannot be read.
    """
    places = [*keys]
    found: list[int] = []
    for start in range(0, len(places), _PER_THREAD):
        some = places[start : start + _PER_THREAD]
        asked = [keys[i] for i in some]
        rows = cache.find_now(asked) if len(places) <= _AT_ONCE else None
        if rows is None:
            rows = yield cache.finding(asked)
        there, vectors = [some[i] for i in rows], [*rows.values()]
        for first in range(0, len(there), _PLACED_AT_ONCE):
            now = slice(first, first + _PLACED_AT_ONCE)
            place(there[now], vectors[now])
            yield
        found += there
        kept.update((some[i], characters) for i, characters in rows.kept.items())
    return found
