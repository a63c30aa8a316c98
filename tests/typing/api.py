"""What users write, as type checkers see it: every documented name, and a string as the key.

Only checked, never run. CI does so with mypy, with and without pydantic's plugin, and with
basedpyright.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import httpx
from langchain_core.embeddings import Embeddings
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import BaseModel, SecretStr

from aimlapi_embeddings import (
    AsyncEmbeddingStream,
    EmbeddingResult,
    EmbeddingsClient,
    EmbeddingStream,
    Estimate,
    TaskType,
    TrackedUsage,
    Usage,
    VectorCache,
    track_usage,
)
from aimlapi_embeddings.batches import EmbedBatches, SharedLimit
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

langchain = AIMLAPIEmbeddings(model="m")
AIMLAPIEmbeddings(model="m", api_key="a string")
AIMLAPIEmbeddings(model="m", api_key=SecretStr("a secret"), base_url="https://x")
AIMLAPIEmbeddings(model="m", aimlapi_api_key="a string", aimlapi_api_base="https://x")
AIMLAPIEmbeddings(model="m", aimlapi_api_key=SecretStr("a secret"))
NugenEmbeddings(model="m", api_key="a string", base_url="https://x")
NugenEmbeddings(model="m", nugen_api_key="a string", nugen_api_base="https://x")
AIMLAPIEmbeddings(model="m", batch_size=10, timeout=10)
AIMLAPIEmbeddings(model="m", timeout=(3, 10))
AIMLAPIEmbedding(model="m", timeout=httpx.Timeout(10, connect=3))
AIMLAPIEmbeddings(
    model="m",
    dimensions=256,
    task_type=TaskType.CLUSTERING,
    family="google",
    query_prefix="q: ",
    document_prefix="d: ",
    too_long="truncate",
    normalize=True,
    encoding_format="float",
    chunk_size=10,
    max_concurrency=None,
    max_retries=1,
    max_retry_wait=1,
    retry_for=600,
    requests_per_minute=600,
    tokens_per_minute=1e6,
    max_usd=0.5,
    max_tokens=10_000,
    request_timeout=10,
    rate_limiter=InMemoryRateLimiter(),
    cache="vectors.db",
    show_progress_bar=True,
    default_headers={"X-Team": "search"},
    model_kwargs={"user": "me"},
    http_client=httpx.Client(),
    http_async_client=httpx.AsyncClient(),
    allow_http=True,
)

llama_index = AIMLAPIEmbedding(model_name="m")
AIMLAPIEmbedding(model="m", api_key="a string", base_url="https://x")
AIMLAPIEmbedding(model_name="m", api_key=SecretStr("a secret"), api_base="https://x")
NugenEmbedding(model="m", api_key="a string", base_url="https://x")
NugenEmbedding(
    model_name="m",
    dimensions=256,
    task_type="CLUSTERING",
    family="google",
    query_prefix="q: ",
    document_prefix="d: ",
    too_long="error",
    normalize=True,
    encoding_format="base64",
    embed_batch_size=10,
    batch_size=10,
    num_workers=2,
    max_concurrency=4,
    max_retries=1,
    max_retry_wait=1,
    retry_for=600,
    requests_per_minute=600,
    tokens_per_minute=1e6,
    max_usd=None,
    max_tokens=10_000,
    timeout=10,
    rate_limiter=TokenBucketRateLimiter(requests_per_minute=1),
    cache=VectorCache(Path("vectors.db"), timeout=1),
    show_progress=True,
    default_headers={"X-Team": "search"},
    additional_kwargs={"user": "me"},
    http_client=httpx.Client(),
    async_http_client=httpx.AsyncClient(),
    callback_manager=CallbackManager([]),
    embeddings_cache=SimpleKVStore(),
    allow_http=True,
)

of_langchain: Embeddings = langchain
of_llama_index: BaseEmbedding = llama_index
store = InMemoryVectorStore.from_texts(["x"], embedding=langchain)
assert_type(langchain.embed_documents(["x"], titles=["t", None]), list[list[float]])
assert_type(langchain.embed_query("q", task_type="CLUSTERING"), list[float])
assert_type(llama_index.get_text_embedding_batch(["x"], show_progress=True), list[list[float]])
assert_type(langchain.client.usage, Usage)
assert_type(langchain.embed_documents_iter(["x"]), EmbeddingStream[list[float]])
assert_type(llama_index.embed_documents_iter(["x"], batches_of=9), EmbeddingStream[EmbeddingResult])
assert_type(langchain.aembed_documents_iter(["x"]), AsyncEmbeddingStream[list[float]])
assert_type(llama_index.usage, Usage)
assert_type(langchain.estimate(["x"], titles=["t"], role="query").usd, float | None)
assert_type(llama_index.model_validate(llama_index.model_dump()), AIMLAPIEmbedding)


class Config(BaseModel):
    """The adapters as fields."""

    embed_model: AIMLAPIEmbedding
    embeddings: AIMLAPIEmbeddings


class Stripped(AIMLAPIEmbeddings):
    """A subclass of a user's."""

    def embed_documents(self, texts: list[str], **kwargs: object) -> list[list[float]]:
        """Embed without blanks around."""
        return super().embed_documents([text.strip() for text in texts])


async def twins() -> None:
    """Await the async methods."""
    assert_type(await langchain.aembed_documents(["x"]), list[list[float]])
    assert_type(await langchain.aembed_query("q"), list[float])
    assert_type(await llama_index.aestimate(["x"]), Estimate)
    assert_type(await llama_index.aget_query_embedding("q"), list[float])
    assert_type(await llama_index.aget_text_embedding_batch(["x"]), list[list[float]])


with EmbeddingsClient(model="m", api_key="k") as client:
    texts: Sequence[str] = ("a", "b")
    assert_type(client.embed(texts).vectors, list[list[float]])
    assert_type(next(client.embed_iter(iter(texts))), list[float])
    assert_type(next(client.embed_iter([None], on_invalid="none")), list[float] | None)
    assert_type(next(client.embed_iter([("a", None)], batches_of=5)), EmbeddingResult)
    assert_type(client.aembed_iter(texts, window=10), AsyncEmbeddingStream[list[float]])
    with track_usage() as usage:
        assert_type(usage, TrackedUsage)
    assert_type(usage.total_tokens, int)
    assert_type(usage.snapshot(), Usage)
    result = client.embed(texts, progress=True)
    assert_type(result[0], list[float])
    assert_type(result[:1], list[list[float]])
    assert_type(list(result), list[list[float]])
    assert_type(result.possibly_truncated, tuple[int, ...])
    assert_type(result.truncated, dict[int, int])
EmbeddingsClient(model="m", api_key="k", timeout=(3, 10))
EmbeddingsClient(model="m", api_key="k", timeout=httpx.Timeout(10))


step = EmbedBatches(
    model="m",
    text="text",
    title=None,
    vector="vector",
    role="document",
    on_error="keep",
    error="error",
    column="list",
    size=3,
    keep_existing=True,
    requests_per_minute=60,
    workers=2,
    shared_limit="a file",
    api_key=lambda: "fetched",
    max_concurrency=4,
    cache="a file",
)
assert_type(step.size, int)
assert_type(step.client, EmbeddingsClient)
EmbeddingsClient(model="m", rate_limiter=SharedLimit("a file", 60))
