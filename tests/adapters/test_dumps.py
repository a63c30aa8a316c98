"""Neither a dump of an adapter nor the error of a failed construction shows the key."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.load import dumpd, dumps
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from pydantic import ValidationError

from aimlapi_embeddings import TaskType
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support.adapter_classes import ADAPTERS, LANGCHAIN, LLAMA_INDEX, make
from tests.support.entry_points import KEY, FakeServer

PATHS = {"AIMLAPIEmbedding": "/v1", "NugenEmbedding": "/api/v3/inference"}
SECRET_HEADERS = {"X-Proxy-Password": KEY}


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    """Each adapter class."""
    adapter: type[Any] = request.param
    return adapter


# Dumps and errors without the key


@pytest.mark.parametrize(
    "dump",
    [
        repr,
        str,
        lambda embedder: repr(vars(embedder)),
        lambda embedder: repr(list(embedder)),
        lambda embedder: repr(embedder.model_dump()),
        lambda embedder: repr(embedder.model_dump(mode="json")),
        lambda embedder: embedder.model_dump_json(),
        lambda embedder: repr(embedder.client),
    ],
)
def test_no_dump_shows_the_key(cls: type[Any], dump: Callable[[Any], str]) -> None:
    assert KEY not in dump(make(cls))


@pytest.mark.parametrize("dump", [repr, str, lambda embedder: embedder.model_dump_json()])
def test_no_dump_shows_the_users_headers(cls: type[Any], dump: Callable[[Any], str]) -> None:
    assert KEY not in dump(make(cls, default_headers=SECRET_HEADERS))


@pytest.mark.parametrize("adapter", LANGCHAIN)
@pytest.mark.parametrize("dump", [dumps, lambda embedder: repr(dumpd(embedder))])
def test_no_dump_of_langchain_shows_the_key(adapter: type[Any], dump: Callable[[Any], str]) -> None:
    shown = dump(make(adapter, default_headers=SECRET_HEADERS))
    assert adapter.__name__ in shown
    assert KEY not in shown


@pytest.mark.parametrize("adapter", LLAMA_INDEX)
@pytest.mark.parametrize("dump", ["to_dict", "to_json", "to_payload", "dict", "json"])
def test_no_dump_of_llama_index_shows_the_key(adapter: type[Any], dump: str) -> None:
    embedding = make(adapter, default_headers=SECRET_HEADERS)
    assert KEY not in str(getattr(embedding, dump)())


@pytest.mark.parametrize(
    "wrong",
    [
        {"apikey": KEY},
        {"apikey": KEY, "api_key": KEY},
        {"api_key": KEY, "model": None},
        {"api_key": KEY, "model": [KEY]},
        {"api_key": [KEY]},
        {"api_key": KEY, "dimensions": KEY},
        {"api_key": KEY, "default_headers": KEY},
        {"api_key": KEY, "default_headers": {"Authorization": KEY}},
        {"api_key": KEY, "base_url": "ftp://elsewhere"},
        {"api_key": KEY, "base_url": f"https://user:{KEY}@elsewhere"},
        {"api_key": KEY, "task_type": "nonsense"},
    ],
    ids=lambda wrong: " ".join(wrong),
)
def test_the_error_of_a_failed_construction_does_not_show_the_key(
    cls: type[Any], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as caught:
        make(cls, **{"api_key": None, **wrong})
    shown = traceback.format_exception(caught.value)
    assert KEY not in "".join(shown) + repr(caught.value)


@pytest.mark.parametrize(
    ("adapter", "full_name"),
    [(AIMLAPIEmbeddings, "aimlapi_api_key"), (NugenEmbeddings, "nugen_api_key")],
)
def test_a_key_given_twice_is_not_shown(adapter: type[Any], full_name: str) -> None:
    with pytest.raises(ValidationError, match="names of one argument") as caught:
        make(adapter, **{full_name: KEY})
    assert KEY not in str(caught.value)


def test_the_error_for_a_missing_model_does_not_show_the_key(cls: type[Any]) -> None:
    with pytest.raises(ValidationError, match=r"is missing\. There is no default") as caught:
        cls(api_key=KEY)
    assert KEY not in str(caught.value)


# Dumps that keep what changes the vectors


@pytest.mark.parametrize("adapter", LLAMA_INDEX)
def test_to_dict_holds_exactly_the_fields_that_change_the_vectors(adapter: type[Any]) -> None:
    shaping = {
        "dimensions": 8,
        "task_type": None,
        "family": None,
        "query_prefix": "q: ",
        "document_prefix": "d: ",
        "too_long": None,
        "normalize": True,
        "additional_kwargs": {"user": "me"},
    }
    unrelated = {
        "encoding_format": "auto",
        "embed_batch_size": 5,
        "batch_size": 3,
        "max_concurrency": 2,
        "max_retries": 1,
        "max_retry_wait": 1.0,
        "retry_for": 1.0,
        "requests_per_minute": 1.0,
        "tokens_per_minute": 1.0,
        "max_usd": None,
        "max_tokens": 1,
        "timeout": 1.0,
        "show_progress": True,
        "default_headers": SECRET_HEADERS,
        "allow_http": True,
        "num_workers": 2,
        "rate_limiter": TokenBucketRateLimiter(requests_per_minute=1),
    }
    embedding = make(adapter, **shaping, **unrelated, base_url="https://elsewhere")
    assert embedding.to_dict() == {
        "class_name": adapter.__name__,
        "model_name": embedding.model_name,
        "api_base": "https://elsewhere" + PATHS[adapter.__name__],
        **shaping,
    }
    assert json.loads(embedding.to_json()) == embedding.to_dict()
    assert set(adapter.model_fields) == {
        *(shaping | unrelated),
        *("model_name", "api_key", "api_base", "callback_manager", "embeddings_cache"),
        *("http_client", "async_http_client", "cache"),
    }, "a new field belongs to one of the two"


@pytest.mark.parametrize("dump", ["to_dict", "to_payload"])
def test_a_task_type_is_dumped_like_its_name(dump: str) -> None:
    named, written = (
        make(AIMLAPIEmbedding, task_type=task) for task in (TaskType.CLUSTERING, "CLUSTERING")
    )
    shown = repr(getattr(named, dump)())
    assert shown == repr(getattr(written, dump)()), "the ingestion cache hashes this text"


def test_from_dict_takes_the_fields_that_to_dict_leaves_out(fake_server: FakeServer) -> None:
    dump = make(AIMLAPIEmbedding, dimensions=8, task_type="clustering", timeout=5).to_dict()
    back = AIMLAPIEmbedding.from_dict(
        {**dump, "api_key": KEY, "timeout": 7},
        http_client=httpx.Client(transport=httpx.MockTransport(fake_server)),
    )
    assert back.to_dict() == dump
    assert back.timeout == 7
    assert len(back.get_text_embedding("a")) == 8
    assert fake_server.bodies[0]["task_type"] == "CLUSTERING"
    assert fake_server.requests[0].headers["authorization"] == f"Bearer {KEY}"
