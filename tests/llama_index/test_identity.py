"""LlamaIndex: a dump says what is in force, and is the same for all that send the same requests."""

from __future__ import annotations

from typing import Any

import pytest

from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support.entry_points import GOOGLE, KEY

BGE = "BAAI/bge-base-en-v1.5"
pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")


def dump(**options: Any) -> str:
    """The text whose hash is the key of an ingestion cache."""
    return str(AIMLAPIEmbedding(**{"model": GOOGLE, "api_key": KEY, **options}).to_dict())


def test_the_dump_holds_the_url_that_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "'api_base': 'https://api.aimlapi.com/v1'" in dump()
    monkeypatch.setenv("AIMLAPI_API_BASE", "https://first.example")
    first = dump()
    assert "'api_base': 'https://first.example/v1'" in first
    monkeypatch.setenv("AIMLAPI_API_BASE", "https://second.example")
    assert dump() != first


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"base_url": "https://h/v1"}, {"base_url": "https://h/v1/"}),
        ({"base_url": "https://h/v1"}, {"base_url": "https://h"}),
        ({"base_url": "https://h/v1"}, {"base_url": "https://h/v1/embeddings"}),
        ({"base_url": "https://h/v1"}, {"base_url": "https://H:443/v1"}),
        ({"base_url": "https://h/v1"}, {"base_url": "https://h/v1?team=search"}),
        ({}, {"base_url": "https://api.aimlapi.com/v1"}),
        ({}, {"task_type": "RETRIEVAL_DOCUMENT"}),
        ({}, {"task_type": "retrieval_query"}),
        ({"task_type": "CLUSTERING"}, {"task_type": "clustering"}),
        ({}, {"family": "google"}),
        ({"model": BGE}, {"model": BGE, "document_prefix": ""}),
        ({"model": BGE, "query_prefix": ""}, {"model": BGE, "task_type": "NONE"}),
        ({"model": "voyage-2"}, {"model": "voyage-2", "query_prefix": ""}),
        (
            {"additional_kwargs": {"a": 1, "b": {"c": 2, "d": 3}}},
            {"additional_kwargs": {"b": {"d": 3, "c": 2}, "a": 1}},
        ),
    ],
    ids=str,
)
def test_spellings_that_send_the_same_requests_are_one(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert dump(**one) == dump(**other)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "https://h"},
        {"task_type": "QUESTION_ANSWERING"},
        {"task_type": "NONE"},
        {"query_prefix": "q: "},
        {"document_prefix": "d: "},
        {"too_long": "error"},
        {"normalize": True},
        {"dimensions": 8},
        {"additional_kwargs": {"a": 1}},
        {"additional_kwargs": {"a": True}},
        {"additional_kwargs": {"a": 1.0}},
        {"model": f"google/{GOOGLE}"},
    ],
    ids=str,
)
def test_what_changes_a_request_stays_in_the_dump_and_comes_back(options: dict[str, Any]) -> None:
    assert dump(**options) != dump()
    made = AIMLAPIEmbedding(**{"model": GOOGLE, "api_key": KEY, **options})
    back = AIMLAPIEmbedding.from_dict({**made.to_dict(), "api_key": KEY})
    assert back.to_dict() == made.to_dict()
    assert back.client.cache_namespace == made.client.cache_namespace


def test_an_endpoint_whose_path_repeats_itself_comes_back() -> None:
    made = AIMLAPIEmbedding(model=GOOGLE, api_key=KEY, base_url="https://h/embeddings")
    back = AIMLAPIEmbedding.from_dict({**made.to_dict(), "api_key": KEY})
    assert back.client.cache_namespace == made.client.cache_namespace
