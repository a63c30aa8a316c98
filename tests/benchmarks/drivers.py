"""Who embeds: the floor, ourselves through each surface, and rivals where they are installed.

A driver is a function `make(base_url, concurrency, batch)` that returns something with
`documents(texts)`, `adocuments(texts)` and `query(text)`. What it needs is imported inside, so that
rivals can live in environments of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

MODEL = "text-embedding-3-small"
KEY = "sk-benchmark"
DRIVERS: dict[str, Callable[..., Any]] = {}


def driver(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        DRIVERS[name] = make
        return make

    return register


def cut(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[i : i + size] for i in range(0, len(texts), size)]


class Floor:
    """What a skilled hand writes for one job: httpx, orjson, a2b_base64, NumPy; nothing checked."""

    def __init__(self, base_url: str, concurrency: int, batch: int, waves: bool = False) -> None:
        import httpx

        limits = httpx.Limits(max_connections=concurrency)
        self.options: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "limits": limits,
            "timeout": 60.0,
        }
        self.httpx, self.client = httpx, httpx.Client(**self.options)
        self.concurrency, self.batch, self.waves = concurrency, batch, waves

    def body(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"json": {"model": MODEL, "input": texts, "encoding_format": "base64"}}

    def decode(self, content: bytes) -> list[list[float]]:
        from binascii import a2b_base64

        import numpy as np
        import orjson

        return [
            embedding
            if isinstance(embedding := item["embedding"], list)
            else np.frombuffer(a2b_base64(embedding), dtype="<f4").tolist()
            for item in orjson.loads(content)["data"]
        ]

    def batches(self, texts: Sequence[str]) -> list[Sequence[str]]:
        return cut(texts, -(-len(texts) // self.concurrency) if self.waves else self.batch)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        reply = self.client.post("/embeddings", **self.body(texts))
        reply.raise_for_status()
        return self.decode(reply.content)

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        with ThreadPoolExecutor(self.concurrency) as pool:
            return [row for rows in pool.map(self.embed, self.batches(texts)) for row in rows]

    async def adocuments(self, texts: Sequence[str]) -> list[list[float]]:
        gate = asyncio.Semaphore(self.concurrency)
        async with self.httpx.AsyncClient(**self.options) as client:

            async def embed(batch: Sequence[str]) -> list[list[float]]:
                async with gate:
                    reply = await client.post("/embeddings", **self.body(batch))
                reply.raise_for_status()
                return self.decode(reply.content)

            found = await asyncio.gather(*map(embed, self.batches(texts)))
        return [row for rows in found for row in rows]

    def query(self, text: str) -> list[float]:
        return self.embed([text])[0]


@driver("floor")
def floor(base_url: str, concurrency: int, batch: int) -> Any:
    return Floor(base_url, concurrency, batch)


@driver("floor-wave")
def floor_wave(base_url: str, concurrency: int, batch: int) -> Any:
    return Floor(base_url, concurrency, batch, waves=True)


@driver("floor-8")
def floor_8(base_url: str, concurrency: int, batch: int) -> Any:
    return Floor(base_url, 8, batch)


@driver("floor in LlamaIndex")
def floor_in_llama_index(base_url: str, concurrency: int, batch: int) -> Any:
    """The floor as a `BaseEmbedding`: what the framework's events and spans cost anybody."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    floor = Floor(base_url, concurrency, batch)

    class FloorEmbedding(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return floor.query(query)

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return (await floor.adocuments([query]))[0]

        def _get_text_embedding(self, text: str) -> list[float]:
            return floor.query(text)

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return floor.documents(texts)

        async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return await floor.adocuments(texts)

    return _of_llama_index(FloorEmbedding(embed_batch_size=2048))


@driver("ours, LangChain")
def langchain(base_url: str, concurrency: int, batch: int | None) -> Any:
    from langchain_aimlapi_embeddings import AIMLAPIEmbeddings

    ours = AIMLAPIEmbeddings(
        model=MODEL, api_key=KEY, base_url=base_url, max_concurrency=concurrency
    )
    return SimpleNamespace(
        documents=ours.embed_documents, adocuments=ours.aembed_documents, query=ours.embed_query
    )


@driver("ours, LlamaIndex")
def llama_index(base_url: str, concurrency: int, batch: int | None) -> Any:
    from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

    return _of_llama_index(
        AIMLAPIEmbedding(
            model_name=MODEL, api_key=KEY, api_base=base_url, max_concurrency=concurrency
        )
    )


@driver("ours, array()")
def array(base_url: str, concurrency: int, batch: int | None) -> Any:
    from aimlapi_embeddings import EmbeddingsClient

    ours = EmbeddingsClient(
        model=MODEL, api_key=KEY, base_url=base_url, max_concurrency=concurrency, batch_size=batch
    )

    async def adocuments(texts: Sequence[str]) -> Any:
        return (await ours.aembed(texts)).array()

    return SimpleNamespace(
        documents=lambda texts: ours.embed(texts).array(), adocuments=adocuments, query=None
    )


@driver("langchain-openai")
def langchain_openai(base_url: str, concurrency: int, batch: int | None) -> Any:
    from langchain_openai import OpenAIEmbeddings

    theirs = OpenAIEmbeddings(
        model=MODEL, api_key=KEY, base_url=base_url, check_embedding_ctx_length=False
    )
    return SimpleNamespace(
        documents=theirs.embed_documents,
        adocuments=theirs.aembed_documents,
        query=theirs.embed_query,
    )


@driver("llama-index-embeddings-openai")
def llama_index_openai(base_url: str, concurrency: int, batch: int | None) -> Any:
    from llama_index.embeddings.openai import OpenAIEmbedding

    return _of_llama_index(
        OpenAIEmbedding(model=MODEL, api_key=KEY, api_base=base_url, num_workers=concurrency)
    )


@driver("langchain-aimlapi")
def langchain_aimlapi(base_url: str, concurrency: int, batch: int | None) -> Any:
    from langchain_aimlapi import AimlapiEmbeddings

    theirs = AimlapiEmbeddings(model=MODEL, api_key=KEY, base_url=base_url)
    return SimpleNamespace(
        documents=theirs.embed_documents,
        adocuments=theirs.aembed_documents,
        query=theirs.embed_query,
    )


def _of_llama_index(embedding: Any) -> Any:
    return SimpleNamespace(
        documents=embedding.get_text_embedding_batch,
        adocuments=embedding.aget_text_embedding_batch,
        query=embedding.get_query_embedding,
    )
