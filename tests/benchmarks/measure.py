"""One measured run in a process of its own: `python measure.py DRIVER WORK BASE_URL`, JSON out.

Outside the measure: imports, construction, and one call to warm up. Vectors are checked against the
server's own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import engines  # noqa: F401  # its drivers
import serving
import stores
import streams
from drivers import DRIVERS
from memory import Peak
from server import check, texts_for
from works import Work

_WARM_UP = 10  # queries


async def many(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed all texts once, in this running loop for async."""
    sync, texts, warm = work.mode == "sync", texts_for(work.texts), ["warm up 0"]
    rows = embedder.documents(warm) if sync else await embedder.adocuments(warm)
    gc.collect()  # what the imports left over belongs to nobody's figures
    peak, cpu, wall = Peak(), time.process_time(), time.perf_counter()
    rows = embedder.documents(texts) if sync else await embedder.adocuments(texts)
    wall, cpu, mb = time.perf_counter() - wall, time.process_time() - cpu, peak.megabytes()
    check(rows, len(texts), work.dimensions)
    lists = len(texts) * work.dimensions * 40 / 2**20  # 8 bytes a place, 32 a float of its own
    return {"wall": wall, "cpu": cpu, "mb": mb, "mb of lists": mb / lists, "warmed": len(warm)}


async def cached(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed texts whose vectors are all in a cache, which is filled before."""
    embedder.prepare(texts_for(work.texts), work.dimensions)
    return await many(embedder, work) | {"warmed": 0}


async def cached_queries(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed queries one after the other whose vectors are all in a cache."""
    embedder.prepare([f"query {i}" for i in range(-_WARM_UP, work.queries)], work.dimensions)
    return await one_by_one(embedder, work) | {"warmed": 0}


async def one_by_one(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed queries one after the other."""
    sync = work.mode == "sync"
    took: list[float] = []
    for i in range(-_WARM_UP, work.queries):
        if i == 0:
            gc.collect()
            took, cpu = [], time.process_time()
        start = time.perf_counter()
        row = embedder.query(f"query {i}") if sync else await embedder.aquery(f"query {i}")
        took.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    assert len(row) == work.dimensions
    return {"wall": statistics.median(took), "cpu": cpu / work.queries, "warmed": _WARM_UP}


KINDS = {
    "texts": many,
    "queries": one_by_one,
    "cached": cached,
    "cached queries": cached_queries,
    "users": serving.users,
    "beside": serving.beside,
    "stalls": serving.stalls,
    "store": stores.fill,
    "stream": streams.streamed,
}


def main(name: str, work: Work, base_url: str) -> dict[str, Any]:
    measured = KINDS[work.kind](DRIVERS[name](base_url, work), work)
    if work.mode == "sync":  # outside of a running loop, as sync callers are
        try:
            measured.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise RuntimeError("a sync measure waited for something")
    return asyncio.run(measured)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Work(**json.loads(sys.argv[2])), sys.argv[3])))
