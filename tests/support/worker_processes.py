"""What a spawned process does in the tests; it imports this module by its name."""

from __future__ import annotations

from typing import Any

from tests.support.entry_points import EntryPoint, FakeServer, Mode, Package


def embed(
    name: Package, mode: Mode, embedder: Any, texts: list[str], query: str
) -> list[list[float]]:
    """Embed with an object that came through a pickle: n texts, then a query."""
    entry_point = EntryPoint(name, mode, FakeServer())
    entry_point.embedder = embedder
    vectors = [*entry_point.documents(texts), entry_point.query(query)]
    entry_point.client.close()
    return vectors
