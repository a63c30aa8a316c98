"""For how long an event loop is held up."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def longest_gap(work: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Tell for how long other tasks could not run while it was done, and how long it took."""
    gaps: list[float] = []
    gc.collect()  # what was left over before would be collected in one of the gaps

    async def beat() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    gaps.clear()
    begun = time.perf_counter()
    kept = await work()
    took = time.perf_counter() - begun
    await asyncio.sleep(0.01)
    heart.cancel()
    del kept  # freeing so many floats takes long, and nobody can slice it
    return max(gaps), took
