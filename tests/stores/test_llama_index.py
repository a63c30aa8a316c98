"""LlamaIndex's vector stores that keep their data on disk: in this process, or in a server."""

from __future__ import annotations

import math
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage

from tests.support import chroma_server, optional_imports
from tests.support.store_laws import BEES, CORPUS, QUESTION, LlamaIndexLaws
from tests.support.vector_stores import (
    CHROMA,
    LlamaIndexStore,
    Passage,
    chroma_client,
    of_square,
)


class LlamaIndexChroma(LlamaIndexStore):
    cosine = staticmethod(lambda score: 1 + math.log(score))

    def open(self) -> None:
        stores = optional_imports.need("llama_index.vector_stores.chroma", "stores")
        self.client = self.connect()
        collection = self.client.get_or_create_collection(
            "passages", configuration=CHROMA, embedding_function=None
        )
        self.index = self.over(stores.ChromaVectorStore(chroma_collection=collection))

    def connect(self) -> Any:
        return chroma_client(self.folder)

    def release(self) -> None:
        self.client.close()


class LlamaIndexChromaServer(chroma_server.OnServer, LlamaIndexChroma):
    pass


class LlamaIndexQdrant(LlamaIndexStore):
    cosine = staticmethod(float)

    def open(self) -> None:
        stores = optional_imports.need("llama_index.vector_stores.qdrant", "stores")
        qdrant = optional_imports.need("qdrant_client", "stores")
        path = str(self.folder)  # only one client may open it at a time
        if self.mode == "sync":
            self.clients = {"client": qdrant.QdrantClient(path=path)}
        else:
            self.clients = {"aclient": qdrant.AsyncQdrantClient(path=path)}
        self.index = self.over(stores.QdrantVectorStore("passages", **self.clients))

    def release(self) -> None:
        if self.mode == "sync":
            self.clients["client"].close()
        else:
            self.wait(self.clients["aclient"].close())


class LlamaIndexLanceDB(LlamaIndexStore):
    cosine = staticmethod(lambda score: of_square(-math.log(score)))

    def open(self) -> None:
        stores = optional_imports.need("llama_index.vector_stores.lancedb", "stores")
        self.store = stores.LanceDBVectorStore(uri=str(self.folder))
        self.index = self.over(self.store)

    def delete(self, *passages: Passage) -> None:
        # The integration quotes the ids to delete; lancedb 0.38 and later take them for columns.
        ids = ", ".join(f"'{passage.id}'" for passage in passages)
        self.store.table.delete(f"id IN ({ids})")

    def delete_document(self, place: str) -> None:
        self.store.table.delete(f"doc_id = '{place}'")


class LlamaIndexSimple(LlamaIndexStore):
    cosine = staticmethod(float)

    def open(self) -> None:
        if (self.folder / "docstore.json").exists():
            context = StorageContext.from_defaults(persist_dir=str(self.folder))
            self.index = load_index_from_storage(context, embed_model=self.embedder)
        else:
            self.index = VectorStoreIndex([], embed_model=self.embedder)

    def save(self) -> None:
        self.index.storage_context.persist(str(self.folder))


# The integrations call functions that the newest versions of their stores deprecate.
of_the_integration = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect in the local Qdrant:UserWarning",
    "ignore:table_names\\(\\) is deprecated:DeprecationWarning",
)


@pytest.mark.parametrize(
    "kind",
    [
        LlamaIndexChroma,
        LlamaIndexChromaServer,
        pytest.param(LlamaIndexQdrant, marks=of_the_integration),
        pytest.param(LlamaIndexLanceDB, marks=of_the_integration),
        LlamaIndexSimple,
    ],
)
class TestLlamaIndexStores(LlamaIndexLaws):
    pass


@of_the_integration
@pytest.mark.xfail(
    raises=(ValueError, TypeError), strict=False, reason="see LlamaIndexLanceDB.delete"
)
@pytest.mark.parametrize("kind", [LlamaIndexLanceDB])
def test_lancedb_deletes_through_its_integration(vector_store: LlamaIndexLanceDB) -> None:
    vector_store.add(CORPUS)
    LlamaIndexStore.delete(vector_store, BEES)
    assert BEES.text not in dict(vector_store.ask(QUESTION))
