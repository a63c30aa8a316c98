"""`GET /v1/models` answers without a key, with the models that the gateway lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimlapi_embeddings.emulator import Reply, Request, answer
from tests.support.recorded_models import RECORDED_MODELS

LISTED = {
    "openai/text-embedding-3-small",
    "openai/text-embedding-3-large",
    "openai/text-embedding-ada-002",
    "anthropic/voyage-2",
    "anthropic/voyage-code-2",
    "anthropic/voyage-large-2",
    "anthropic/voyage-large-2-instruct",
    "anthropic/voyage-law-2",
    "anthropic/voyage-finance-2",
    "anthropic/voyage-multilingual-2",
    "google/text-multilingual-embedding-002",
    "alibaba/qwen-text-embedding-v3",
    "alibaba/qwen-text-embedding-v4",
}


def get(path: str, method: str = "GET", **options: Any) -> Reply:
    return answer(Request(method, path, {}, b""), **options)


def entries(path: str, **options: Any) -> list[dict[str, Any]]:
    reply = get(path, **options)
    assert reply.status == 200
    body = json.loads(reply.body)
    assert body["object"] == "list"
    listed: list[dict[str, Any]] = body["data"]
    return listed


def ids(path: str, **options: Any) -> set[str]:
    return {entry["id"] for entry in entries(path, **options)}


def test_the_catalogue_lists_the_models_served_today_by_their_canonical_ids() -> None:
    assert ids("/v1/models") == LISTED
    assert len(entries("/v1/models")) == len(LISTED)


def test_every_entry_has_the_documented_fields() -> None:
    for entry in entries("/v1/models?include=all"):
        assert entry.keys() == {"id", "aliases", "type", "info", "tags"}
        assert entry["type"] == "openai/embeddings"
        assert entry["info"].keys() == {"name", "developer"}


def test_every_name_in_the_catalogue_is_served_and_every_served_name_is_in_it() -> None:
    listed = {name for entry in entries("/v1/models") for name in (entry["id"], *entry["aliases"])}
    served = {
        name
        for row in RECORDED_MODELS
        if row.served and row.family != "nugen"
        for name in (row.id, *row.aliases)
    }
    assert listed == served
    for name in listed:
        body = json.dumps({"model": name, "input": "a"}).encode()
        request = Request("POST", "/v1/embeddings", {"authorization": "Bearer k"}, body)
        assert answer(request).status == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("id=voyage-2", {"anthropic/voyage-2"}),
        ("id=VOYAGE-2,text-embedding-v4", {"anthropic/voyage-2", "alibaba/qwen-text-embedding-v4"}),
        ("id=voyage-2&id=nothing", {"anthropic/voyage-2"}),
        ("id=nothing", set()),
        ("type=openai/embeddings", LISTED),
        ("type=openai/chat-completions", set()),
        ("id=voyage-2&type=openai/chat-completions", set()),
    ],
)
def test_id_and_type_narrow_the_list(query: str, found: set[str]) -> None:
    assert ids(f"/v1/models?{query}") == found


@pytest.mark.parametrize("name", ["voyage-2", "anthropic/voyage-2"])
def test_a_withdrawn_model_is_not_listed(name: str) -> None:
    assert ids("/v1/models", withdrawn={name}) == LISTED - {"anthropic/voyage-2"}


def test_the_catalogue_can_be_read_and_nothing_else() -> None:
    assert get("/v1/models", "HEAD").status == 200
    assert get("/v1/models", "POST").status == 404
    assert get("/v1/models/voyage-2").status == 404
