"""Who embeds: the floor, ourselves through each surface, and rivals where they are installed.

A driver is a function `make(base_url, concurrency, batch)` that returns something with
`documents(texts)`, `adocuments(texts)`, `query(text)` and `aquery(text)`. What it needs is imported
inside, so that rivals can live in environments of their own.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

from works import SIZES

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
        self.aclient: Any = None  # belongs to the loop of the first call
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

    async def aembed(self, texts: Sequence[str]) -> list[list[float]]:
        self.aclient = self.aclient or self.httpx.AsyncClient(**self.options)
        reply = await self.aclient.post("/embeddings", **self.body(texts))
        reply.raise_for_status()
        return self.decode(reply.content)

    async def adocuments(self, texts: Sequence[str]) -> list[list[float]]:
        gate = asyncio.Semaphore(self.concurrency)

        async def embed(batch: Sequence[str]) -> list[list[float]]:
            async with gate:
                return await self.aembed(batch)

        found = await asyncio.gather(*map(embed, self.batches(texts)))
        return [row for rows in found for row in rows]

    def query(self, text: str) -> list[float]:
        return self.embed([text])[0]

    async def aquery(self, text: str) -> list[float]:
        return (await self.aembed([text]))[0]


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
            return await floor.aquery(query)

        def _get_text_embedding(self, text: str) -> list[float]:
            return floor.query(text)

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return floor.documents(texts)

        async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return await floor.adocuments(texts)

    return _of_llama_index(FloorEmbedding(embed_batch_size=2048))


@driver("ours, LangChain")
def langchain(base_url: str, concurrency: int, batch: int | None, **options: Any) -> Any:
    from langchain_aimlapi_embeddings import AIMLAPIEmbeddings

    ours = AIMLAPIEmbeddings(
        model=MODEL, api_key=KEY, base_url=base_url, max_concurrency=concurrency, **options
    )
    return _of_langchain(ours)


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

    return SimpleNamespace(documents=lambda texts: ours.embed(texts).array(), adocuments=adocuments)


@driver("langchain-openai")
def langchain_openai(base_url: str, concurrency: int, batch: int | None) -> Any:
    from langchain_openai import OpenAIEmbeddings

    theirs = OpenAIEmbeddings(
        model=MODEL, api_key=KEY, base_url=base_url, check_embedding_ctx_length=False
    )
    return _of_langchain(theirs)


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
    return _of_langchain(theirs)


def _of_langchain(embeddings: Any) -> Any:
    return SimpleNamespace(
        documents=embeddings.embed_documents,
        adocuments=embeddings.aembed_documents,
        query=embeddings.embed_query,
        aquery=embeddings.aembed_query,
    )


def _of_llama_index(embedding: Any) -> Any:
    return SimpleNamespace(
        documents=embedding.get_text_embedding_batch,
        adocuments=embedding.aget_text_embedding_batch,
        query=embedding.get_query_embedding,
        aquery=embedding.aget_query_embedding,
    )


# For the questions of works.py: ours once more, in other surroundings.


@driver("floor, decoded by the caller")
def floor_decoded_by_the_caller(base_url: str, concurrency: int, batch: int) -> Any:
    floor = Floor(base_url, concurrency, batch)

    def post(texts: Sequence[str]) -> bytes:
        return bytes(floor.client.post("/embeddings", **floor.body(texts)).content)

    def documents(texts: Sequence[str]) -> list[list[float]]:
        with ThreadPoolExecutor(concurrency) as pool:
            replies = pool.map(post, floor.batches(texts))
            return [row for reply in replies for row in floor.decode(reply)]

    return SimpleNamespace(documents=documents)


def langchain_of_size(base_url: str, concurrency: int, batch: int | None, size: int) -> Any:
    return langchain(base_url, concurrency, batch, chunk_size=size)


for size in SIZES:
    DRIVERS[f"ours, {size} texts a request"] = partial(langchain_of_size, size=size)


@driver("ours, collector off")
def langchain_collector_off(base_url: str, concurrency: int, batch: int | None) -> Any:
    gc.disable()
    return langchain(base_url, concurrency, batch)


@driver("ours, heap frozen")
def langchain_heap_frozen(base_url: str, concurrency: int, batch: int | None) -> Any:
    ours = langchain(base_url, concurrency, batch)
    gc.freeze()
    return ours


@driver("ours, uvloop")
def langchain_uvloop(base_url: str, concurrency: int, batch: int | None) -> Any:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return langchain(base_url, concurrency, batch)


@driver("ours, httpx-aiohttp")
def langchain_aiohttp(base_url: str, concurrency: int, batch: int | None) -> Any:
    import httpx_aiohttp

    client = httpx_aiohttp.HttpxAiohttpClient(timeout=60)
    return langchain(base_url, concurrency, batch, http_async_client=client)


@driver("ours, httpx2")
def langchain_httpx2(base_url: str, concurrency: int, batch: int | None) -> Any:
    import httpx2

    options = {"timeout": 60, "limits": httpx2.Limits(max_connections=concurrency)}
    clients = {
        "http_client": httpx2.Client(**options),
        "http_async_client": httpx2.AsyncClient(**options),
    }
    return langchain(base_url, concurrency, batch, **clients)
