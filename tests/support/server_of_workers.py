"""A server on a real socket, found through the environment as the workers of an engine find it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from aimlapi_embeddings import emulator
from tests.support.entry_points import KEY


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Emulator]:
    """An emulator whose address and key are in the environment."""
    server = emulator.Emulator()
    # Plain HTTP needs no certificates, and loading them takes 20 ms for each client.
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
    with emulator.running(server) as base_url:
        monkeypatch.setenv("AIMLAPI_API_BASE", base_url)
        monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
        yield server
