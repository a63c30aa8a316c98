"""Fixtures for tests that hold for both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.entry_points import EntryPoint, FakeServer, Mode, Package

PACKAGES: tuple[Package, ...] = ("langchain", "llama_index")


@pytest.fixture(params=PACKAGES)
def adapter(request: pytest.FixtureRequest, mode: Mode, fake_server: FakeServer) -> EntryPoint:
    """Each adapter in each mode; `make` builds it."""
    return EntryPoint(request.param, mode, fake_server)


@pytest.fixture
def embedder(adapter: EntryPoint) -> Any:
    """An adapter with its default options, on the fake server."""
    return adapter.make().embedder
