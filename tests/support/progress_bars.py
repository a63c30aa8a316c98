"""Progress bars that remember how they moved."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from tqdm.std import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar as people see it, but for the screen."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.moves: list[tuple[int, int]] = []
        self.moved = threading.Event()
        super().__init__(*args, **{**options, "file": io.StringIO()})

    def update(self, n: float | None = 1) -> bool | None:
        assert not self.disable, "moved after it was closed"
        shown = super().update(n)
        if (self.n, self.total) not in self.moves:
            self.moves.append((self.n, self.total))
        if self.n:
            self.moved.set()
        return shown


def record(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """List all bars that are made from here on, the frameworks' own included."""
    made: list[Bar] = []

    def make(*args: Any, **options: Any) -> Bar:
        made.append(Bar(*args, **options))
        return made[-1]

    monkeypatch.setattr("tqdm.auto.tqdm", make)
    monkeypatch.setattr("tqdm.asyncio.tqdm_asyncio.gather", None)  # a bar that counts windows
    return made
