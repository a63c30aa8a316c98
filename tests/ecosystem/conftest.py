"""What the tests of both ecosystems share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from surfaces import Colour, Surface, Wire

Make: TypeAlias = Callable[..., Any]


@pytest.fixture
def langchain(wire: Wire) -> Make:
    """Make our LangChain class on the fake wire."""
    return lambda **options: Surface("langchain", "sync", wire).make(**options).embedder


@pytest.fixture
def llama_index(wire: Wire) -> Make:
    """Make our LlamaIndex class on the fake wire."""
    return lambda **options: Surface("llama_index", "sync", wire).make(**options).embedder


@pytest.fixture
def call(colour: Colour) -> Callable[..., Any]:
    """Call something by the name of its sync form, in either colour."""

    def call(owner: Any, name: str, *arguments: Any, **options: Any) -> Any:
        if colour == "sync":
            return getattr(owner, name)(*arguments, **options)
        return asyncio.run(getattr(owner, f"a{name}")(*arguments, **options))

    return call


@pytest.fixture
def sent(wire: Wire) -> Callable[[], list[tuple[str, list[str]]]]:
    """Take what was asked for since the last time: roles and texts."""

    def sent() -> list[tuple[str, list[str]]]:
        asked = [(body.get("task_type", ""), body["input"]) for body in wire.bodies]
        wire.requests.clear()
        return asked

    return sent
