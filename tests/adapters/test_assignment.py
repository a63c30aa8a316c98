"""Fields of an adapter that are assigned after it was made."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from aimlapi_embeddings import ConfigurationError
from tests.support.entry_points import GOOGLE, KEY, EntryPoint

API_KEY = {"langchain": "aimlapi_api_key", "llama_index": "api_key"}


def test_an_assigned_field_changes_the_next_request(adapter: EntryPoint, embedder: Any) -> None:
    embedder.dimensions = 8
    getattr(embedder, adapter.field("extra_body"))["auto_truncate"] = True
    assert len(adapter.query("q")) == 8
    assert adapter.fake_server.bodies[0]["auto_truncate"] is True


def test_an_assignment_that_changes_no_request_keeps_the_client(
    adapter: EntryPoint, embedder: Any
) -> None:
    client = embedder.client
    setattr(embedder, adapter.field("show_progress"), True)
    embedder.dimensions = embedder.dimensions
    setattr(embedder, API_KEY[adapter.name], SecretStr(KEY))
    assert embedder.client is client
    embedder.max_retries = 1
    assert embedder.client is not client


@pytest.mark.parametrize("name", ["dimension", "base_url"])
def test_assigning_to_a_name_that_is_no_field_is_refused(embedder: Any, name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        setattr(embedder, name, "http://127.0.0.1:9")


def test_nothing_is_sent_between_a_refused_assignment_and_a_valid_one(
    adapter: EntryPoint, embedder: Any
) -> None:
    with pytest.raises(ValidationError, match="not a size"):
        embedder.dimensions = 100_000
    with pytest.raises(ConfigurationError, match="not a size"):
        adapter.query("q")
    assert adapter.fake_server.requests == []
    embedder.dimensions = 8
    assert len(adapter.query("q")) == 8


def test_a_copy_with_an_update_embeds_with_it_and_leaves_the_original(
    adapter: EntryPoint, embedder: Any
) -> None:
    adapter.embedder = embedder.model_copy(update={"dimensions": 8})
    assert len(adapter.query("q")) == 8
    adapter.embedder = embedder
    assert len(adapter.query("q")) == 768
    assert [body["model"] for body in adapter.fake_server.bodies] == [GOOGLE] * 2
