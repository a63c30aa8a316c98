"""LangChain's vector stores that keep their data on disk: in this process, or in a server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import chroma_server, optional_imports
from tests.support.store_laws import StoreLaws
from tests.support.vector_stores import (
    CHROMA,
    LangChainStore,
    chroma_client,
    of_distance,
    of_square,
)


class LangChainChroma(LangChainStore):
    cosine = staticmethod(of_distance)

    def open(self) -> None:
        chroma = optional_imports.need("langchain_chroma", "stores")
        self.client = self.connect()
        self.store = chroma.Chroma(
            client=self.client,
            embedding_function=self.embedder,
            collection_configuration=CHROMA,
        )

    def connect(self) -> Any:
        return chroma_client(self.folder)

    def release(self) -> None:
        self.client.close()


class LangChainChromaServer(chroma_server.OnServer, LangChainChroma):
    pass


class LangChainFAISS(LangChainStore):
    cosine = staticmethod(of_square)

    def open(self) -> None:
        faiss = optional_imports.need("faiss", "stores")
        stores = optional_imports.need("langchain_community.vectorstores", "stores")
        docstores = optional_imports.need("langchain_community.docstore.in_memory", "stores")
        if (self.folder / "index.faiss").exists():
            self.store = stores.FAISS.load_local(
                str(self.folder),
                self.embedder,
                allow_dangerous_deserialization=True,  # the file is a pickle that this test wrote
            )
        else:
            index = faiss.IndexFlatL2(self.embedder.dimensions)
            self.store = stores.FAISS(self.embedder, index, docstores.InMemoryDocstore(), {})

    def save(self) -> None:
        self.store.save_local(str(self.folder))


class LangChainQdrant(LangChainStore):
    """Qdrant's local mode. Its server is not tested: no package that pip can install brings it."""

    cosine = staticmethod(float)

    def open(self) -> None:
        qdrant = optional_imports.need("langchain_qdrant", "stores")
        self.models = optional_imports.need("qdrant_client.models", "stores")
        self.client = optional_imports.need("qdrant_client", "stores").QdrantClient(
            path=str(self.folder)
        )
        if not self.client.collection_exists("passages"):
            size, distance = self.embedder.dimensions, self.models.Distance.COSINE
            self.client.create_collection(
                "passages", self.models.VectorParams(size=size, distance=distance)
            )
        self.store = qdrant.QdrantVectorStore(
            self.client,
            "passages",
            self.embedder,
            validate_collection_config=False,  # validation would embed a text of its own each time
        )

    def only(self, place: str) -> dict[str, Any]:
        match = self.models.MatchValue(value=place)
        condition = self.models.FieldCondition(key="metadata.place", match=match)
        return {"filter": self.models.Filter(must=[condition])}

    def release(self) -> None:
        self.client.close()


class LangChainLanceDB(LangChainStore):
    cosine = staticmethod(of_square)

    def open(self) -> None:
        optional_imports.need("lancedb", "stores")
        stores = optional_imports.need("langchain_community.vectorstores", "stores")
        self.store = stores.LanceDB(
            uri=str(self.folder),
            embedding=self.embedder,
            mode="append",  # the default replaces what the table holds
        )

    def only(self, place: str) -> dict[str, Any]:
        return {"filter": {"metadata.place": place}, "prefilter": True}


# The package warns at import that it is no longer maintained.
community = pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset")


@pytest.mark.parametrize(
    "kind",
    [
        LangChainChroma,
        LangChainChromaServer,
        pytest.param(LangChainFAISS, marks=community),
        LangChainQdrant,
        pytest.param(LangChainLanceDB, marks=community),
    ],
)
class TestLangChainStores(StoreLaws):
    pass
