"""LangChain's splitters, retrievers, filters, evaluators and indexing API with our class."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from langchain_core import indexing
from langchain_core.documents import Document
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.vectorstores import InMemoryVectorStore

from tests.ecosystem.corpus import (
    BAKER,
    BEES,
    BEES_AGAIN,
    DOCUMENT,
    HARBOUR,
    KEEPER,
    QUERY,
    QUESTION,
    SIMILARITY,
    SUBJECTS,
)
from tests.support import optional_imports
from tests.support.entry_points import Mode

with warnings.catch_warnings():  # two of these warn at import that they have no further releases
    warnings.simplefilter("ignore", DeprecationWarning)
    bm25 = optional_imports.need("langchain_community.retrievers.bm25", "stores")
    chunking = optional_imports.need("langchain_experimental.text_splitter", "stores")
    compressors = optional_imports.need(
        "langchain_classic.retrievers.document_compressors", "stores"
    )
    evaluation = optional_imports.need("langchain_classic.evaluation", "stores")
    indexes = optional_imports.need("langchain_classic.indexes", "stores")
    pool = optional_imports.need("sqlalchemy.pool", "stores")
    retrievers = optional_imports.need("langchain_classic.retrievers", "stores")
    splitters = optional_imports.need("langchain_text_splitters", "stores")
    storage = optional_imports.need("langchain_classic.storage", "stores")
    transformers = optional_imports.need("langchain_community.document_transformers", "stores")
optional_imports.need("rank_bm25", "stores")

Call: TypeAlias = Callable[..., Any]


def documents(*texts: str) -> list[Document]:
    return [Document(text, metadata={"source": text.split()[1]}) for text in texts]


def texts(found: list[Document]) -> list[str]:
    return [document.page_content for document in found]


# Splitters, retrievers, filters, evaluators


def test_a_semantic_chunker_splits_where_the_topic_changes(
    langchain: Call, call: Call, sent: Call
) -> None:
    chunker = chunking.SemanticChunker(langchain(task_type=SIMILARITY), buffer_size=0)
    found = call(chunker, "transform_documents", [Document(" ".join(SUBJECTS))])
    assert texts(found) == SUBJECTS
    ((role, sentences),) = sent()
    assert (role, len(sentences)) == (SIMILARITY, 7)


def test_a_parent_document_retriever_returns_the_parent_of_the_nearest_chunk(
    langchain: Call, call: Call, sent: Call
) -> None:
    parents = [f"{KEEPER} {HARBOUR}", f"{BAKER} {BEES}"]
    retriever = retrievers.ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(langchain()),
        docstore=storage.InMemoryStore(),
        child_splitter=splitters.RecursiveCharacterTextSplitter(
            chunk_size=40, chunk_overlap=0, separators=[r"(?<=\.) "], is_separator_regex=True
        ),
        search_kwargs={"k": 1},
    )
    call(retriever, "add_documents", documents(*parents))
    assert texts(call(retriever, "invoke", QUESTION)) == parents[1:]
    (_, children), query = sent()
    assert [child.strip() for child in children] == [KEEPER, HARBOUR, BAKER, BEES]
    assert query == (QUERY, [QUESTION])


def test_a_multi_vector_retriever_returns_the_document_of_its_nearest_vectors(
    langchain: Call, call: Call, sent: Call
) -> None:
    retriever = retrievers.MultiVectorRetriever(
        vectorstore=InMemoryVectorStore(langchain()),
        docstore=storage.InMemoryStore(),
        search_kwargs={"k": 2},
    )
    reports = {"1": Document("Report 1."), "2": Document("Report 2.")}
    summaries = {HARBOUR: "1", KEEPER: "1", BEES: "2", BEES_AGAIN: "2"}
    call(retriever.docstore, "mset", list(reports.items()))
    vectors = [Document(text, metadata={"doc_id": report}) for text, report in summaries.items()]
    call(retriever.vectorstore, "add_documents", vectors)
    assert call(retriever, "invoke", QUESTION) == [reports["2"]]
    assert sent() == [(DOCUMENT, list(summaries)), (QUERY, [QUESTION])]


@pytest.mark.parametrize(
    ("weights", "fused"), [((0.7, 0.3), [BAKER, HARBOUR]), ((0.3, 0.7), [HARBOUR, BAKER])]
)
def test_an_ensemble_weighs_matching_words_against_near_vectors(
    langchain: Call, call: Call, sent: Call, weights: tuple[float, float], fused: list[str]
) -> None:
    corpus = documents(HARBOUR, BEES, KEEPER, BAKER)
    by_words = bm25.BM25Retriever.from_documents(
        corpus, k=1, preprocess_func=lambda text: re.findall(r"\w+", text.lower())
    )
    store = InMemoryVectorStore.from_documents(corpus, langchain())
    by_vectors = store.as_retriever(search_kwargs={"k": 1})
    sent()
    ensemble = retrievers.EnsembleRetriever(retrievers=[by_words, by_vectors], weights=weights)
    question = "Who dredges harbours at dawn?"
    assert texts(call(ensemble, "invoke", question)) == fused
    assert sent() == [(QUERY, [question])]


def test_marginal_relevance_skips_a_near_duplicate(langchain: Call, call: Call) -> None:
    store = InMemoryVectorStore.from_texts([BEES, BEES_AGAIN, HARBOUR], langchain())
    assert HARBOUR not in texts(call(store, "similarity_search", QUESTION, k=2))
    search = {"k": 2, "lambda_mult": 0.3}
    found = texts(call(store, "max_marginal_relevance_search", QUESTION, **search))
    assert found[0] in (BEES, BEES_AGAIN)
    assert found[1:] == [HARBOUR]


def test_an_example_selector_returns_the_most_similar_example(
    langchain: Call, call: Call, sent: Call
) -> None:
    examples = [{"input": text, "output": str(i)} for i, text in enumerate((HARBOUR, BEES))]
    arguments = (examples, langchain(), InMemoryVectorStore, 1, ["input"])
    selector = call(SemanticSimilarityExampleSelector, "from_examples", *arguments)
    assert call(selector, "select_examples", {"input": QUESTION}) == examples[1:]
    assert sent() == [(DOCUMENT, [HARBOUR, BEES]), (QUERY, [QUESTION])]


def test_compressors_drop_duplicates_and_unrelated_documents(
    langchain: Call, call: Call, sent: Call
) -> None:
    embeddings = langchain()
    both = compressors.DocumentCompressorPipeline(
        transformers=[
            transformers.EmbeddingsRedundantFilter(embeddings=embeddings),
            compressors.EmbeddingsFilter(embeddings=embeddings, similarity_threshold=0.5),
        ]
    )
    corpus = [BEES, BEES_AGAIN, HARBOUR]
    kept = call(both, "compress_documents", documents(*corpus), QUESTION)
    assert len(kept) == 1
    assert set(texts(kept)) < {BEES, BEES_AGAIN}
    assert sent() == [(DOCUMENT, corpus), (QUERY, [QUESTION])]


@pytest.mark.parametrize(
    ("evaluator", "evaluate", "other"),
    [
        ("embedding_distance", "evaluate_strings", "reference"),
        ("pairwise_embedding_distance", "evaluate_string_pairs", "prediction_b"),
    ],
)
def test_a_distance_evaluator_scores_similar_texts_lower_than_unrelated_ones(
    langchain: Call, call: Call, sent: Call, evaluator: str, evaluate: str, other: str
) -> None:
    judge = evaluation.load_evaluator(evaluator, embeddings=langchain(task_type=SIMILARITY))
    same, near, far = (
        call(judge, evaluate, prediction=BEES, **{other: text})["score"]
        for text in (BEES, BEES_AGAIN, HARBOUR)
    )
    assert same == pytest.approx(0, abs=1e-6)
    assert same < near < 0.1 < far
    assert sent() == [
        (SIMILARITY, compared) for compared in ([BEES], [BEES, BEES_AGAIN], [BEES, HARBOUR])
    ]


# The indexing API


@pytest.fixture(params=["in memory", "SQLite"])
def records(
    request: pytest.FixtureRequest, mode: Mode, call: Call, tmp_path: Path
) -> indexing.RecordManager:
    if request.param == "in memory":
        manager: Any = indexing.InMemoryRecordManager("corpus")
    else:
        driver = "sqlite" if mode == "sync" else "sqlite+aiosqlite"
        manager = indexes.SQLRecordManager(
            "corpus",
            db_url=f"{driver}:///{tmp_path}/records.db",
            engine_kwargs={"poolclass": pool.NullPool},  # each event loop opens its own connections
            async_mode=mode == "async",
        )
    call(manager, "create_schema")
    return manager


CHANGED = "The harbour is dredged every autumn."


@pytest.mark.parametrize(
    ("cleanup", "corpus", "embedded", "left"),
    [
        (None, [HARBOUR, BEES], [], {HARBOUR, BEES}),
        (None, [CHANGED, BEES], [CHANGED], {HARBOUR, CHANGED, BEES}),
        ("incremental", [CHANGED, BEES], [CHANGED], {CHANGED, BEES}),
        ("incremental", [CHANGED], [CHANGED], {CHANGED, BEES}),
        ("full", [HARBOUR, BEES], [], {HARBOUR, BEES}),
        ("full", [CHANGED], [CHANGED], {CHANGED}),
        ("full", [BEES], [], {BEES}),
    ],
)
def test_indexing_again_embeds_only_new_documents_and_deletes_as_cleanup_says(
    langchain: Call,
    call: Call,
    sent: Call,
    records: indexing.RecordManager,
    cleanup: str | None,
    corpus: list[str],
    embedded: list[str],
    left: set[str],
) -> None:
    store = InMemoryVectorStore(langchain())
    options = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}
    call(indexing, "index", documents(HARBOUR, BEES), records, store, **options)
    assert sent() == [(DOCUMENT, [HARBOUR, BEES])]
    before = call(records, "get_time")
    while call(records, "get_time") == before:
        pass  # SQLite's clock counts milliseconds, and cleanup deletes only older records
    call(indexing, "index", documents(*corpus), records, store, **options)
    assert sent() == ([(DOCUMENT, embedded)] if embedded else [])
    assert {entry["text"] for entry in store.store.values()} == left
