"""What was dumped, as data or as JSON, gives the same embeddings again, or says what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.embeddings.loading import load_embed_model
from pydantic import BaseModel, ValidationError

from aimlapi_embeddings import ConfigurationError, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support.adapter_classes import ADAPTERS, LANGCHAIN, LLAMA_INDEX, make
from tests.support.entry_points import KEY

OPTIONS = {"dimensions": 8, "document_prefix": "d: "}


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    adapter: type[Any] = request.param
    return adapter


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys stay out of dumps, so the environment supplies them."""
    for provider in ("AIMLAPI", "NUGEN"):
        monkeypatch.setenv(f"{provider}_API_KEY", KEY)


class Outer(BaseModel):
    """A model of a user's."""

    langchain: AIMLAPIEmbeddings | None = None
    llama_index: AIMLAPIEmbedding | None = None


TRIPS: list[Callable[[Any], Any]] = [
    lambda e: type(e).model_validate(e.model_dump()),
    lambda e: type(e).model_validate_json(e.model_dump_json()),
    lambda e: type(e)(**e.model_dump()),
    lambda e: type(e)(**json.loads(e.model_dump_json())),
    lambda e: type(e)(**e.model_dump(mode="json", by_alias=True)),
    lambda e: type(e).model_validate(e),
]
OF_LLAMA_INDEX: list[Callable[[Any], Any]] = [
    lambda e: type(e)(**e.to_dict()),
    lambda e: type(e).from_dict(e.to_dict()),
    lambda e: type(e).from_json(e.to_json()),
    lambda e: load_embed_model(e.to_dict()),
]


@pytest.mark.parametrize(
    ("adapter", "trip"),
    [(adapter, trip) for adapter in ADAPTERS for trip in TRIPS]
    + [(adapter, trip) for adapter in LLAMA_INDEX for trip in OF_LLAMA_INDEX],
)
def test_a_dump_gives_the_same_embeddings_again(
    adapter: type[Any], trip: Callable[[Any], Any]
) -> None:
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        original = make(adapter, api_key=None, base_url=base_url, **OPTIONS)
        back = trip(original)
        assert type(back) is adapter
        query = back.embed_query if adapter in LANGCHAIN else back.get_query_embedding
        assert len(query("q")) == 8
        assert back.client.cache_namespace == original.client.cache_namespace
        back.client.close()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("field", ["langchain", "llama_index"])
def test_a_field_of_another_model_makes_the_trip_too(field: str) -> None:
    adapter = AIMLAPIEmbeddings if field == "langchain" else AIMLAPIEmbedding
    embedder = make(adapter, api_key=None, **OPTIONS)
    outer = Outer(**{field: embedder})
    assert getattr(outer, field) is embedder
    for back in (
        Outer.model_validate(outer.model_dump()),
        Outer.model_validate_json(outer.model_dump_json()),
    ):
        assert getattr(back, field).client.identity == embedder.client.identity


def test_no_key_is_written_into_json(cls: type[Any]) -> None:
    text = make(cls, api_key="a key of its own").model_dump_json()
    assert "a key of its own" not in text
    assert "*" not in text, "asterisks would be taken for a key"


def test_a_key_that_no_variable_supplies_is_asked_for(
    cls: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = make(cls).model_dump_json()
    for provider in ("AIMLAPI", "NUGEN"):
        monkeypatch.delenv(f"{provider}_API_KEY")
    with pytest.raises(ValidationError, match="no API key"):
        cls.model_validate_json(text)


@pytest.mark.parametrize("adapter", LLAMA_INDEX)
def test_the_dump_of_another_class_is_refused(adapter: type[Any]) -> None:
    dump = {**make(adapter).to_dict(), "class_name": "OpenAIEmbedding"}
    with pytest.raises((ValidationError, ConfigurationError), match="class_name"):
        adapter(**dump)


def test_the_query_of_a_url_is_passed_again_after_a_reload(cls: type[Any]) -> None:
    original = make(cls, base_url="https://elsewhere/v1?team=search")
    back = cls(**original.model_dump())
    assert back.client.identity == original.client.identity
    assert "search" not in str(original.model_dump()) + original.model_dump_json()


def test_variables_are_read_once(cls: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed option must not send texts to another host."""
    provider = "NUGEN" if "Nugen" in cls.__name__ else "AIMLAPI"
    monkeypatch.setenv(f"{provider}_API_BASE", "https://first.example")
    embedder = make(cls, api_key=None)
    first = embedder.client.identity["base_url"]
    monkeypatch.setenv(f"{provider}_API_BASE", "https://second.example")
    monkeypatch.delenv(f"{provider}_API_KEY")
    embedder.dimensions = 8
    assert embedder.client.identity["base_url"] == first
    assert first.startswith("https://first.example/")
