"""What the step has made goes into vector stores without being embedded again.

Each store is filled through its own bulk interface, from Arrow. Then LangChain's store and
LlamaIndex's store read the same data: one search each, which embeds the question and nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from llama_index.core import VectorStoreIndex

from aimlapi_embeddings import emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support import postgres
from tests.support.batches import inputs, step
from tests.support.entry_points import GOOGLE
from tests.support.optional_imports import need

SIZE = 64
SEA = "The harbour is dredged every spring."
BEES = "Bees dance to tell where the clover is."
LOG = "The lighthouse keeper writes a log."
QUESTION = "Where do bees dance?"


@pytest.fixture
def result(server: emulator.Emulator, tmp_path: Path) -> pa.Table:
    """Three texts with their vectors, as they are read back from Parquet."""
    ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, text)) for text in (SEA, BEES, LOG)]
    texts = pa.table({"id": ids, "text": [SEA, BEES, LOG]})
    with step(model=GOOGLE, dimensions=SIZE) as embed:
        pq.write_table(embed(texts), tmp_path / "result.parquet")
    server.requests.clear()
    return pq.read_table(tmp_path / "result.parquet")


def check(
    server: emulator.Emulator, open_langchain: Callable[[Any], Any], llama_index: Any
) -> None:
    """Search once with each framework; only the two questions are sent."""
    embeddings = AIMLAPIEmbeddings(model=GOOGLE, dimensions=SIZE)
    hits = open_langchain(embeddings).similarity_search(QUESTION, k=1)
    assert [hit.page_content for hit in hits] == [BEES]
    model = AIMLAPIEmbedding(model_name=GOOGLE, dimensions=SIZE)
    index = VectorStoreIndex.from_vector_store(llama_index, embed_model=model)
    nodes = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert [node.get_content() for node in nodes] == [BEES]
    assert inputs(server) == [[QUESTION], [QUESTION]]
    embeddings.client.close()
    model.client.close()


@pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset")
@pytest.mark.filterwarnings("ignore:table_names.. is deprecated:DeprecationWarning")
def test_lancedb(result: pa.Table, server: emulator.Emulator, tmp_path: Path) -> None:
    lancedb = need("lancedb", "stores")
    langchain = need("langchain_community.vectorstores", "stores")
    llama_index = need("llama_index.vector_stores.lancedb", "stores")
    metadata = pa.array([{"source": "a file"}] * len(result))
    table = result.append_column("metadata", metadata).append_column("doc_id", result["id"])
    connection = lancedb.connect(tmp_path / "store")
    connection.create_table("passages", table)
    check(
        server,
        lambda embeddings: langchain.LanceDB(
            connection=connection, table_name="passages", embedding=embeddings, mode="append"
        ),
        llama_index.LanceDBVectorStore(uri=str(tmp_path / "store"), table_name="passages"),
    )


def test_qdrant(result: pa.Table, server: emulator.Emulator) -> None:
    qdrant = need("qdrant_client", "stores")
    langchain = need("langchain_qdrant", "stores")
    llama_index = need("llama_index.vector_stores.qdrant", "stores")
    client = qdrant.QdrantClient(":memory:")
    cosine = qdrant.models.VectorParams(size=SIZE, distance=qdrant.models.Distance.COSINE)
    client.create_collection("passages", cosine)
    client.upload_collection(
        "passages",
        ids=result["id"].to_pylist(),
        vectors=matrix(result),
        # The names under which LangChain and LlamaIndex look for the text.
        payload=[{"page_content": text, "text": text} for text in result["text"].to_pylist()],
    )
    check(
        server,
        lambda embeddings: langchain.QdrantVectorStore(
            client, "passages", embeddings, validate_collection_config=False
        ),
        llama_index.QdrantVectorStore("passages", client=client),
    )
    client.close()


def matrix(result: pa.Table) -> np.ndarray:
    """View the vectors as n x d numbers."""
    column = result["vector"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def test_pgvector(result: pa.Table, server: emulator.Emulator) -> None:
    psycopg = need("psycopg", "stores")
    pgvector = need("pgvector.psycopg", "stores")
    langchain = need("langchain_postgres", "stores")
    llama_index = need("llama_index.vector_stores.postgres", "stores")
    with postgres.serving() as folder:
        engine = langchain.PGEngine.from_connection_string(postgres.address("psycopg", folder))
        engine.init_vectorstore_table("passages", SIZE)
        with psycopg.connect(host=str(folder), user="tester", dbname="postgres") as connection:
            pgvector.register_vector(connection)
            columns = "langchain_id, content, embedding"
            copy = f"COPY passages ({columns}) FROM STDIN WITH (FORMAT BINARY)"
            with connection.cursor().copy(copy) as rows:
                rows.set_types(["uuid", "text", "vector"])
                ids, texts = result["id"].to_pylist(), result["text"].to_pylist()
                for id_, text, vector in zip(ids, texts, matrix(result), strict=True):
                    rows.write_row((uuid.UUID(id_), text, vector))
            # LlamaIndex's names for the same rows; nothing is copied.
            connection.execute(
                "CREATE VIEW data_passages AS SELECT langchain_id AS id, content AS text, "
                "'{}'::json AS metadata_, langchain_id::text AS node_id, embedding FROM passages"
            )
        store = llama_index.PGVectorStore(
            connection_string=postgres.address("psycopg2", folder),
            async_connection_string=postgres.address("asyncpg", folder),
            table_name="passages",
            embed_dim=SIZE,
            perform_setup=False,
        )
        check(
            server,
            lambda embeddings: langchain.PGVectorStore.create_sync(engine, embeddings, "passages"),
            store,
        )
        close(engine, store)


def close(engine: Any, store: Any) -> None:
    import asyncio

    async def both() -> None:
        await engine.close()
        await store.close()

    asyncio.run(both())
