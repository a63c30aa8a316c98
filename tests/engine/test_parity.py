"""Sync and async send the same bytes, and a repeated text is sent once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import supported_models
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer, Package

MODELS = [row.id for row in supported_models() if not row.retired and row.family.name != "nugen"]


@settings(max_examples=60)
@given(
    model=st.sampled_from(MODELS),
    texts=st.lists(st.text(min_size=1, max_size=30).filter(str.isprintable)),
    batch_size=st.integers(1, 9),
)
def test_sync_and_async_send_the_same_bytes(
    package: Package, model: str, texts: list[str], batch_size: int
) -> None:
    sent = []
    for mode in ("sync", "async"):
        fake_server = FakeServer()
        entry_point = EntryPoint(package, mode, fake_server)  # type: ignore[arg-type]
        entry_point.make(model, batch_size=batch_size, max_concurrency=1)
        entry_point.documents(texts)
        entry_point.query("a query")
        for request in fake_server.requests:
            assert request.headers.pop("x-client-request-id")  # another one for each request
        sent.append(
            [(request.path, request.headers, request.body) for request in fake_server.requests]
        )
    assert sent[0] == sent[1]


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
def test_a_repeated_text_is_sent_once_and_its_vector_returned_at_each_place(
    entry_point: EntryPoint, model: str
) -> None:
    vectors = entry_point.make(model, dimensions=8).documents(["a", "b", "a", "c", "b", "a"])
    assert entry_point.fake_server.inputs == [["a", "b", "c"]]
    assert vectors == [vectors[i] for i in (0, 1, 0, 3, 1, 0)]
    assert entry_point.client.usage.deduplicated == 3


def test_each_place_of_a_repeated_text_has_its_own_list(entry_point: EntryPoint) -> None:
    vectors = entry_point.make(GOOGLE, dimensions=8).documents(["a", "a"])
    vectors[0].clear()
    assert len(vectors[1]) == 8


def test_a_text_under_two_titles_is_sent_twice(fake_server: Any, mode: Any) -> None:
    entry_point = EntryPoint("langchain", mode, fake_server).make(GOOGLE)
    entry_point.documents(["a", "a", "a"], titles=["One", "Two", "One"])
    assert sorted(body["title"] for body in fake_server.bodies) == ["One", "Two"]
