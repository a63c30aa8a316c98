"""Progress bars that record their positions."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from tqdm.std import tqdm


class Bar(tqdm):  # type: ignore[type-arg]
    """A tqdm bar that records its positions and writes to no terminal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.moves: list[tuple[int, int]] = []
        self.moved = threading.Event()
        super().__init__(*args, **{**options, "file": io.StringIO()})

    def update(self, n: float | None = 1) -> bool | None:
        assert not self.disable, "the bar was moved after it was closed"
        shown = super().update(n)
        if (self.n, self.total) not in self.moves:
            self.moves.append((self.n, self.total))
        if self.n:
            self.moved.set()
        return shown


def record(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """Record all bars made from here on, including those of the frameworks."""
    made: list[Bar] = []

    def make(*args: Any, **options: Any) -> Bar:
        made.append(Bar(*args, **options))
        return made[-1]

    monkeypatch.setattr("tqdm.auto.tqdm", make)
    monkeypatch.setattr(
        "tqdm.asyncio.tqdm_asyncio.gather", None
    )  # LlamaIndex's bar that counts windows must not be used
    return made
