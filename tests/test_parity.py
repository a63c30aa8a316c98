"""Law 2: sync and async send the same bytes. Law 14: a repeated text is paid for once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surfaces import GOOGLE, OPENAI, Surface, SurfaceName, Wire

from aimlapi_embeddings import supported_models

MODELS = [row.id for row in supported_models() if not row.retired and row.family.name != "nugen"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    model=st.sampled_from(MODELS),
    texts=st.lists(st.text(min_size=1, max_size=30).filter(str.isprintable)),
    batch_size=st.integers(1, 9),
)
def test_sync_and_async_send_the_same_bytes(
    surface_name: SurfaceName, model: str, texts: list[str], batch_size: int
) -> None:
    sent = []
    for colour in ("sync", "async"):
        wire = Wire()
        surface = Surface(surface_name, colour, wire)  # type: ignore[arg-type]
        surface.make(model, batch_size=batch_size, max_concurrency=1)
        surface.documents(texts)
        surface.query("a query")
        sent.append([(request.path, request.headers, request.body) for request in wire.requests])
    assert sent[0] == sent[1]


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
def test_a_repeated_text_is_sent_once_and_answered_everywhere(surface: Surface, model: str) -> None:
    vectors = surface.make(model, dimensions=8).documents(["a", "b", "a", "c", "b", "a"])
    assert surface.wire.inputs == [["a", "b", "c"]]
    assert vectors == [vectors[i] for i in (0, 1, 0, 3, 1, 0)]
    assert surface.client.usage.deduplicated == 3


def test_a_repeated_text_gets_a_list_of_its_own(surface: Surface) -> None:
    vectors = surface.make(GOOGLE, dimensions=8).documents(["a", "a"])
    vectors[0].clear()
    assert len(vectors[1]) == 8


def test_the_same_text_under_two_titles_is_two_texts(wire: Any, colour: Any) -> None:
    surface = Surface("langchain", colour, wire).make(GOOGLE)
    surface.documents(["a", "a", "a"], titles=["One", "Two", "One"])
    assert sorted(body["title"] for body in wire.bodies) == ["One", "Two"]
