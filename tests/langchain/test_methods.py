"""LangChain's methods: signatures, the size of a request, and arguments of a single call."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support.entry_points import GOOGLE, EntryPoint, FakeServer, Mode


@pytest.fixture
def langchain(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LangChain's methods in both modes, on the fake server."""
    return EntryPoint("langchain", mode, fake_server)


@pytest.mark.parametrize("sync_name", ["embed_documents", "embed_query"])
def test_async_methods_have_the_signature_of_the_sync_ones_and_are_our_own(sync_name: str) -> None:
    sync, native = (getattr(AIMLAPIEmbeddings, name) for name in (sync_name, f"a{sync_name}"))
    assert inspect.signature(native) == inspect.signature(sync)
    assert inspect.iscoroutinefunction(native)
    inherited = getattr(Embeddings, f"a{sync_name}")
    assert native is not inherited, "the inherited one runs the sync method in a thread"


@pytest.mark.parametrize("name", ["chunk_size", "batch_size"])
def test_chunk_size_bounds_the_texts_of_a_request(langchain: EntryPoint, name: str) -> None:
    langchain.make(**{name: 2}, max_concurrency=1).documents(list("abcde"))
    assert langchain.fake_server.inputs == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize(
    ("method", "argument", "options", "sent"),
    [
        (
            "embed_documents",
            ["a"],
            {"titles": ["Title"]},
            {"input": ["a"], "task_type": "RETRIEVAL_DOCUMENT", "title": "Title"},
        ),
        (
            "embed_documents",
            ["a"],
            {"task_type": "CLUSTERING"},
            {"input": ["a"], "task_type": "CLUSTERING"},
        ),
        (
            "embed_query",
            "q",
            {"task_type": "FACT_VERIFICATION"},
            {"input": ["q"], "task_type": "FACT_VERIFICATION"},
        ),
    ],
)
def test_titles_and_task_type_of_a_call_hold_for_that_call(
    langchain: EntryPoint, method: str, argument: Any, options: dict[str, Any], sent: dict[str, Any]
) -> None:
    embeddings = langchain.make().embedder
    call = getattr(embeddings, method if langchain.mode == "sync" else f"a{method}")
    langchain.wait(call(argument, **options))
    langchain.query("q")
    assert langchain.fake_server.bodies == [
        {"model": GOOGLE, **sent},
        {"model": GOOGLE, "input": ["q"], "task_type": "RETRIEVAL_QUERY"},
    ]
