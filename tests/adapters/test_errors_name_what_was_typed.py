"""Errors of an adapter name the argument as it was typed, and show no value that may be secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.adapter_classes import ADAPTERS, make
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint
from tests.support.key_exposure import all_of, assert_hidden


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    adapter: type[Any] = request.param
    return adapter


HOW: dict[str, Callable[[type[Any], str, Any], Any]] = {
    "constructor": lambda cls, name, value: make(cls, **{name: value}),
    "model_validate": lambda cls, name, value: cls.model_validate(
        {"model": make(cls).client.model.id, "api_key": KEY, name: value}
    ),
    "assignment": lambda cls, name, value: setattr(make(cls), name, value),
}
TYPED: list[tuple[type[Any], str, Any]] = [
    (AIMLAPIEmbeddings, "chunk_size", 0),
    (AIMLAPIEmbeddings, "batch_size", 0),
    (AIMLAPIEmbeddings, "batch_size", True),
    (AIMLAPIEmbeddings, "timeout", -1.0),
    (AIMLAPIEmbeddings, "request_timeout", -1.0),
    (AIMLAPIEmbeddings, "request_timeout", True),
    (AIMLAPIEmbedding, "batch_size", 0),
    (AIMLAPIEmbedding, "batch_size", -1),
    (AIMLAPIEmbedding, "embed_batch_size", 0),
    (AIMLAPIEmbedding, "embed_batch_size", True),
    (AIMLAPIEmbedding, "num_workers", 0),
    (AIMLAPIEmbedding, "num_workers", -1),
    (AIMLAPIEmbedding, "num_workers", False),
    *[
        (cls, name, value)
        for cls in ADAPTERS
        for name, value in (
            ("max_concurrency", 0),
            ("max_concurrency", True),
            ("max_retries", -1),
            ("max_retry_wait", -1.0),
            ("dimensions", -1),
            ("dimensions", True),
        )
    ],
]


@pytest.mark.parametrize(("adapter", "name", "value"), TYPED)
@pytest.mark.parametrize("how", ["constructor", "model_validate", "assignment"])
def test_the_first_line_holds_what_was_typed(
    adapter: type[Any], name: str, value: Any, how: str
) -> None:
    if how == "assignment" and name not in adapter.model_fields:
        how = "constructor"  # an alias cannot be assigned to
    with pytest.raises(ValidationError) as caught:
        HOW[how](adapter, name, value)
    first, message = str(caught.value).splitlines()[0], str(caught.value)
    assert f"({name}={value!r})" in first
    assert f"{name}={value!r} is not" in message
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("how", ["constructor", "assignment"])
@pytest.mark.parametrize(
    ("adapter", "name", "value"),
    [
        (AIMLAPIEmbeddings, "model_kwargs", {"model": "another"}),
        (AIMLAPIEmbedding, "additional_kwargs", {"input": "another"}),
        (AIMLAPIEmbeddings, "default_headers", {"Authorization": "Bearer x"}),
        (AIMLAPIEmbedding, "default_headers", {"a header": "x"}),
        (NugenEmbeddings, "nugen_api_base", "ftp://elsewhere"),
        (NugenEmbedding, "api_base", "ftp://elsewhere"),
        (AIMLAPIEmbeddings, "http_async_client", object()),
        (AIMLAPIEmbedding, "async_http_client", object()),
    ],
)
def test_the_message_speaks_of_the_field(
    adapter: type[Any], name: str, value: Any, how: str
) -> None:
    with pytest.raises(ValidationError, match=name):
        HOW[how](adapter, name, value)


def test_an_alias_in_a_message_is_the_one_that_was_typed() -> None:
    for name in ("api_base", "base_url"):
        with pytest.raises(ValidationError, match=f"{name}='ftp://elsewhere' is not"):
            make(AIMLAPIEmbedding, **{name: "ftp://elsewhere"})


def test_nothing_to_validate_is_an_error_that_says_so(cls: type[Any]) -> None:
    with pytest.raises(ValidationError, match=r"^1 validation error for .*validate\(None\)"):
        cls.model_validate(None)


@pytest.mark.parametrize("number", [np.int64(8), np.uint8(8), np.int32(8)])
def test_integers_of_other_libraries_are_taken(adapter: EntryPoint, number: Any) -> None:
    integers = dict.fromkeys(("dimensions", "batch_size", "max_retries"), number)
    adapter.make(OPENAI, **integers, max_concurrency=number)
    assert type(adapter.embedder.dimensions) is int
    assert [len(vector) for vector in adapter.documents(["a"])] == [8]


# Secrets


class Config(BaseModel):
    """A model of a user's, with the adapters as fields."""

    langchain: AIMLAPIEmbeddings | None = None
    llama_index: AIMLAPIEmbedding | None = None


class Outer(BaseModel):
    config: Config


MISTAKES: list[dict[str, Any]] = [
    {"dimensions": 7_000},
    {"dimensions": "many"},
    {"dimension": 7},
    {"api_key": [KEY]},
    {"api_key": None, "apikey": KEY},
    {"api_key": None, "api_keys": {"aimlapi": KEY}},
    {"dimension": 3, "default_headers": {"X-Gateway-Key": KEY}},
    {"default_headers": {"Authorization": KEY}},
    {"default_headers": KEY},
    {"default_headers": [KEY]},
    {"base_url": f"https://user:{KEY}@elsewhere/v1"},
    {"base_url": f"https://user:{KEY}/x@elsewhere/v1"},
    {"base_url": f"user:{KEY}@elsewhere"},
    {"base_url": f"ftp://elsewhere/v1?key={KEY}"},
    {"base_url": f"http://elsewhere/v1?key={KEY}#{KEY}"},
    {"max_retries": -1, "base_url": f"https://elsewhere/v1?key={KEY}"},
]
# How an adapter comes to be, alone and inside another model.
WAYS: dict[str, Callable[[type[Any], dict[str, Any]], Any]] = {
    "constructor": lambda cls, data: cls(**data),
    "model_validate": lambda cls, data: cls.model_validate(data),
    "model_validate_json": lambda cls, data: cls.model_validate_json(json.dumps(data)),
    "field": lambda cls, data: Config.model_validate({field_of(cls): data}),
    "field from JSON": lambda cls, data: Config.model_validate_json(
        json.dumps({field_of(cls): data})
    ),
    "field of a field": lambda cls, data: Outer.model_validate({"config": {field_of(cls): data}}),
}


def field_of(cls: type[Any]) -> str:
    return "langchain" if cls is AIMLAPIEmbeddings else "llama_index"


@pytest.mark.parametrize("adapter", [AIMLAPIEmbeddings, AIMLAPIEmbedding])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: " ".join(mistake))
def test_no_secret_stands_in_an_error(
    adapter: type[Any], way: str, mistake: dict[str, Any]
) -> None:
    """Neither in its text, its details or its JSON, nor in those of an outer model."""
    model = "model" if adapter is AIMLAPIEmbeddings else "model_name"
    given = {model: GOOGLE, "api_key": KEY, **mistake}
    data = {name: value for name, value in given.items() if value is not None}
    kept = json.dumps(data)
    with pytest.raises(ValidationError) as caught:
        WAYS[way](adapter, data)
    error = caught.value
    assert_hidden(f"{error} {error!r} {error.errors()} {error.json()} {error.args}")
    assert json.dumps(data) == kept, "the caller's dict is not touched"
    assert error.__context__ is error.__cause__ is None, "it would hold what was hidden"


def test_json_that_cannot_be_read_is_not_shown(cls: type[Any]) -> None:
    with pytest.raises(ValidationError, match="Invalid JSON") as caught:
        cls.model_validate_json(f'{{"api_key": "{KEY}"')
    assert_hidden(all_of(caught.value))


@pytest.mark.parametrize("name", ["api_key", "default_headers", "base_url"])
def test_no_secret_stands_in_the_error_of_an_assignment(adapter: EntryPoint, name: str) -> None:
    fields = {
        "langchain": {"api_key": "aimlapi_api_key", "base_url": "aimlapi_api_base"},
        "llama_index": {"base_url": "api_base"},
    }
    embedder = adapter.make().embedder
    bad = {"api_key": [KEY], "default_headers": [KEY], "base_url": f"x://e/?key={KEY}"}[name]
    with pytest.raises(ValidationError) as caught:
        setattr(embedder, fields[adapter.name].get(name, name), bad)
    error = caught.value
    assert_hidden(f"{error} {error!r} {error.errors()} {error.json()} {error.args}")


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        lambda e: repr(e.model_dump()),
        lambda e: e.model_dump_json(),
        lambda e: repr(e.client),
        lambda e: repr(e.client.identity),
        lambda e: e.client.cache_namespace,
        lambda e: repr(getattr(e, "to_payload", dict)()),
    ],
)
def test_a_url_is_shown_without_its_query(cls: type[Any], shown: Callable[[Any], str]) -> None:
    embedder = make(cls, base_url=f"https://elsewhere/v1?key={KEY}")
    assert_hidden(shown(embedder))


def test_the_query_of_a_url_is_sent_and_not_told(adapter: EntryPoint) -> None:
    adapter.make(base_url=f"https://elsewhere/v1?key={KEY}", max_retries=0)
    adapter.query("q")
    assert adapter.fake_server.requests[0].path == f"/v1/embeddings?key={KEY}"
    adapter.make(base_url=f"https://elsewhere/nowhere?key={KEY}", max_retries=0)
    with pytest.raises(Exception, match="404") as caught:
        adapter.query("q")
    assert_hidden(str(caught.value))
