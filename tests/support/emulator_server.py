"""An emulator on a real socket, and clients connected to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aimlapi_embeddings import emulator
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode, Package
from tests.support.sockets import eventually

NO_FAULT = emulator.Fault()


class Gathering(emulator.Emulator):
    """Replies only once that many requests were in flight together, however busy the machine is."""

    together: int = 1

    def reply(self, request: emulator.Request, fault: emulator.Fault = NO_FAULT) -> emulator.Reply:
        eventually(lambda: self.peak_in_flight >= self.together)
        return super().reply(request, fault)


@contextmanager
def serving(*, together: int = 1, **behaviour: Any) -> Iterator[tuple[emulator.Emulator, str]]:
    """Serve on a real socket; yields the server, which counts requests, and its base URL.

    With `together`, no reply is sent before that many requests were in flight at one time.
    """
    server = Gathering(**behaviour)
    server.together = together
    with emulator.running(server) as base_url, pytest.MonkeyPatch.context() as environment:
        # Plain HTTP needs no certificates, and loading them takes 20 ms for each client.
        environment.setenv("SSL_CERT_DIR", os.devnull)
        yield server, base_url


def connected(name: Package, mode: Mode, base_url: str, **options: Any) -> EntryPoint:
    """Build an entry point that opens its own connections and sends two texts a request."""
    common = {"model": OPENAI, "api_key": KEY, "dimensions": 8, "batch_size": 2}
    return EntryPoint(name, mode, FakeServer()).make_plain(
        **{**common, "base_url": base_url, **options}
    )


Call = Callable[[list[str]], Any]


def calls_of(embedder: Any) -> tuple[Call, Call]:
    """Find the sync and the async method that embed documents."""
    for name in ("get_text_embedding_batch", "embed_documents", "embed"):
        if hasattr(embedder, name):
            return getattr(embedder, name), getattr(embedder, f"a{name}")
    raise AssertionError(embedder)
