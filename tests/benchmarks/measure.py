"""One measured run in a process of its own: `python measure.py DRIVER WORK BASE_URL`, JSON out.

Outside the measure: imports, construction, and one call to warm up. Vectors are checked against the
server's own. Peak memory is the kernel's high-water mark, reset before the run.
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

from drivers import DRIVERS
from server import vector
from works import Work

_WARM_UP = 10  # queries


def resident(field: str) -> float:
    """Read a figure of /proc/self/status in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def forget_peak() -> None:
    """Set the kernel's high-water mark back to what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")


def check(rows: Any, dimensions: int) -> None:
    """Compare some rows with the vectors that the server has for them."""
    for i in range(0, len(rows), max(1, len(rows) // 50)):
        row = rows[i].tolist() if hasattr(rows[i], "tolist") else rows[i]
        assert row == vector(i, dimensions), f"row {i} is not the vector of its text"


async def many(embedder: Any, work: Work, texts: list[str]) -> dict[str, Any]:
    """Embed all texts once, in this running loop for async."""
    sync = work.colour == "sync"
    warm = ["warm up 0"]
    rows = embedder.documents(warm) if sync else await embedder.adocuments(warm)
    gc.collect()  # what the imports left over belongs to nobody's figures
    forget_peak()
    before, cpu, wall = resident("VmRSS"), time.process_time(), time.perf_counter()
    rows = embedder.documents(texts) if sync else await embedder.adocuments(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resident("VmHWM") - before
    assert len(rows) == len(texts)
    check(rows, work.dimensions)
    return {"wall": wall, "cpu": cpu, "mb": peak, "warmed": len(warm)}


async def one_by_one(embedder: Any, work: Work) -> dict[str, Any]:
    """Embed queries one after the other."""
    sync = work.colour == "sync"
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


def main(name: str, work: Work, base_url: str) -> dict[str, Any]:
    texts = [f"text number {i}" for i in range(work.texts)]
    embedder = DRIVERS[name](base_url, work.concurrency, work.batch)
    measured = one_by_one(embedder, work) if work.queries else many(embedder, work, texts)
    if work.colour == "sync":  # outside of a running loop, as sync callers are
        try:
            measured.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
    return asyncio.run(measured)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Work(**json.loads(sys.argv[2])), sys.argv[3])))
