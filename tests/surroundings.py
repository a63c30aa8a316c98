"""What tests of a client's surroundings need: a server, clients of it, and programs to run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from surfaces import KEY, OPENAI, Colour, Surface, SurfaceName, Wire

from aimlapi_embeddings import emulator

# asyncio's debug mode reports what takes long; on a slow machine that is everything.
_QUIET = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)"


@contextmanager
def serving(**behaviour: Any) -> Iterator[tuple[emulator.Emulator, str]]:
    """Serve on a real socket; yields the server, which counts requests, and its base URL."""
    server = emulator.Emulator(**behaviour)
    with emulator.running(server) as base_url, pytest.MonkeyPatch.context() as environment:
        # Nothing is encrypted, and loading all certificates takes 20 ms for each client.
        environment.setenv("SSL_CERT_DIR", os.devnull)
        yield server, base_url


def connected(name: SurfaceName, colour: Colour, base_url: str, **options: Any) -> Surface:
    """Make a client or adapter that opens its own connections; two texts go in a request."""
    common = {"model": OPENAI, "api_key": KEY, "dimensions": 8, "batch_size": 2}
    return Surface(name, colour, Wire()).make_plain(**{**common, "base_url": base_url, **options})


Call = Callable[[list[str]], Any]


def calls_of(embedder: Any) -> tuple[Call, Call]:
    """Find the methods that embed documents, in this thread and in the running loop."""
    for name in ("get_text_embedding_batch", "embed_documents", "embed"):
        if hasattr(embedder, name):
            return getattr(embedder, name), getattr(embedder, f"a{name}")
    raise AssertionError(embedder)


def program(path: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program that turns every warning into an error and says when a resource leaks."""
    path.write_text(f"{_QUIET}\n{code}")
    here = Path(__file__).parent
    folders = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folders},
    )
