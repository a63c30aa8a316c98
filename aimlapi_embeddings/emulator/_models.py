"""The models of both providers. Data only.

LIVE is https://api.aimlapi.com/docs-yaml as kept in github api-evangelist/aimlapi @ a682911d
(2026-09-16). REPO is github aimlapi/api-docs @ f14fa72f (2026-08-21). DIFY is github
aimlapi/dify-aimlapi-plugin, models/text_embedding/*.yaml (prices @ 19a25c0c, Qwen @ 0db9b6c2).
Reply shapes and norms are those of the samples in REPO (captured 2026-01-14 to 2026-01-16, voyage-2
and voyage-code-2 in 2025-05). The gateway publishes no limits on the number of texts and tokens:
those here are the vendors' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from uuid import UUID

from aimlapi_embeddings.emulator._checks import integer, of_kind, one_of, record
from aimlapi_embeddings.emulator._nugen import FLASH_EMBED, QWEN3_EMBEDDING
from aimlapi_embeddings.emulator._rules import (
    CREATED,
    Extra,
    Limits,
    Rule,
    Usage,
    Wording,
    both_counts,
    count_characters,
)
from aimlapi_embeddings.emulator._types import Provider

# LIVE lists the field for OpenAI's models only. Other families tolerate it without a check: the
# published samples of all families were requested with it.
_ENCODINGS = {"encoding_format": one_of("float", "base64", nullable=True)}

# https://platform.openai.com/docs/api-reference/embeddings/create (read 2026-11): at most 2048
# texts of 8192 tokens, and 300000 tokens in a request. Wording: github
# langchain-ai/langchain#31227 (2025-05).
_OPENAI = Rule(
    native=1536,
    limits=Limits(2048, 8192, 300_000),
    wording=Wording(
        "Invalid 'input': array too long. Expected an array with maximum length {limit}, but got "
        "an array with length {actual} instead.",
        "This model's maximum context length is {limit} tokens, however you requested {actual} "
        "tokens ({actual} in your prompt; 0 for the completion). Please reduce your prompt; or "
        "completion length.",
        "Invalid 'input': maximum request size is {limit} tokens per request.",
    ),
    maker="openai",
    listed=True,
)


def _null_prompt(tokens: int) -> Usage:
    """Build the `usage` of Voyage, which counts only the total."""
    return {"prompt_tokens": None, "total_tokens": tokens}


# LIVE: a string of 1 to 8000 characters, or an array whose texts have up to 800, without lower
# bounds; `input_type` has one value. An empty array is refused although the schema allows it,
# because there is nothing to embed. https://docs.voyageai.com/reference/embeddings-api (read
# 2026-11): 1000 texts; texts with too many tokens are cut. Wording: github sigoden/aichat#825
# (2024-09).
_VOYAGE = Rule(
    native=1024,
    options={"input_type": one_of("document")},
    limits=Limits(1000, 16_000, 120_000, chars_of_string=8000, chars_of_item=800),
    wording=Wording(
        texts="The batch size limit is {limit}. Your batch size is {actual}.",
        tokens_per_request="Request to the model failed. The max allowed tokens per submitted "
        "batch is {limit}. Your batch has {actual} tokens after truncation. Please lower the "
        "number of tokens in the batch.",
    ),
    min_chars_of_item=0,
    truncates=True,
    usage=_null_prompt,
    usd_per_million=0.156,  # DIFY
    maker="anthropic",
    listed=True,
)

# LIVE for text-multilingual-embedding-002, REPO for the other models. Limits:
# https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings (read
# 2026-11): 250 texts, 20000 tokens in a request, each text cut at 2048 tokens. Wording: github
# langchain-ai/langchain#5316 (2023-05).
_TASKS = one_of(
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
)
_GOOGLE = Rule(
    native=768,
    options={
        "dimensions": integer(1, 768, nullable=True),
        "task_type": _TASKS,
        "title": of_kind("string"),
        "auto_truncate": of_kind("boolean"),
    },
    limits=Limits(250, 2048, 20_000),
    wording=Wording(
        "{limit} instance(s) is allowed per prediction. Actual: {actual}",
        "Unable to submit request because the input token count is {actual} but the model "
        "supports up to {limit}. Reduce the input token count and try again.",
        "Unable to submit request because the input token count is {actual} but the model "
        "supports up to {limit}. Reduce the input token count and try again.",
    ),
    truncates=True,
    counts=count_characters,
    maker="google",
)
# github langchain-ai/langchain#5316: five texts are accepted in every region.
_GECKO = replace(_GOOGLE, limits=Limits(5, 2048, 20_000))


def _vllm_fields(identity: str) -> Extra:
    return {"id": f"embd-{UUID(identity).hex}", "created": CREATED}


def _vllm_usage(tokens: int) -> Usage:
    return {**(both_counts(tokens) or {}), "completion_tokens": 0, "prompt_tokens_details": None}


# REPO (2026-01-16), no longer in LIVE. The extra fields of its samples are those of a vLLM server,
# so the wording is vLLM's: github vllm-project/vllm#19798 (2025-06). The instruction is from github
# FlagOpen/FlagEmbedding, research/baai_general_embedding/README.md.
_BGE = Rule(
    native=768,
    limits=Limits(tokens_per_text=512),
    wording=Wording(
        tokens_per_text="This model's maximum context length is {limit} tokens. However, you "
        "requested {actual} tokens in the input for embedding generation. Please reduce the "
        "length of the input."
    ),
    instruction="Represent this sentence for searching relevant passages: ",
    usage=_vllm_usage,
    reply_extra=_vllm_fields,
)

# REPO, no longer in LIVE. The vector of the one sample (32k, 2026-01-16) has not unit length, and
# its numbers are not exact in float32: it cannot have come as base64.
_M2 = Rule(
    native=768,
    truncates=True,
    base64=False,
    usage=lambda _: None,
    lengths=(1.471446861, 1.471446861),
    number_format="decimal",
)
_M2_STRING = replace(_M2, arrays=False, limits=Limits(tokens_per_text=2048, chars_of_string=3000))

# https://www.alibabacloud.com/help/en/model-studio/text-embedding-synchronous-api (2026-03): ten
# texts (DIFY says the same) of 8192 tokens, and the sizes listed; LIVE has an integer 64..2048, not
# null. Wording: github garrytan/gbrain#1199 (2026-05).
_QWEN_SIZES = (64, 128, 256, 512, 768, 1024)
_QWEN = Rule(
    native=1024,
    options={"dimensions": one_of(*_QWEN_SIZES)},
    limits=Limits(10, 8192),
    wording=Wording(
        "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should "
        "not be larger than {limit}.: input.contents",
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, {limit}]",
    ),
    usd_per_million=0.091,  # DIFY
    listed=True,
    echo="text-embedding-v3",
    reply_extra=lambda identity: {"id": identity},
)

_DIMENSIONS_3072 = {"dimensions": integer(1, 3072, nullable=True)}
# LIVE. No document says what the members of `test` do beyond their names; `delay` is ignored here.
_TEST = Rule(
    native=1024,
    options={
        **_ENCODINGS,
        **_DIMENSIONS_3072,
        "test": record(
            credits=integer(0, 10**12), delay=of_kind("number"), errorStatus=integer(400, 599)
        ),
    },
)


EMULATED_PREFIX: Final = "emulated/"
"""Ids with this prefix are served as plain models in every strictness; they are in no table."""

PLAIN: Mapping[Provider, Rule] = {
    "aimlapi": replace(
        _OPENAI,
        native=64,
        options={**_ENCODINGS, **_DIMENSIONS_3072},
        maker="emulated",
        listed=False,
    ),
    "nugen": replace(FLASH_EMBED, native=64),
}

MODELS: Mapping[Provider, Mapping[str, Rule]] = {
    "aimlapi": {
        "text-embedding-3-small": replace(
            _OPENAI,
            # LIVE allows 3072, but OpenAI behind it only 1536.
            options={**_ENCODINGS, "dimensions": integer(1, 1536, nullable=True)},
            usd_per_million=0.026,  # DIFY
        ),
        "text-embedding-3-large": replace(
            _OPENAI,
            native=3072,
            options={**_ENCODINGS, **_DIMENSIONS_3072},
            usd_per_million=0.169,  # DIFY
        ),
        "text-embedding-ada-002": replace(
            _OPENAI,
            options=_ENCODINGS,
            usd_per_million=0.13,  # DIFY
            echo="text-embedding-ada-002-v2",
        ),
        # The captures of voyage-2 and voyage-code-2 (2025-05) are the only ones without `meta`, and
        # their numbers are not exact in float32: they cannot have come as base64.
        "voyage-2": replace(
            _VOYAGE,
            limits=_VOYAGE.limits._replace(tokens_per_text=4000, tokens_per_request=320_000),
            base64=False,
            usd_per_million=0.13,  # DIFY
            meta=False,
            number_format="decimal",
        ),
        "voyage-code-2": replace(
            _VOYAGE, native=1536, base64=False, meta=False, number_format="decimal"
        ),
        "voyage-large-2": replace(_VOYAGE, native=1536),
        "voyage-large-2-instruct": _VOYAGE,
        "voyage-law-2": _VOYAGE,
        "voyage-finance-2": replace(
            _VOYAGE, limits=_VOYAGE.limits._replace(tokens_per_text=32_000)
        ),
        "voyage-multilingual-2": replace(
            _VOYAGE, limits=_VOYAGE.limits._replace(tokens_per_text=32_000)
        ),
        "text-multilingual-embedding-002": replace(
            _GOOGLE,
            usd_per_million=0.0325,  # DIFY
            listed=True,
        ),
        "textembedding-gecko@001": replace(_GECKO, limits=Limits(5, 3072)),
        "textembedding-gecko@003": _GECKO,
        "textembedding-gecko-multilingual@001": _GECKO,
        "text-embedding-004": _GOOGLE,
        "BAAI/bge-base-en-v1.5": _BGE,
        "BAAI/bge-large-en-v1.5": replace(_BGE, native=1024),
        "togethercomputer/m2-bert-80M-2k-retrieval": _M2_STRING,
        "togethercomputer/m2-bert-80M-8k-retrieval": replace(
            _M2_STRING, limits=_M2_STRING.limits._replace(tokens_per_text=8192)
        ),
        "togethercomputer/m2-bert-80M-32k-retrieval": replace(
            _M2, limits=Limits(tokens_per_text=32_768)
        ),
        "alibaba/qwen-text-embedding-v3": _QWEN,
        # The published sample of v4 is a copy of v3's, so this echo only follows v3's pattern.
        "alibaba/qwen-text-embedding-v4": replace(
            _QWEN,
            options={"dimensions": one_of(*_QWEN_SIZES, 1536, 2048)},
            echo="text-embedding-v4",
        ),
        "test/dummy-embeddings": _TEST,
    },
    "nugen": {"nugen-flash-embed": FLASH_EMBED, "qwen3-embedding-8b": QWEN3_EMBEDDING},
}

# LIVE. The prefixed ids of OpenAI, Voyage and Google are also the catalogue's canonical ids.
ALIASES: Mapping[Provider, Mapping[str, str]] = {
    "aimlapi": {
        **{
            rule.canonical_id(model): model
            for model, rule in MODELS["aimlapi"].items()
            if rule.listed and rule.maker
        },
        **{
            f"{prefix}text-embedding-{version}": f"alibaba/qwen-text-embedding-{version}"
            for prefix in ("alibaba/", "")
            for version in ("v3", "v4")
        },
    },
    "nugen": {},
}
