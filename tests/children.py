"""What a child process does in the tests; a spawned one imports this module by its name."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any

from sockets import SOON, ports_to

Embed = Callable[[list[str]], Any]
EmbedAsync = Callable[[list[str]], Coroutine[Any, Any, Any]]


def answer(connection: Connection, act: Callable[..., Any], *arguments: Any) -> None:
    """Send home what a function returns."""
    with connection:
        connection.send(act(*arguments))


def embed_in_both_colours(
    embed: Embed, embed_async: EmbedAsync, texts: list[str], base_url: str
) -> tuple[list[Any], set[int]]:
    """Embed in both colours; tell which ports were used."""

    async def both() -> list[Any]:
        found = [await embed_async(texts), embed(texts)]
        ports.update(ports_to(base_url))
        return found

    ports: set[int] = set()
    return asyncio.run(both()), ports


def embed_in_threads(embed: Embed, threads: int) -> None:
    """Embed a text in each of n threads that begin at the same moment and often take turns."""
    sys.setswitchinterval(1e-6)
    together = threading.Barrier(threads, timeout=SOON)

    def start() -> None:
        together.wait()
        embed(["a"])

    started = [threading.Thread(target=start) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(SOON)
