"""Fixtures for the tests of both ecosystems."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from tests.support.entry_points import EntryPoint, FakeServer, Mode

Make: TypeAlias = Callable[..., Any]


@pytest.fixture
def langchain(fake_server: FakeServer) -> Make:
    """Make our LangChain class on the fake server."""
    return lambda **options: EntryPoint("langchain", "sync", fake_server).make(**options).embedder


@pytest.fixture
def llama_index(fake_server: FakeServer) -> Make:
    """Make our LlamaIndex class on the fake server."""
    return lambda **options: EntryPoint("llama_index", "sync", fake_server).make(**options).embedder


@pytest.fixture
def call(mode: Mode) -> Callable[..., Any]:
    """A function that calls a method by the name of its sync form, in the mode of the test."""

    def call(owner: Any, name: str, *arguments: Any, **options: Any) -> Any:
        if mode == "sync":
            return getattr(owner, name)(*arguments, **options)
        return asyncio.run(getattr(owner, f"a{name}")(*arguments, **options))

    return call


@pytest.fixture
def sent(fake_server: FakeServer) -> Callable[[], list[tuple[str, list[str]]]]:
    """A function that returns the roles and texts of the requests since its last call."""

    def sent() -> list[tuple[str, list[str]]]:
        asked = [(body.get("task_type", ""), body["input"]) for body in fake_server.bodies]
        fake_server.requests.clear()
        return asked

    return sent
