"""Functions that run in child processes; spawned children import this module by name."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.support.sockets import SOON, ports_to

Embed = Callable[[list[str]], Any]
EmbedAsync = Callable[[list[str]], Coroutine[Any, Any, Any]]

# asyncio's debug mode logs every slow callback; on a slow machine that is all of them.
_QUIET = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)"


def answer(connection: Connection, act: Callable[..., Any], *arguments: Any) -> None:
    """Send the return value of a function to the parent process."""
    with connection:
        connection.send(act(*arguments))


def embed_in_both_modes(
    embed: Embed, embed_async: EmbedAsync, texts: list[str], base_url: str
) -> tuple[list[Any], set[int]]:
    """Embed in both modes; return the vectors and the local ports that were used."""

    async def both() -> list[Any]:
        found = [await embed_async(texts), embed(texts)]
        ports.update(ports_to(base_url))
        return found

    ports: set[int] = set()
    return asyncio.run(both()), ports


def embed_in_threads(embed: Embed, threads: int) -> None:
    """Embed one text in each of n threads that start together and switch often."""
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


def program(path: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python program with warnings as errors and resource warnings enabled."""
    path.write_text(f"{_QUIET}\n{code}")
    root = Path(__file__).parents[2]
    folders = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folders},
    )
