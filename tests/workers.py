"""What a spawned process does in the tests; it imports this module by its name."""

from __future__ import annotations

from typing import Any

from surfaces import Colour, Surface, SurfaceName, Wire


def embed(
    name: SurfaceName, colour: Colour, embedder: Any, texts: list[str], query: str
) -> list[list[float]]:
    """Embed with an object that came through a pickle: n texts, then a query."""
    surface = Surface(name, colour, Wire())
    surface.embedder = embedder
    vectors = [*surface.documents(texts), surface.query(query)]
    surface.client.close()
    return vectors
