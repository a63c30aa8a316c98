"""One interface to the vector stores of both frameworks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from langchain_core.documents import Document
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from tests.support import optional_imports
from tests.support.entry_points import Mode, Package


class Passage(NamedTuple):
    """A stored text. Its id is a UUID, which all stores accept."""

    text: str
    place: str

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.text))


class Hit(NamedTuple):
    """A text that was found, and its score as a cosine."""

    text: str
    cosine: float


def of_distance(score: float) -> float:
    """Convert a cosine distance into a cosine."""
    return 1 - score


def of_square(score: float) -> float:
    """Convert the squared distance between two unit vectors into a cosine."""
    return 1 - score / 2


class VectorStore:
    """A vector store in a folder, used in one mode from one event loop."""

    framework: ClassVar[Package]
    cosine: ClassVar[Callable[[float], float]]

    def __init__(self, folder: Path, mode: Mode, embedder: Any) -> None:
        self.folder, self.mode = folder, mode
        self._use(embedder)

    def reopen(self, embedder: Any) -> None:
        """Close the store, and open its folder again with a new embedder."""
        self.close()
        self._use(embedder)

    def _use(self, embedder: Any) -> None:
        self.embedder, self._runner = embedder, asyncio.Runner()
        self.open()

    def open(self) -> None:
        """Create the store, or open the one in the folder."""
        raise NotImplementedError

    def add(self, passages: Iterable[Passage]) -> None:
        """Embed and store."""
        raise NotImplementedError

    def ask(self, question: str, k: int = 3, place: str | None = None) -> list[Hit]:
        """Return the k nearest passages to a question, of one place or of all."""
        raise NotImplementedError

    def delete(self, *passages: Passage) -> None:
        """Delete by id."""
        raise NotImplementedError

    def save(self) -> None:
        """Write to the folder, where the store does not do so by itself."""

    def release(self) -> None:
        """Release the folder, where the store locks it."""

    def close(self) -> None:
        """Save, and close the store and its clients."""
        self.save()
        self.release()
        self.embedder.client.close()
        self._runner.close()

    def call(self, owner: Any, method: str, *args: Any, **options: Any) -> Any:
        """Call a method by the name of its sync form, in the mode of this object."""
        if self.mode == "sync":
            return getattr(owner, method)(*args, **options)
        return self.wait(getattr(owner, f"a{method}")(*args, **options))

    def wait(self, answer: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the store's event loop."""
        return self._runner.run(answer)


class LangChainStore(VectorStore):
    """A LangChain store; `open` sets `store`."""

    framework = "langchain"
    store: Any

    def add(self, passages: Iterable[Passage]) -> None:
        documents = [Document(p.text, id=p.id, metadata={"place": p.place}) for p in passages]
        self.call(self.store, "add_documents", documents)

    def ask(self, question: str, k: int = 3, place: str | None = None) -> list[Hit]:
        narrowed = {} if place is None else self.only(place)
        hits = self.call(self.store, "similarity_search_with_score", question, k=k, **narrowed)
        return [Hit(document.page_content, self.cosine(score)) for document, score in hits]

    def delete(self, *passages: Passage) -> None:
        self.call(self.store, "delete", [passage.id for passage in passages])

    def only(self, place: str) -> dict[str, Any]:
        """Return the search argument that limits a search to one place."""
        return {"filter": {"place": place}}


class LlamaIndexStore(VectorStore):
    """A LlamaIndex index over a store; `open` sets `index`."""

    framework = "llama_index"
    index: Any

    def add(self, passages: Iterable[Passage]) -> None:
        nodes = [
            TextNode(
                text=passage.text,
                id_=passage.id,
                metadata={"place": passage.place},
                excluded_embed_metadata_keys=["place"],
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.place)},
            )
            for passage in passages
        ]
        self.call(self.index, "insert_nodes", nodes)

    def ask(self, question: str, k: int = 3, place: str | None = None) -> list[Hit]:
        only = place and MetadataFilters(filters=[MetadataFilter(key="place", value=place)])
        retriever = self.index.as_retriever(similarity_top_k=k, filters=only)
        hits = self.call(retriever, "retrieve", question)
        return [Hit(hit.node.get_content(), self.cosine(hit.get_score())) for hit in hits]

    def delete(self, *passages: Passage) -> None:
        ids = [passage.id for passage in passages]
        self.call(self.index, "delete_nodes", ids, delete_from_docstore=True)

    def delete_document(self, place: str) -> None:
        """Delete all nodes of a document; all passages of one place belong to one."""
        self.call(self.index, "delete_ref_doc", place, delete_from_docstore=True)

    def over(self, store: Any) -> VectorStoreIndex:
        """Make the index that embeds into this store."""
        return VectorStoreIndex.from_vector_store(store, embed_model=self.embedder)


CHROMA: dict[str, Any] = {"hnsw": {"space": "cosine"}}
"""Configuration of a collection that measures by cosine; the default is the squared distance."""


def chroma_client(folder: Path) -> Any:
    """Open Chroma on a folder, with its telemetry off."""
    chromadb = optional_imports.need("chromadb", "stores")
    settings = chromadb.Settings(anonymized_telemetry=False)
    return chromadb.PersistentClient(str(folder), settings=settings)
