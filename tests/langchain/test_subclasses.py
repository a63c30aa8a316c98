"""Subclasses that embed in a way of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode
from tests.support.streams import read

Make = Callable[[type[AIMLAPIEmbeddings]], EntryPoint]


class Prefixed(AIMLAPIEmbeddings):
    """Replaces the sync methods alone."""

    def embed_documents(self, texts: list[str], **options: Any) -> list[list[float]]:
        return super().embed_documents([f"passage: {text}" for text in texts], **options)

    def embed_query(self, text: str, **options: Any) -> list[float]:
        return super().embed_query(f"query: {text}", **options)


class Marked(Prefixed):
    """Has a field that its vectors depend on."""

    mark: str = "a"


class Shouting(Prefixed):
    """Replaces a sync method of a class that replaces it too."""

    def embed_query(self, text: str, **options: Any) -> list[float]:
        return super().embed_query(text.upper(), **options)


class Both(AIMLAPIEmbeddings):
    """Replaces both twins, each with a call of its own base."""

    def embed_query(self, text: str, **options: Any) -> list[float]:
        return super().embed_query(f"query: {text}", **options)

    async def aembed_query(self, text: str, **options: Any) -> list[float]:
        return await super().aembed_query(f"query: {text}", **options)


class Again(Both):
    """Replaces a sync method of a class that replaces both twins."""

    def embed_query(self, text: str, **options: Any) -> list[float]:
        return super().embed_query(text.upper(), **options)


class Completed(Prefixed):
    """Adds the async twin that its base lacks."""

    async def aembed_query(self, text: str, **options: Any) -> list[float]:
        return await super().aembed_query(f"query: {text}", **options)


class Running(AIMLAPIEmbeddings):
    """Runs the async method in its sync one."""

    def embed_query(self, text: str, **options: Any) -> list[float]:
        return asyncio.run(self.aembed_query(f"query: {text}", **options))


class Prefixing:
    """Replaces a method from beside our class."""

    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = super().embed_query(f"query: {text}")  # type: ignore[misc]
        return vector


class Mixed(Prefixing, AIMLAPIEmbeddings):
    """Has its method from a mixin."""


class Renamed(Prefixed):
    """Replaces nothing itself."""


@pytest.fixture
def make(fake_server: FakeServer, mode: Mode) -> Make:
    def build(cls: type[AIMLAPIEmbeddings]) -> EntryPoint:
        transport = httpx.MockTransport(fake_server)
        point = EntryPoint("langchain", mode, fake_server)
        point.embedder = cls(
            model=OPENAI,
            api_key=KEY,
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
        )
        return point

    return build


@pytest.mark.parametrize(
    ("cls", "sync", "native"),
    [
        (Prefixed, "query: q", "q"),
        (Shouting, "query: Q", "q"),
        (Mixed, "query: q", "q"),
        (Renamed, "query: q", "q"),
        (Again, "query: Q", "query: q"),
        (Both, "query: q", None),
        (Completed, "query: q", None),
    ],
)
def test_an_async_call_that_leaves_out_what_a_subclass_does_warns(
    make: Make, cls: type[AIMLAPIEmbeddings], sync: str, native: str | None
) -> None:
    point = make(cls)
    if point.mode == "sync" or native is None:
        point.query("q")
        assert point.fake_server.inputs == [[sync]]
    else:
        with pytest.warns(UserWarning, match=f"the embed_query that {cls.__name__} replaces"):
            point.query("q")
        assert point.fake_server.inputs == [[native]]


def test_async_calls_for_documents_warn_too(make: Make) -> None:
    point = make(Prefixed)
    if point.mode == "sync":
        point.documents(["a"])
        assert point.fake_server.inputs == [["passage: a"]]
    else:
        with pytest.warns(UserWarning, match="replace aembed_documents too"):
            point.documents(["a"])


@pytest.mark.filterwarnings("ignore:aembed_query does not call")
def test_a_sync_method_may_run_the_async_one(make: Make) -> None:
    """Else each would begin the other in a thread, without end."""
    point = make(Running)
    point.query("q")
    assert point.fake_server.inputs == [["query: q" if point.mode == "sync" else "q"]]


def test_a_stream_that_leaves_out_what_a_subclass_does_warns(make: Make) -> None:
    point = make(Prefixed)
    with pytest.warns(UserWarning, match="does not call the embed_documents that Prefixed"):
        read(point.embedder, point.mode, ["a"], method="embed_documents_iter")


def test_vectors_of_a_subclass_have_a_namespace_of_their_own() -> None:
    options: dict[str, Any] = {"model": OPENAI, "api_key": KEY}
    namespaces = [
        AIMLAPIEmbeddings(**options).cache_namespace,
        Prefixed(**options).cache_namespace,
        Prefixed(**options, dimensions=8).cache_namespace,
        Marked(**options).cache_namespace,
        Marked(**{**options, "mark": "b"}).cache_namespace,
    ]
    assert len({*namespaces}) == len(namespaces)
    again = Marked(**{**options, "mark": "b", "timeout": 3, "show_progress_bar": True})
    assert again.cache_namespace == namespaces[-1], "what changes no vector changes no namespace"
    unchanged = type("Unchanged", (AIMLAPIEmbeddings,), {"__module__": __name__})
    assert unchanged(**options).cache_namespace == namespaces[0]


def test_what_wraps_methods_of_our_own_classes_is_no_subclass(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that trace calls do so; else all that is cached would be paid for again."""
    before = make(AIMLAPIEmbeddings).embedder.cache_namespace
    for name in ("embed_documents", "embed_query", "aembed_documents", "aembed_query"):
        method = getattr(AIMLAPIEmbeddings, name)
        monkeypatch.setattr(AIMLAPIEmbeddings, name, lambda *args, call=method: call(*args))
    point = make(AIMLAPIEmbeddings)
    assert point.embedder.cache_namespace == before
    read(point.embedder, point.mode, ["a"], method="embed_documents_iter")  # does not warn
    point.query("q")  # nor does this
