"""Tests that every vector store must pass; a subclass names the stores."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from aimlapi_embeddings import emulator
from tests.support.entry_points import KEY
from tests.support.vector_stores import LlamaIndexStore, Passage, VectorStore

HARBOUR = Passage("The harbour is dredged every spring.", "sea")
BEES = Passage("Bees dance to tell where the clover is.", "land")
KEEPER = Passage("The lighthouse keeper writes a log.", "sea")
ORCHARD = Passage("The orchard keeper has bees among the trees.", "land")
CORPUS = [HARBOUR, BEES, KEEPER]
TEXTS = [passage.text for passage in CORPUS]
QUESTION = "Where do bees dance?"


def through_pickle(embedder: Any) -> Any:
    return pickle.loads(pickle.dumps(embedder))


def texts(vector_store: VectorStore, question: str, **options: Any) -> list[str]:
    return [hit.text for hit in vector_store.ask(question, **options)]


class StoreLaws:
    """The fixture `vector_store` is an empty store in a new folder."""

    def test_hits_come_nearest_first_and_their_scores_are_the_cosines(
        self, vector_store: VectorStore
    ) -> None:
        vector_store.add(CORPUS)
        hits = vector_store.ask(BEES.text)
        client = vector_store.embedder.client
        vectors = dict(zip(TEXTS, client.embed(TEXTS).vectors, strict=True))
        (asked,) = client.embed([BEES.text], role="query").vectors
        cosines = {text: sum(map(operator.mul, asked, vectors[text])) for text in TEXTS}
        assert [hit.text for hit in hits] == sorted(TEXTS, key=cosines.__getitem__, reverse=True)
        assert dict(hits) == pytest.approx(cosines, abs=1e-5)
        assert hits[0].text == BEES.text

    def test_a_filter_excludes_passages_of_other_places(self, vector_store: VectorStore) -> None:
        vector_store.add(CORPUS)
        assert texts(vector_store, QUESTION, k=1) == [BEES.text]
        assert set(texts(vector_store, QUESTION, place="sea")) == {HARBOUR.text, KEEPER.text}
        assert texts(vector_store, "the harbour", place="land") == [BEES.text]

    def test_a_deleted_passage_is_not_found(self, vector_store: VectorStore) -> None:
        vector_store.add(CORPUS)
        vector_store.delete(BEES)
        assert set(texts(vector_store, QUESTION)) == {HARBOUR.text, KEEPER.text}
        vector_store.add([BEES])
        vector_store.delete(HARBOUR, KEEPER)
        assert texts(vector_store, QUESTION) == [BEES.text]

    @pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
    def test_a_reopened_store_finds_its_passages_and_takes_more(
        self, vector_store: VectorStore, copied: Callable[[Any], Any]
    ) -> None:
        vector_store.add(CORPUS)
        vector_store.delete(KEEPER)
        before = vector_store.ask(QUESTION)
        vector_store.reopen(copied(vector_store.embedder))
        assert vector_store.ask(QUESTION) == [
            (hit.text, pytest.approx(hit.cosine)) for hit in before
        ]
        assert len(before) == 2
        vector_store.add([ORCHARD])
        assert texts(vector_store, ORCHARD.text, k=1) == [ORCHARD.text]
        vector_store.reopen(copied(vector_store.embedder))
        assert texts(vector_store, ORCHARD.text, k=9)[0] == ORCHARD.text
        assert set(texts(vector_store, QUESTION, k=9)) == {HARBOUR.text, BEES.text, ORCHARD.text}

    def test_documents_and_questions_are_sent_once_each_with_its_role(
        self, vector_store: VectorStore, server: emulator.Emulator
    ) -> None:
        vector_store.add(CORPUS)
        vector_store.ask(QUESTION)
        vector_store.reopen(copy.deepcopy(vector_store.embedder))
        vector_store.ask(BEES.text, place="land")
        vector_store.delete(BEES)
        bodies = [json.loads(request.body) for request in server.requests]
        assert [(body["task_type"], body["input"]) for body in bodies] == [
            ("RETRIEVAL_DOCUMENT", TEXTS),
            ("RETRIEVAL_QUERY", [QUESTION]),
            ("RETRIEVAL_QUERY", [BEES.text]),
        ]

    def test_files_of_the_store_do_not_hold_the_key(self, vector_store: VectorStore) -> None:
        vector_store.add(CORPUS)
        vector_store.ask(QUESTION)
        vector_store.save()
        # Chroma's .bin files are left out: they end in uninitialised memory of this process.
        files = [path for path in vector_store.folder.rglob("*") if path.suffix != ".bin"]
        written = [path.read_bytes() for path in files if path.is_file()]
        assert any(HARBOUR.text.encode() in content for content in written)
        assert not any(KEY.encode() in content for content in written)


class LlamaIndexLaws(StoreLaws):
    """Tests that only LlamaIndex's stores can pass."""

    def test_deleting_a_document_deletes_all_its_nodes(self, vector_store: LlamaIndexStore) -> None:
        vector_store.add(CORPUS)
        vector_store.delete_document("sea")
        assert texts(vector_store, QUESTION) == [BEES.text]
