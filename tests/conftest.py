"""What every test gets: a clean environment, a fake wire, and each way into the package."""

from __future__ import annotations

import os

import pytest
from surfaces import COLOURS, SURFACES, Clock, Colour, Surface, SurfaceName, Wire

from aimlapi_embeddings import EmbeddingsClient

FOREIGN = ("AIMLAPI_", "NUGEN_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, base URL or proxy of this machine reaches a test."""
    for name in os.environ:
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)


@pytest.fixture
def wire() -> Wire:
    """A wire that ends at the emulator's pure heart."""
    return Wire()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock on which waiting takes no time; enters by the client's own seam."""
    clock = Clock()
    monkeypatch.setattr(EmbeddingsClient, "_clock", clock)
    return clock


@pytest.fixture(params=COLOURS)
def colour(request: pytest.FixtureRequest) -> Colour:
    """Both colours of a behaviour are tested by the same test."""
    colour: Colour = request.param
    return colour


@pytest.fixture(params=SURFACES)
def surface_name(request: pytest.FixtureRequest) -> SurfaceName:
    """The core and both adapters."""
    name: SurfaceName = request.param
    return name


@pytest.fixture
def surface(surface_name: SurfaceName, colour: Colour, wire: Wire) -> Surface:
    """One of the six ways into the package, on the fake wire."""
    return Surface(surface_name, colour, wire)
