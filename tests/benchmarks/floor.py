"""What a skilled hand writes for one job: httpx, orjson, a2b_base64, NumPy; nothing checked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

MODEL = "text-embedding-3-small"
NATIVE = 1536  # numbers in its vectors, unless others are asked for
KEY = "sk-benchmark"


def cut(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[i : i + size] for i in range(0, len(texts), size)]


def decode(content: bytes) -> list[list[float]]:
    from binascii import a2b_base64

    import numpy as np
    import orjson

    return [
        embedding
        if isinstance(embedding := item["embedding"], list)
        else np.frombuffer(a2b_base64(embedding), dtype="<f4").tolist()
        for item in orjson.loads(content)["data"]
    ]


class Floor:
    """httpx's clients as they are meant to be used.

    Args:
        base_url: Where the server is.
        concurrency: Most requests in flight; None: 16 in bulk, and 100 otherwise, as httpx has it.
        batch: Texts in a request; None: 100.
        waves: Whether to cut `concurrency` equal requests instead.
    """

    def __init__(
        self, base_url: str, concurrency: int | None, batch: int | None, waves: bool = False
    ) -> None:
        import httpx

        options: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "timeout": 60.0,
        }
        limits = httpx.Limits(max_connections=concurrency or 100)
        self.client = httpx.Client(limits=limits, **options)
        # Of 100 connections, httpx keeps 20 by default. With tasks that is much quicker than to
        # keep all of them. With 200 threads it fails now and then: a connection is closed as one
        # too many while another thread reads from it (EBADF).
        alimits = limits
        if not concurrency:
            alimits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
        self.new_aclient = partial(httpx.AsyncClient, limits=alimits, **options)
        self.aclient: Any = None  # belongs to the loop of the first call
        self.concurrency, self.batch, self.waves = concurrency or 16, batch or 100, waves

    def body(self, texts: Sequence[str]) -> dict[str, Any]:
        return {"json": {"model": MODEL, "input": texts, "encoding_format": "base64"}}

    def batches(self, texts: Sequence[str]) -> list[Sequence[str]]:
        return cut(texts, -(-len(texts) // self.concurrency) if self.waves else self.batch)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        reply = self.client.post("/embeddings", **self.body(texts))
        reply.raise_for_status()
        return decode(reply.content)

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        with ThreadPoolExecutor(self.concurrency) as pool:
            return [row for rows in pool.map(self.embed, self.batches(texts)) for row in rows]

    async def aembed(self, texts: Sequence[str]) -> list[list[float]]:
        self.aclient = self.aclient or self.new_aclient()
        reply = await self.aclient.post("/embeddings", **self.body(texts))
        reply.raise_for_status()
        return decode(reply.content)

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


class TransportFloor:
    """Single queries through httpx's transport, without its client."""

    def __init__(self, base_url: str) -> None:
        import httpx
        import orjson

        self.httpx, self.dumps = httpx, orjson.dumps
        self.url = httpx.URL(f"{base_url}/embeddings")
        self.headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        self.extensions = {"timeout": httpx.Timeout(60.0).as_dict()}
        self.transport = httpx.HTTPTransport()
        self.atransport = httpx.AsyncHTTPTransport()

    def request(self, text: str) -> Any:
        body = {"model": MODEL, "input": [text], "encoding_format": "base64"}
        return self.httpx.Request(
            "POST",
            self.url,
            headers=self.headers,
            content=self.dumps(body),
            extensions=self.extensions,
        )

    def query(self, text: str) -> list[float]:
        reply = self.transport.handle_request(self.request(text))
        content = reply.read()
        assert reply.status_code == 200
        return decode(content)[0]

    async def aquery(self, text: str) -> list[float]:
        reply = await self.atransport.handle_async_request(self.request(text))
        content = await reply.aread()
        assert reply.status_code == 200
        return decode(content)[0]
