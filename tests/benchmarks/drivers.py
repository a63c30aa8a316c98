"""Who embeds: the floor, ourselves through each surface, and rivals where they are installed.

A driver is a function `make(base_url, work)` that returns something with `documents(texts)`,
`adocuments(texts)`, `query(text)` and `aquery(text)`, and, for vector stores, the framework's own
`object`. Where the work's `concurrency` is None, the package's default holds. What a driver needs
is imported inside, so that rivals can live in an environment of their own, which rivals.txt lists.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

from floor import KEY, MODEL, NATIVE, Floor, TransportFloor, cut, decode
from server import VECTORS, vector
from streams import at_once, streaming
from works import FRAMEWORK, LOGGED, RECORDED, SIZES, TRANSPORT, UNRECORDED, Work

DRIVERS: dict[str, Callable[..., Any]] = {}


def driver(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(make: Callable[..., Any]) -> Callable[..., Any]:
        DRIVERS[name] = make
        return make

    return register


@driver("floor")
def floor(base_url: str, work: Work) -> Any:
    return Floor(base_url, work.concurrency, work.batch)


@driver("floor-wave")
def floor_wave(base_url: str, work: Work) -> Any:
    return Floor(base_url, work.concurrency, work.batch, waves=True)


@driver("floor-8")
def floor_8(base_url: str, work: Work) -> Any:
    return Floor(base_url, 8, work.batch)


@driver(TRANSPORT)
def floor_transport(base_url: str, work: Work) -> Any:
    return TransportFloor(base_url)


@driver(FRAMEWORK)
def floor_in_llama_index(base_url: str, work: Work) -> Any:
    """The floor as a `BaseEmbedding`: what the framework's events and spans cost anybody."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    floor = Floor(base_url, work.concurrency, work.batch)

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


def of_ours(work: Work) -> dict[str, Any]:
    """The options that differ from ours by default."""
    options = {}
    if work.concurrency:
        options["max_concurrency"] = work.concurrency
    if work.dimensions != NATIVE:  # vectors of another size than was asked for are refused
        options["dimensions"] = work.dimensions
    return options


@driver("ours, LangChain")
def langchain(base_url: str, work: Work, **options: Any) -> Any:
    from langchain_aimlapi_embeddings import AIMLAPIEmbeddings

    options |= of_ours(work)
    return _of_langchain(AIMLAPIEmbeddings(model=MODEL, api_key=KEY, base_url=base_url, **options))


@driver(LOGGED)
def langchain_logged(base_url: str, work: Work) -> Any:
    """Each request makes a record, which the handler drops. By default none is made."""
    logger = logging.getLogger("aimlapi_embeddings")
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.DEBUG)
    return langchain(base_url, work)


@driver(UNRECORDED)
def langchain_unrecorded(base_url: str, work: Work) -> Any:
    """The API is imported, as some libraries do, and nobody has set up a provider."""
    from opentelemetry import metrics, trace  # noqa: F401

    return langchain(base_url, work)


@driver(RECORDED)
def langchain_recorded(base_url: str, work: Work) -> Any:
    """Spans and metrics are recorded, and kept in memory until they are dropped."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())  # drops them
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    return langchain(base_url, work)


@driver("ours, LlamaIndex")
def llama_index(base_url: str, work: Work) -> Any:
    from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

    options = of_ours(work)
    return _of_llama_index(
        AIMLAPIEmbedding(model_name=MODEL, api_key=KEY, api_base=base_url, **options)
    )


@driver("ours, array()")
def to_array(base_url: str, work: Work) -> Any:
    from aimlapi_embeddings import EmbeddingsClient

    options = of_ours(work) | {"batch_size": work.batch}
    ours = EmbeddingsClient(model=MODEL, api_key=KEY, base_url=base_url, **options)

    async def adocuments(texts: Sequence[str]) -> Any:
        return (await ours.aembed(texts)).array()

    return SimpleNamespace(documents=lambda texts: ours.embed(texts).array(), adocuments=adocuments)


@driver("ours, LangChain, cached")
def langchain_cached(base_url: str, work: Work) -> Any:
    """Writes each vector to a file that is empty before."""
    folder = tempfile.TemporaryDirectory()
    ours = langchain(base_url, work, cache=f"{folder.name}/vectors.db")
    ours.folder = folder  # which is removed with it
    return ours


def of_a_filled_cache(base_url: str, work: Work, *, method: str) -> Any:
    from cached import Filled

    options = of_ours(work)
    return Filled(model=MODEL, api_key=KEY, base_url=base_url, **options).driver(method)


DRIVERS["floor, bare sqlite3"] = partial(of_a_filled_cache, method="bare")
DRIVERS["ours, find()"] = partial(of_a_filled_cache, method="find")
DRIVERS["ours, cached array()"] = partial(of_a_filled_cache, method="embed")


def of_streams(base_url: str, work: Work, how: Callable[..., Any], **options: Any) -> Any:
    from aimlapi_embeddings import EmbeddingsClient

    size = {"batch_size": work.batch} if work.batch == 1000 else {}
    ours = EmbeddingsClient(model=MODEL, api_key=KEY, base_url=base_url, **of_ours(work), **size)
    return how(ours, **options)


DRIVERS["ours, embed().vectors"] = partial(of_streams, how=at_once)
DRIVERS["ours, stream"] = partial(of_streams, how=streaming)
DRIVERS["ours, stream of results"] = partial(of_streams, how=streaming, batches_of=1000)


@driver("langchain-openai")
def langchain_openai(base_url: str, work: Work) -> Any:
    from langchain_openai import OpenAIEmbeddings

    theirs = OpenAIEmbeddings(
        model=MODEL, api_key=KEY, base_url=base_url, check_embedding_ctx_length=False
    )
    return _of_langchain(theirs)


@driver("llama-index-embeddings-openai")
def llama_index_openai(base_url: str, work: Work) -> Any:
    from llama_index.embeddings.openai import OpenAIEmbedding

    options = {"num_workers": work.concurrency} if work.concurrency else {}
    return _of_llama_index(OpenAIEmbedding(model=MODEL, api_key=KEY, api_base=base_url, **options))


@driver("pydantic-ai")
def pydantic_ai(base_url: str, work: Work) -> Any:
    """Sends what it is given in one request, so its user cuts at the 2,048 that OpenAI takes."""
    from pydantic_ai import Embedder
    from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=base_url, api_key=KEY)
    theirs = Embedder(OpenAIEmbeddingModel(MODEL, provider=provider))

    def documents(texts: Sequence[str]) -> list[Sequence[float]]:
        found = (theirs.embed_documents_sync(each) for each in cut(texts, 2048))
        return [row for each in found for row in each.embeddings]

    async def adocuments(texts: Sequence[str]) -> list[Sequence[float]]:
        found = [await theirs.embed_documents(each) for each in cut(texts, 2048)]
        return [row for each in found for row in each.embeddings]

    async def aquery(text: str) -> Sequence[float]:
        return (await theirs.embed_query(text)).embeddings[0]

    return SimpleNamespace(
        documents=documents,
        adocuments=adocuments,
        query=lambda text: theirs.embed_query_sync(text).embeddings[0],
        aquery=aquery,
    )


@driver("vectors at hand, LangChain")
def at_hand_langchain(base_url: str, work: Work) -> Any:
    """Takes no time to embed, so that what is left is the store's own."""
    from langchain_core.embeddings import Embeddings

    rows = VectorsAtHand()

    class AtHand(Embeddings):
        def embed_query(self, text: str) -> list[float]:
            return rows.take([text])[0]

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return rows.take(texts)

    return SimpleNamespace(object=AtHand(), documents=rows.take, prepare=rows.prepare)


@driver("vectors at hand, LlamaIndex")
def at_hand_llama_index(base_url: str, work: Work) -> Any:
    """The same; the framework's own events are the store's here, as they come with its index."""
    from llama_index.core.base.embeddings.base import BaseEmbedding

    rows = VectorsAtHand()

    class AtHand(BaseEmbedding):
        def _get_query_embedding(self, query: str) -> list[float]:
            return rows.take([query])[0]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return rows.take([query])[0]

        def _get_text_embedding(self, text: str) -> list[float]:
            return rows.take([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return rows.take(texts)

    embedding = AtHand(embed_batch_size=2048)
    return SimpleNamespace(object=embedding, documents=rows.take, prepare=rows.prepare)


class VectorsAtHand:
    """The server's vectors, a list of floats of its own for each text, made before the measure."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}
        self.any: list[float] = []

    def prepare(self, texts: Sequence[str], dimensions: int) -> None:
        packed = [array("d", vector(i, dimensions)) for i in range(VECTORS)]
        self.any = packed[0].tolist()  # for the text that a vector store tries a model with
        self.rows = {text: packed[i % VECTORS].tolist() for i, text in enumerate(texts)}

    def take(self, texts: Sequence[str]) -> list[list[float]]:
        return [self.rows.get(text) or self.any for text in texts]


def _of_langchain(embeddings: Any) -> Any:
    return SimpleNamespace(
        object=embeddings,
        documents=embeddings.embed_documents,
        adocuments=embeddings.aembed_documents,
        query=embeddings.embed_query,
        aquery=embeddings.aembed_query,
    )


def _of_llama_index(embedding: Any) -> Any:
    return SimpleNamespace(
        object=embedding,
        documents=embedding.get_text_embedding_batch,
        adocuments=embedding.aget_text_embedding_batch,
        query=embedding.get_query_embedding,
        aquery=embedding.aget_query_embedding,
    )


# For the questions of works.py: ours once more, in other surroundings.


@driver("floor, decoded by the caller")
def floor_decoded_by_the_caller(base_url: str, work: Work) -> Any:
    floor = Floor(base_url, work.concurrency, work.batch)

    def post(texts: Sequence[str]) -> bytes:
        return bytes(floor.client.post("/embeddings", **floor.body(texts)).content)

    def documents(texts: Sequence[str]) -> list[list[float]]:
        with ThreadPoolExecutor(floor.concurrency) as pool:
            replies = pool.map(post, floor.batches(texts))
            return [row for reply in replies for row in decode(reply)]

    return SimpleNamespace(documents=documents)


def langchain_of_size(base_url: str, work: Work, size: int) -> Any:
    return langchain(base_url, work, chunk_size=size)


for size in SIZES:
    DRIVERS[f"ours, {size} texts a request"] = partial(langchain_of_size, size=size)


@driver("ours, collector off")
def langchain_collector_off(base_url: str, work: Work) -> Any:
    gc.disable()
    return langchain(base_url, work)


@driver("ours, heap frozen")
def langchain_heap_frozen(base_url: str, work: Work) -> Any:
    ours = langchain(base_url, work)
    gc.freeze()
    return ours


@driver("ours, uvloop")
def langchain_uvloop(base_url: str, work: Work) -> Any:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    return langchain(base_url, work)


@driver("ours, httpx-aiohttp")
def langchain_aiohttp(base_url: str, work: Work) -> Any:
    import httpx_aiohttp

    client = httpx_aiohttp.HttpxAiohttpClient(timeout=60)
    return langchain(base_url, work, http_async_client=client)


@driver("ours, httpx2")
def langchain_httpx2(base_url: str, work: Work) -> Any:
    import httpx2

    options = {"timeout": 60, "limits": httpx2.Limits(max_connections=work.concurrency)}
    clients = {
        "http_client": httpx2.Client(**options),
        "http_async_client": httpx2.AsyncClient(**options),
    }
    return langchain(base_url, work, **clients)
