"""Arguments that people bring from other embedding classes, or guess. Data only.

From `OpenAIEmbeddings` and `AzureOpenAIEmbeddings` (langchain-openai 1.3), `OpenAIEmbedding`
(llama-index-embeddings-openai 0.6), and from one adapter of this project to the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SIZES = "lengths are estimated and no tokenizer is used"
_GATEWAY = "there is one endpoint, which base_url names"
_ACCOUNT = "the API key identifies the account"

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "additional_kwargs": "extra_body",
        "aimlapi_api_base": "base_url",
        "aimlapi_api_key": "api_key",
        "api_base": "base_url",
        "budget": "max_usd",
        "budget_usd": "max_usd",
        "chunk_size": "batch_size",
        "default_headers": "headers",
        "embed_batch_size": "batch_size",
        "engine": "model",
        "http_async_client": "async_http_client",
        "max_dollars": "max_usd",
        "max_workers": "max_concurrency",
        "model_kwargs": "extra_body",
        "model_name": "model",
        "nugen_api_base": "base_url",
        "nugen_api_key": "api_key",
        "num_workers": "max_concurrency",
        "openai_api_base": "base_url",
        "openai_api_key": "api_key",
        "request_timeout": "timeout",
        "retry_max_seconds": "max_retry_wait",
        "rpm": "requests_per_minute",
        "tpm": "tokens_per_minute",
        "truncate": "too_long",
    }
)
"""The option of the client that does the same."""

NOT_NEEDED: Mapping[str, str] = MappingProxyType(
    {
        "allowed_special": _SIZES,
        "api_type": _GATEWAY,
        "api_version": _GATEWAY,
        "azure_ad_token": _ACCOUNT,
        "azure_deployment": "models are named by their id alone",
        "azure_endpoint": _GATEWAY,
        "check_embedding_ctx_length": _SIZES,
        "default_query": "base_url may hold a query",
        "deployment": "models are named by their id alone",
        "disallowed_special": _SIZES,
        "embedding_ctx_length": _SIZES,
        "mode": "the method that is called decides between documents and queries",
        "openai_api_type": _GATEWAY,
        "openai_api_version": _GATEWAY,
        "openai_organization": _ACCOUNT,
        "openai_proxy": "proxies are read from HTTPS_PROXY, or are set on an http_client",
        "organization": _ACCOUNT,
        "query_engine": "the method that is called decides between documents and queries",
        "retry_min_seconds": "the waits between retries follow from what the server answers",
        "reuse_client": "connections are shared safely by threads and tasks",
        "skip_empty": "empty texts are refused by name before anything is sent",
        "text_engine": "the method that is called decides between documents and queries",
        "tiktoken_enabled": _SIZES,
        "tiktoken_model_name": _SIZES,
    }
)
"""Why there is no such argument."""
