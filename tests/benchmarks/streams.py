"""A stream of vectors that are counted, now and then compared with the server's, and dropped."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from memory import Peak
from server import vector
from works import Work

# Sources of so many texts tell their length, as the list that is given to `embed` does.
_LONG = 100_000


class Checked:
    """Counts vectors and compares some of them."""

    def __init__(self, work: Work) -> None:
        self.count, self.first = 0, 0.0
        self._every, self._dimensions = max(1, work.texts // 50), work.dimensions
        self._begun = time.perf_counter()

    def see(self, rows: Iterable[Any]) -> None:
        """Take some more."""
        self.first = self.first or time.perf_counter() - self._begun
        for row in rows:
            if self.count % self._every == 0:
                row = row.tolist() if hasattr(row, "tolist") else row
                assert row == vector(self.count, self._dimensions), f"vector {self.count} is wrong"
            self.count += 1


async def streamed(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed texts; what is handed over is not kept."""
    texts: Any = (f"text number {i}" for i in range(work.texts))
    if work.texts < _LONG:
        texts = list(texts)
    await _read(embedder, ["text number 0"], Checked(work), work.mode)
    gc.collect()
    peak, cpu, wall = Peak(), time.process_time(), time.perf_counter()
    seen = Checked(work)
    await _read(embedder, texts, seen, work.mode)
    wall, cpu, mb = time.perf_counter() - wall, time.process_time() - cpu, peak.megabytes()
    assert seen.count == work.texts
    return {"wall": wall, "cpu": cpu, "mb": mb, "first": seen.first, "warmed": 1}


async def _read(embedder: Any, texts: Any, seen: Checked, mode: str) -> None:
    if mode == "sync":
        for rows in embedder.stream(texts):
            seen.see(rows)
    else:
        async for rows in embedder.astream(texts):
            seen.see(rows)


def streaming(client: Any, **options: Any) -> Any:
    """Make a driver of a client: its streams hand over lists of vectors, of one or of many."""
    rows: Callable[[Any], Any] = (lambda result: result.array()) if options else lambda one: [one]

    def stream(texts: Any) -> Iterator[Any]:
        return map(rows, client.embed_iter(texts, **options))

    async def astream(texts: Any) -> AsyncIterator[Any]:
        async for found in client.aembed_iter(texts, **options):
            yield rows(found)

    return SimpleNamespace(stream=stream, astream=astream)


def at_once(client: Any) -> Any:
    """Make a driver that has all vectors before it hands over the first."""

    def stream(texts: Any) -> Iterator[Any]:
        yield client.embed(texts).vectors

    async def astream(texts: Any) -> AsyncIterator[Any]:
        yield await (await client.aembed(texts)).avectors()

    return SimpleNamespace(stream=stream, astream=astream)
