"""From chunks to a filled vector store: the way that each framework's documentation shows.

`STORES` maps "FRAMEWORK STORE" to a function that fills the store from texts with an embedding
object. Each store is local, needs no service, and is used with its own defaults.
"""

from __future__ import annotations

import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from memory import Peak
from works import Work

# 150 words, as splitters make them by default; the server reads the number at the end.
_WORDS = "what is kept in a store is cut into chunks of some hundred words each " * 11
STORES: dict[str, Callable[[Any, Sequence[str], str], Any]] = {}


def store(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(fill: Callable[..., Any]) -> Callable[..., Any]:
        STORES[name] = fill
        return fill

    return register


def _documents(texts: Sequence[str]) -> list[Any]:
    from langchain_core.documents import Document

    return [Document(text) for text in texts]


@store("LangChain FAISS")
def langchain_faiss(embeddings: Any, texts: Sequence[str], folder: str) -> Any:
    from langchain_community.vectorstores import FAISS

    return FAISS.from_documents(_documents(texts), embeddings)


@store("LangChain LanceDB")
def langchain_lancedb(embeddings: Any, texts: Sequence[str], folder: str) -> Any:
    import lancedb
    from langchain_community.vectorstores import LanceDB

    connection = lancedb.connect(folder)
    return LanceDB.from_documents(_documents(texts), embeddings, connection=connection)


@store("LangChain Chroma")
def langchain_chroma(embeddings: Any, texts: Sequence[str], folder: str) -> Any:
    from langchain_chroma import Chroma

    return Chroma.from_documents(_documents(texts), embeddings, client=_chroma())


@store("LangChain Qdrant")
def langchain_qdrant(embeddings: Any, texts: Sequence[str], folder: str) -> Any:
    from langchain_qdrant import QdrantVectorStore

    return QdrantVectorStore.from_documents(
        _documents(texts), embeddings, location=":memory:", collection_name="chunks"
    )


def _index(embed_model: Any, texts: Sequence[str], vector_store: Any = None) -> Any:
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.core.schema import TextNode

    nodes = [TextNode(text=text) for text in texts]
    context = StorageContext.from_defaults(vector_store=vector_store) if vector_store else None
    return VectorStoreIndex(nodes, storage_context=context, embed_model=embed_model)


@store("LlamaIndex simple")
def llama_index_simple(embed_model: Any, texts: Sequence[str], folder: str) -> Any:
    return _index(embed_model, texts)


@store("LlamaIndex FAISS")
def llama_index_faiss(embed_model: Any, texts: Sequence[str], folder: str) -> Any:
    import faiss
    from llama_index.vector_stores.faiss import FaissVectorStore

    return _index(embed_model, texts, FaissVectorStore(faiss_index=faiss.IndexFlatL2(1536)))


@store("LlamaIndex LanceDB")
def llama_index_lancedb(embed_model: Any, texts: Sequence[str], folder: str) -> Any:
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    return _index(embed_model, texts, LanceDBVectorStore(uri=folder))


@store("LlamaIndex Chroma")
def llama_index_chroma(embed_model: Any, texts: Sequence[str], folder: str) -> Any:
    from llama_index.vector_stores.chroma import ChromaVectorStore

    collection = _chroma().get_or_create_collection("chunks", embedding_function=None)
    return _index(embed_model, texts, ChromaVectorStore(chroma_collection=collection))


@store("LlamaIndex Qdrant")
def llama_index_qdrant(embed_model: Any, texts: Sequence[str], folder: str) -> Any:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return _index(embed_model, texts, QdrantVectorStore("chunks", QdrantClient(":memory:")))


def _chroma() -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.EphemeralClient(Settings(anonymized_telemetry=False))


async def fill(embedder: Any, work: Work) -> dict[str, Any]:
    """Fill a store, after another of a single chunk has loaded all that is loaded once."""
    texts = [f"{_WORDS}{i}" for i in range(work.texts)]
    prepare = getattr(embedder, "prepare", None)
    if prepare:
        prepare(texts, work.dimensions)
    warnings.simplefilter("ignore")  # of the stores' integrations, on each other's old names
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as all_of_them:
        STORES[work.store](embedder.object, texts[:1], one)
        gc.collect()
        peak, cpu, wall = Peak(), time.process_time(), time.perf_counter()
        filled = STORES[work.store](embedder.object, texts, all_of_them)
        wall, cpu, mb = time.perf_counter() - wall, time.process_time() - cpu, peak.megabytes()
        del filled
    return {"wall": wall, "cpu": cpu, "mb": mb, "warmed": 0 if prepare else 1}
