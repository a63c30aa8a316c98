"""One interface to the six entry points: core, LangChain and LlamaIndex, each sync and async."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal, TypeAlias

import httpx

from aimlapi_embeddings import EmbeddingsClient, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

KEY = "sk-recognisable-0123456789abcdef"
GOOGLE = "text-multilingual-embedding-002"
OPENAI = "text-embedding-3-small"

Mode: TypeAlias = Literal["sync", "async"]
Package: TypeAlias = Literal["core", "langchain", "llama_index"]
MODES: tuple[Mode, ...] = ("sync", "async")
PACKAGES: tuple[Package, ...] = ("core", "langchain", "llama_index")
Answer: TypeAlias = Callable[[emulator.Request], emulator.Reply]

# Names that the adapters give to options of the core's client.
_SPELLINGS: dict[Package, dict[str, str]] = {
    "core": {},
    "langchain": {
        "batch_size": "chunk_size",
        "headers": "default_headers",
        "extra_body": "model_kwargs",
        "async_http_client": "http_async_client",
        "show_progress": "show_progress_bar",
    },
    "llama_index": {"headers": "default_headers", "extra_body": "additional_kwargs"},
}
_CLASSES: dict[tuple[Package, str], type] = {
    ("core", "aimlapi"): EmbeddingsClient,
    ("core", "nugen"): EmbeddingsClient,
    ("langchain", "aimlapi"): AIMLAPIEmbeddings,
    ("langchain", "nugen"): NugenEmbeddings,
    ("llama_index", "aimlapi"): AIMLAPIEmbedding,
    ("llama_index", "nugen"): NugenEmbedding,
}


class FakeServer:
    """Answers requests in the process, without a socket, and keeps them in order."""

    def __init__(self) -> None:
        self.answer: Answer = emulator.answer
        self.requests: list[emulator.Request] = []
        self._script: list[emulator.Fault | Exception | None] = []
        self._lock = threading.Lock()

    def will(self, *faults: emulator.Fault | Exception | None) -> None:
        """Queue one fault for each of the next requests; None means a normal answer."""
        self._script.extend(faults)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.requests]

    @property
    def inputs(self) -> list[Any]:
        return [body["input"] for body in self.bodies]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = emulator.Request(
            request.method,
            request.url.raw_path.decode(),
            dict(request.headers.items()),
            request.content,
        )
        with self._lock:
            self.requests.append(asked)
            fault = self._script.pop(0) if self._script else None
        if isinstance(fault, Exception):
            raise fault
        if fault is None:
            reply = self.answer(asked)
        elif fault.status is not None:
            reply = emulator.Emulator().reply(asked, fault)
        else:
            reply = fault.spoil(self.answer(asked))
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)


class Clock:
    """A simulated clock: time advances only when somebody waits, and waiting returns at once."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_790_000_000.0 + self.now

    def sleep(self, seconds: float, wake: threading.Event) -> None:
        self.waits.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds, threading.Event())
        await asyncio.sleep(0)


class EntryPoint:
    """One way to embed: a package and a mode. Call `make` first."""

    def __init__(self, name: Package, mode: Mode, fake_server: FakeServer) -> None:
        self.name, self.mode, self.fake_server = name, mode, fake_server
        self.embedder: Any = None

    def make(self, model: str = GOOGLE, *, provider: str = "aimlapi", **options: Any) -> EntryPoint:
        """Build the client or adapter on the fake server; options have the core's names."""
        transport = httpx.MockTransport(self.fake_server)
        clients = {
            "model": model,
            "api_key": KEY,
            "http_client": httpx.Client(transport=transport),
            "async_http_client": httpx.AsyncClient(transport=transport),
        }
        return self.make_plain(provider, **{**clients, **options})

    def make_plain(self, provider: str = "aimlapi", /, **options: Any) -> EntryPoint:
        """Build it with these options only."""
        named = {self.field(name): value for name, value in options.items()}
        if self.name == "core":
            named["provider"] = provider
        self.embedder = _CLASSES[self.name, provider](**named)
        return self

    @property
    def client(self) -> EmbeddingsClient:
        embedder = self.embedder
        return embedder if isinstance(embedder, EmbeddingsClient) else embedder.client

    def field(self, option: str) -> str:
        """Return the name that this package gives to an option of the core."""
        return _SPELLINGS[self.name].get(option, option)

    def documents(self, texts: Iterable[str], **options: Any) -> list[list[float]]:
        """Embed documents through the public method of this package and mode."""
        embedder, sync = self.embedder, self.mode == "sync"
        if self.name == "core":
            call = embedder.embed if sync else embedder.aembed
            return self.wait(call(texts, **options)).vectors
        if self.name == "langchain":
            call = embedder.embed_documents if sync else embedder.aembed_documents
        else:
            call = embedder.get_text_embedding_batch if sync else embedder.aget_text_embedding_batch
        return self.wait(call(texts, **options))

    def query(self, text: str) -> list[float]:
        """Embed a query through the public method of this package and mode."""
        embedder, sync = self.embedder, self.mode == "sync"
        if self.name == "core":
            call = embedder.embed if sync else embedder.aembed
            return self.wait(call([text], role="query")).vectors[0]
        if self.name == "langchain":
            call = embedder.embed_query if sync else embedder.aembed_query
        else:
            call = embedder.get_query_embedding if sync else embedder.aget_query_embedding
        return self.wait(call(text))

    def wait(self, answer: Any) -> Any:
        """Return a result; a coroutine is first run in a new event loop."""
        if not isinstance(answer, Coroutine):
            return answer
        return asyncio.run(_await(answer))


async def _await(answer: Coroutine[Any, Any, Any]) -> Any:
    return await answer
