"""Reads streams in both modes with the same lines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.entry_points import Mode


@dataclass
class Reading:
    """What was read of a stream.

    Attributes:
        stream: The stream.
        got: What it handed over.
        error: What it raised, or None.
    """

    stream: Any = None
    got: list[Any] = field(default_factory=list)
    error: BaseException | None = None


def read(
    owner: Any,
    mode: Mode,
    texts: Iterable[Any],
    *,
    most: int | None = None,
    each: Callable[[Any], object] = lambda _: None,
    method: str = "embed_iter",
    as_source: Callable[[Iterable[Any]], Any] = lambda texts: texts,
    **options: Any,
) -> Reading:
    """Read a stream to its end, to its error, or as far as is said; then it is closed.

    Args:
        owner: A client or an adapter.
        mode: Sync or async.
        texts: The source.
        most: Stop after so many.
        each: Called for each vector.
        method: Of the owner; the async one has an "a" in front.
        as_source: Makes the source of the texts, in the thread that reads.
        options: Of the method.
    """
    reading = Reading()

    def take(item: Any) -> bool:
        reading.got.append(item)
        each(item)
        return len(reading.got) == most

    def in_thread() -> None:
        with getattr(owner, method)(as_source(texts), **options) as reading.stream:
            for item in reading.stream:
                if take(item):
                    return

    async def in_task() -> None:
        stream = getattr(owner, f"a{method}")(as_source(texts), **options)
        async with stream as reading.stream:
            async for item in stream:
                if take(item):
                    return

    try:
        if mode == "sync":
            in_thread()
        else:
            asyncio.run(in_task())
    except Exception as error:
        reading.error = error
    return reading


async def from_task(texts: Iterable[Any]) -> AsyncIterator[Any]:
    """Make an async source, which waits now and then."""
    for i, text in enumerate(texts):
        if i % 3 == 0:
            await asyncio.sleep(0)
        yield text


class Source:
    """A source that does not tell its length, and notes who reads it.

    Attributes:
        read: How many texts were read.
        threads: Of those that read.
    """

    def __init__(self, texts: Iterable[Any]) -> None:
        self._texts = iter(texts)
        self.read = 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.threads.add(threading.get_ident())
        text = next(self._texts)
        self.read += 1
        return text
