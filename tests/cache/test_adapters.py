"""The adapters' `cache` field: no part of what an object is, and at work beside other caches."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.stores import InMemoryByteStore
from llama_index.core.storage.kvstore import SimpleKVStore

from aimlapi_embeddings import EmbeddingsClient, VectorCache
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support import optional_imports
from tests.support.adapter_classes import ADAPTERS, make
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode

TEXTS = [f"text {i}" for i in range(6)]


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    adapter: type[Any] = request.param
    return adapter


def test_a_path_becomes_a_cache(cls: type[Any], path: Path) -> None:
    for given in (path, str(path)):
        embedder = make(cls, cache=given)
        assert isinstance(embedder.cache, VectorCache)
        assert embedder.cache.path == path


def test_dumps_repr_identity_and_equality_do_without_it(cls: type[Any], cache: VectorCache) -> None:
    plain, caching = make(cls), make(cls, cache=cache)
    assert caching == plain
    assert hash(caching) == hash(plain)
    assert repr(caching) == repr(plain)
    assert caching.model_dump() == plain.model_dump()
    assert caching.model_dump_json() == plain.model_dump_json()
    assert caching.client.identity == plain.client.identity
    assert caching.client.cache_namespace == plain.client.cache_namespace
    if issubclass(cls, AIMLAPIEmbedding):
        assert caching.to_dict() == plain.to_dict()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_share_it(cls: type[Any], cache: VectorCache, copied: Any) -> None:
    original = make(cls, cache=cache)
    assert copied(original).cache is cache
    assert copied(original).client is original.client


def test_a_pickle_opens_the_same_file(cls: type[Any], cache: VectorCache) -> None:
    twin = pickle.loads(pickle.dumps(make(cls, cache=cache)))
    assert twin.cache is not cache
    assert twin.cache.path == cache.path
    twin.cache.close()


def test_a_client_pickles_with_it(cache: VectorCache) -> None:
    cache.keep([bytes(16)], [[1.0]])
    client = EmbeddingsClient(model=OPENAI, api_key=KEY, cache=cache)
    assert repr(pickle.loads(pickle.dumps(client))) == repr(client)


def test_a_cache_can_be_assigned_and_taken_away(
    mode: Mode, fake_server: FakeServer, cache: VectorCache, tmp_path: Path
) -> None:
    for package in ("langchain", "llama_index"):
        point = EntryPoint(package, mode, fake_server).make(OPENAI)
        before = len(fake_server.requests)
        point.embedder.cache = cache.path
        first = point.documents(TEXTS)
        assert point.documents(TEXTS) == first
        point.embedder.cache = None
        assert point.documents(TEXTS) == first
        sent = len(fake_server.requests) - before
        assert sent == (2 if package == "langchain" else 1), "the second finds the first's vectors"
        assert len(cache) == len(TEXTS)


def test_langchains_own_cache_works_beside_it(
    mode: Mode, fake_server: FakeServer, cache: VectorCache
) -> None:
    point = EntryPoint("langchain", mode, fake_server).make(OPENAI, cache=cache)
    inner = point.embedder
    for _ in range(2):  # an empty store each time
        classic = optional_imports.need("langchain_classic.embeddings", "stores")
        point.embedder = classic.CacheBackedEmbeddings.from_bytes_store(
            inner, InMemoryByteStore(), namespace=inner.cache_namespace, key_encoder="blake2b"
        )
        first = point.documents(TEXTS[:3])
        assert point.documents(TEXTS) == [*first, *point.documents(TEXTS[3:])]
    assert inner.client.usage.requests == 2
    assert inner.client.usage.cached == len(TEXTS)


def test_llama_indexs_own_cache_works_beside_it(
    mode: Mode, fake_server: FakeServer, cache: VectorCache
) -> None:
    stores = SimpleKVStore(), SimpleKVStore()
    point = EntryPoint("llama_index", mode, fake_server)
    found = []
    for store in stores:
        point.make(OPENAI, cache=cache, embeddings_cache=store)
        point.documents(TEXTS[:3])
        found.append(point.documents(TEXTS))
    assert found[0] == found[1]
    assert len(fake_server.requests) == 2
    assert point.client.usage.cached == len(TEXTS)
