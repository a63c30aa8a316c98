"""Copies and pickles of adapters keep all options and the key, or raise."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from langchain_core.rate_limiters import InMemoryRateLimiter
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.rate_limiter import TokenBucketRateLimiter

from aimlapi_embeddings import ConfigurationError, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support import worker_processes
from tests.support.adapter_classes import ADAPTERS, make
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer, Mode, Package


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    """Each adapter class."""
    adapter: type[Any] = request.param
    return adapter


def through_pickle(embedder: Any) -> Any:
    return pickle.loads(pickle.dumps(embedder))


COPIES = [through_pickle, copy.deepcopy, copy.copy]


def fields(embedder: Any) -> dict[str, Any]:
    """All fields but LlamaIndex's callback manager, which is created anew and has no equality."""
    return {name: value for name, value in embedder if name != "callback_manager"}


def query(embedder: Any) -> list[float]:
    vector: list[float] = (
        embedder.get_query_embedding("q")
        if isinstance(embedder, BaseEmbedding)
        else embedder.embed_query("q")
    )
    return vector


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("key_from", ["argument", "environment"])
def test_copies_and_pickles_keep_all_fields_and_the_key(
    cls: type[Any], copied: Callable[[Any], Any], key_from: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "NUGEN_API_KEY" if "Nugen" in cls.__name__ else "AIMLAPI_API_KEY"
    if key_from == "environment":
        monkeypatch.setenv(variable, KEY)
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        original = make(
            cls,
            api_key=KEY if key_from == "argument" else None,
            base_url=base_url,
            dimensions=8,
            timeout=7,
            default_headers={"X-Team": "search"},
        )
        monkeypatch.setenv(variable, "the key of another process")
        twin = copied(original)
        assert fields(twin) == fields(original)
        assert len(query(twin)) == 8
        twin.client.close()
    headers = server.requests[0].headers
    assert (headers["authorization"], headers["x-team"]) == (f"Bearer {KEY}", "search")


@pytest.mark.parametrize("copied", COPIES)
def test_changing_a_copy_leaves_the_original(cls: type[Any], copied: Callable[[Any], Any]) -> None:
    original = make(cls)
    twin = copied(original)
    twin.dimensions = 8
    assert original.dimensions is None
    assert twin.client is not original.client


def test_pickling_with_an_http_client_of_the_user_is_refused_and_changes_nothing(
    package: Package, fake_server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    entry_point = EntryPoint(package, "sync", fake_server).make()
    names = "http_client and http_async_client"
    if package != "langchain":
        names = "http_client and async_http_client"
    with pytest.raises(ConfigurationError, match=f"{names}.*Leave it out") as caught:
        pickle.dumps(entry_point.embedder)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert caplog.messages == []
    assert len(entry_point.query("q")) == 768


@pytest.mark.parametrize(
    ("adapter", "field", "value"),
    [
        (AIMLAPIEmbeddings, "rate_limiter", InMemoryRateLimiter()),
        (AIMLAPIEmbedding, "rate_limiter", TokenBucketRateLimiter(requests_per_minute=1)),
    ],
)
def test_a_field_that_cannot_be_pickled_raises_and_logs_nothing(
    adapter: type[Any], field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = make(adapter, **{field: value})
    with pytest.raises(ConfigurationError, match=f"cannot be pickled with {field}"):
        pickle.dumps(embedder)
    assert caplog.messages == []
    assert hasattr(embedder, field)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy])
def test_copies_share_the_client_until_an_option_is_changed(
    cls: type[Any], copied: Callable[[Any], Any]
) -> None:
    original = make(cls)
    twin = copied(original)
    assert twin.client is original.client
    twin.max_retries = 1
    assert twin.client is not original.client


@pytest.mark.parametrize("name", ["langchain", "llama_index"])
def test_a_deep_copy_shares_http_clients_and_rate_limiter(
    name: Package, mode: Mode, fake_server: FakeServer
) -> None:
    limiters = {
        "langchain": InMemoryRateLimiter(requests_per_second=1000),
        "llama_index": TokenBucketRateLimiter(requests_per_minute=1000),
    }
    entry_point = EntryPoint(name, mode, fake_server).make(rate_limiter=limiters[name])
    original, entry_point.embedder = entry_point.embedder, copy.deepcopy(entry_point.embedder)
    assert entry_point.embedder.http_client is original.http_client
    assert entry_point.embedder.rate_limiter is original.rate_limiter
    assert entry_point.embedder.client is original.client
    entry_point.embedder.dimensions = 8
    assert len(entry_point.query("q")) == 8
    assert len(fake_server.requests) == 1


def test_a_pickle_holds_the_key(cls: type[Any]) -> None:
    assert KEY.encode() in pickle.dumps(make(cls))


@pytest.fixture(scope="module")
def spawned() -> Iterator[ProcessPoolExecutor]:
    """A spawned process, which receives only what is pickled."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.timeout(60)
def test_a_pickle_works_in_a_spawned_process(
    package: Package, mode: Mode, spawned: ProcessPoolExecutor
) -> None:
    server = emulator.Emulator()
    texts = list("abcd")
    with emulator.running(server) as base_url:
        entry_point = EntryPoint(package, mode, FakeServer()).make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, batch_size=2, dimensions=8
        )
        future = spawned.submit(
            worker_processes.embed, package, mode, entry_point.embedder, texts, "q"
        )
        there = future.result()
        assert len(server.requests) == 3, "one for each batch, one for the query"
        assert there == [*entry_point.documents(texts), entry_point.query("q")]
        entry_point.client.close()
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
