"""Long work of our own in slices, so that an event loop is never held up.

Work that may take long is written as a generator that yields wherever it can be interrupted. Sync
callers run it at once; async callers give their event loop back after each slice.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from typing import TypeAlias, TypeVar

# Seconds of our own code before the event loop is given back.
_SLICE = 0.005

T = TypeVar("T")
Work: TypeAlias = Generator[None, None, T]


def at_once(work: Work[T]) -> T:
    """Do all of it now."""
    try:
        while True:
            next(work)
    except StopIteration as done:
        result: T = done.value
        return result


async def in_slices(work: Work[T], *, collect: bool = False) -> T:
    """Do it in slices of some milliseconds.

    Args:
        work: Yields every 0.5 ms or so.
        collect: Whether it makes many lists of floats. Python's collector walks all floats of new
            lists: left to itself it does so for thousands of lists at a time, which takes 100 ms.
            So its young generations are collected at each slice, unless the user has turned it off.
    """
    import asyncio  # which takes 20 ms that sync callers need not wait

    ends = time.perf_counter() + _SLICE
    try:
        while True:
            next(work)
            if time.perf_counter() > ends:
                if collect and gc.isenabled():
                    gc.collect(1)
                await asyncio.sleep(0)
                ends = time.perf_counter() + _SLICE
    except StopIteration as done:
        result: T = done.value
        return result
