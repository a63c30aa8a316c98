"""LangChain's `CacheBackedEmbeddings` with our `cache_namespace`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.ecosystem.corpus import BEES, DOCUMENT, HARBOUR, KEEPER, QUERY
from tests.support import optional_imports
from tests.support.entry_points import GOOGLE, OPENAI

classic = optional_imports.need("langchain_classic.embeddings", "stores")
storage = optional_imports.need("langchain_classic.storage", "stores")

Call: TypeAlias = Callable[..., Any]


def cached(embeddings: AIMLAPIEmbeddings, folder: Path, **options: Any) -> Any:
    return classic.CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        storage.LocalFileStore(folder),
        namespace=embeddings.cache_namespace,
        key_encoder="sha256",
        **options,
    )


def test_a_cached_text_is_not_sent_again(
    langchain: Call, call: Call, sent: Call, tmp_path: Path
) -> None:
    first = call(cached(langchain(), tmp_path), "embed_documents", [HARBOUR, BEES])
    assert sent() == [(DOCUMENT, [HARBOUR, BEES])]
    again = call(cached(langchain(), tmp_path), "embed_documents", [BEES, KEEPER, HARBOUR])
    assert sent() == [(DOCUMENT, [KEEPER])]
    assert [again[2], again[0]] == first


@pytest.mark.parametrize(
    "change",
    [{"model": OPENAI}, {"task_type": "CLUSTERING"}, {"dimensions": 256}, {"document_prefix": "p"}],
    ids=lambda change: next(iter(change)),
)
def test_caches_of_differing_options_are_kept_apart(
    langchain: Call, call: Call, sent: Call, tmp_path: Path, change: dict[str, Any]
) -> None:
    kinds = [langchain(), langchain(**change)]
    truth = [call(kind, "embed_documents", [BEES]) for kind in kinds]
    assert truth[0] != truth[1]
    for requests in (1, 0):  # of each object: the first round fills its cache, the second reads it
        for kind, vectors in zip(kinds, truth, strict=True):
            sent()
            assert call(cached(kind, tmp_path), "embed_documents", [BEES]) == vectors
            assert len(sent()) == requests


def test_a_separate_store_keeps_cached_queries_apart_from_documents(
    langchain: Call, call: Call, sent: Call, tmp_path: Path
) -> None:
    embeddings = langchain()
    truth = [embeddings.embed_documents([BEES])[0], embeddings.embed_query(BEES)]
    assert truth[0] != truth[1]
    sent()
    queries = storage.LocalFileStore(tmp_path / "queries")
    for requests in ([(DOCUMENT, [BEES]), (QUERY, [BEES])], []):
        both = cached(embeddings, tmp_path / "documents", query_embedding_cache=queries)
        (document,) = call(both, "embed_documents", [BEES])
        assert [document, call(both, "embed_query", BEES)] == truth
        assert sent() == requests


@pytest.mark.parametrize(("model", "harm"), [(GOOGLE, True), (OPENAI, False)])
def test_a_store_shared_by_both_roles_returns_one_role_for_the_other(
    langchain: Call, call: Call, sent: Call, tmp_path: Path, model: str, harm: bool
) -> None:
    embeddings = langchain(model=model)
    both = cached(embeddings, tmp_path, query_embedding_cache=True)
    (document,) = call(both, "embed_documents", [BEES])
    query = call(both, "embed_query", HARBOUR)
    sent()
    assert call(both, "embed_query", BEES) == document
    assert call(both, "embed_documents", [HARBOUR]) == [query]
    assert sent() == []
    assert (document != embeddings.embed_query(BEES)) is harm
