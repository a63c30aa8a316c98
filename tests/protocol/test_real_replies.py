"""Replies of the real services, from published samples and captures; not from the emulator.

The bodies below are those of the samples, with vectors of a few numbers, and zeros up to the
model's size. Each is given in every envelope that was seen or documented: both good statuses,
compressed or not, with and without the headers of cost and tracing.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from aimlapi_embeddings import Usage, supported_models
from aimlapi_embeddings.emulator import Reply
from tests.support.entry_points import EntryPoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:of-tomorrow is not a model:UserWarning"),
]

UNIT = ([0.6, -0.8, 0.0], [0.0, 0.8, 0.6])
LONG = ([0.9, -1.1, 0.36], [1.0, 1.0, 0.4])  # about 1.47, as M2-BERT's
LONGER = ([15.0, -21.0, 2.25], [18.0, 18.5, 0.5])  # about 26, as qwen3-embedding-8b's
BASE64 = ("mpkZP83MTL8AAAAA", "AAAAAM3MTD+amRk/")  # UNIT as little-endian float32
FLOAT32 = (
    [0.6000000238418579, -0.800000011920929, 0.0],
    [0.0, 0.800000011920929, 0.6000000238418579],
)


class Sample(NamedTuple):
    """A reply, and the values that must be read from it."""

    model: str
    body: Mapping[str, Any]
    vectors: tuple[list[float], list[float]]
    tokens: tuple[int, int]
    """Prompt tokens and total tokens."""
    credits: int | None = None
    usd: float | None = None


def data(embeddings: Any = UNIT, **extra: Any) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": i, "embedding": embedding, **extra}
        for i, embedding in enumerate(embeddings)
    ]


def meta(credits: int, **more: Any) -> dict[str, Any]:
    return {"usage": {"credits_used": credits, **more}}


def both(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


VLLM_USAGE = {**both(7), "completion_tokens": 0, "prompt_tokens_details": None}
UUID = "5b4f8c0e-8f5e-9b1e-8a2f-0d6c6f3a7b11"
SAMPLES = {
    "openai": Sample(
        "text-embedding-3-small",
        {
            "object": "list",
            "data": data(),
            "model": "text-embedding-3-small",
            "usage": both(5),
            "meta": meta(1, usd_spent=0.0000005),
        },
        UNIT,
        (5, 5),
        1,
        0.0000005,
    ),
    "openai in base64": Sample(
        "text-embedding-3-large",
        {"object": "list", "data": data(BASE64), "model": "text-embedding-3-large"},
        FLOAT32,
        (0, 0),
    ),
    "openai under another name": Sample(
        "text-embedding-ada-002",
        {
            "object": "list",
            "data": data(),
            "model": "text-embedding-ada-002-v2",
            "usage": both(5),
            "meta": meta(2),
        },
        UNIT,
        (5, 5),
        2,
    ),
    "openai as the newest schema has it": Sample(
        "text-embedding-3-small",
        {"object": "object", "data": data(), "model": "text-embedding-3-small", "usage": both(5)},
        UNIT,
        (5, 5),
    ),
    "voyage without meta": Sample(
        "voyage-2",
        {
            "object": "list",
            "data": data(),
            "model": "voyage-2",
            "usage": {"prompt_tokens": None, "total_tokens": 6},
        },
        UNIT,
        (6, 6),
    ),
    "voyage": Sample(
        "voyage-large-2",
        {
            "object": "list",
            "data": data(),
            "model": "voyage-large-2",
            "usage": {"prompt_tokens": None, "total_tokens": 6},
            "meta": meta(2),
        },
        UNIT,
        (6, 6),
        2,
    ),
    "google": Sample(
        "text-multilingual-embedding-002",
        {
            "object": "list",
            "data": data(),
            "model": "text-multilingual-embedding-002",
            "usage": both(11),
            "meta": meta(1),
        },
        UNIT,
        (11, 11),
        1,
    ),
    "qwen under another name": Sample(
        "alibaba/qwen-text-embedding-v3",
        {
            "id": UUID,
            "object": "list",
            "data": data(),
            "model": "text-embedding-v3",
            "usage": both(4),
            "meta": meta(1),
        },
        UNIT,
        (4, 4),
        1,
    ),
    "bge with the fields of a vLLM server": Sample(
        "BAAI/bge-base-en-v1.5",
        {
            "id": "embd-1f0c9d0a5b7e4f4c8b1a2d3e4f5a6b7c",
            "object": "list",
            "created": 1768558132,
            "data": data(),
            "model": "BAAI/bge-base-en-v1.5",
            "usage": VLLM_USAGE,
            "meta": meta(1),
        },
        UNIT,
        (7, 7),
        1,
    ),
    "m2-bert without usage, not of unit length": Sample(
        "togethercomputer/m2-bert-80M-32k-retrieval",
        {
            "object": "list",
            "data": data(LONG),
            "model": "togethercomputer/m2-bert-80M-32k-retrieval",
            "usage": None,
            "meta": meta(1),
        },
        LONG,
        (0, 0),
        1,
    ),
    "nugen, whose list is an embedding": Sample(
        "nugen-flash-embed",
        {
            "id": "nugen-1767000663.2514",
            "object": "embedding",
            "data": data(),
            "model": "nugen-flash-embed",
            "created": 1767000663.2514,
            "usage": {"total_tokens": 12},
        },
        UNIT,
        (12, 12),
    ),
    "nugen with raw_output, far from unit length": Sample(
        "qwen3-embedding-8b",
        {
            "id": "nugen-1784300000.5",
            "object": "list",
            "data": data(LONGER, raw_output=None),
            "model": "qwen3-embedding-8b",
            "created": 1784300000.5,
            "usage": {
                **both(12),
                "completion_tokens": 0,
                "prompt_tokens_details": {"cached_tokens": 0},
            },
        },
        LONGER,
        (12, 12),
    ),
    "an unknown model that tells the least": Sample("of-tomorrow", {"data": data()}, UNIT, (0, 0)),
}

TRACE = {"x-inference-id": "inf-1", "x-request-id": UUID, "x-client-request-id": "mine"}
COST = {"x-aimlapi-credits-used": "7", "x-aimlapi-usd-spent": "0.000003500"}
JSON = {"content-type": "application/json; charset=utf-8"}
ENVELOPES: dict[str, tuple[int, dict[str, str]]] = {
    "200": (200, {**JSON, **TRACE, **COST}),
    "201": (201, {**JSON, **TRACE, **COST}),
    "compressed": (200, {**JSON, **TRACE, **COST, "content-encoding": "gzip"}),
    "without cost": (200, {**JSON, **TRACE}),
    "without any header": (200, {}),
}


def provider_of(model: str) -> str:
    return "nugen" if model in ("nugen-flash-embed", "qwen3-embedding-8b") else "aimlapi"


def size_of(model: str) -> int:
    native = {row.id: row.native_dimensions for row in supported_models()}
    return native.get(model) or len(UNIT[0])


def widened(vector: Any, size: int) -> Any:
    """Add zeros to a short vector in either form."""
    zeros = size - len(UNIT[0])
    if isinstance(vector, str):
        return base64.b64encode(base64.b64decode(vector) + bytes(4 * zeros)).decode()
    return vector + [0.0] * zeros


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_real_reply_is_read_in_every_envelope(
    entry_point: EntryPoint, name: str, envelope: str
) -> None:
    sample, (status, headers) = SAMPLES[name], ENVELOPES[envelope]
    size = size_of(sample.model)
    items = [
        {**item, "embedding": widened(item["embedding"], size)} for item in sample.body["data"]
    ]
    body = json.dumps({**sample.body, "data": items}).encode()
    packed = gzip.compress(body) if "content-encoding" in headers else body
    entry_point.fake_server.answer = lambda _: Reply(status, headers, packed)
    entry_point.make(sample.model, provider=provider_of(sample.model))
    assert entry_point.documents(["a text", "another"]) == [
        widened(vector, size) for vector in sample.vectors
    ]
    told = COST if COST.keys() <= headers.keys() else {}
    assert entry_point.client.usage == expected_usage(sample, told)


def expected_usage(sample: Sample, headers: Mapping[str, str]) -> Usage:
    """The cost in the body comes first, then that in the headers, then the price of the credits."""
    credits = sample.credits
    if credits is None:
        credits = int(headers.get("x-aimlapi-credits-used", 0))
    usd = sample.usd
    if usd is None:
        usd = float(headers.get("x-aimlapi-usd-spent", credits / 2_000_000))
    return Usage(*sample.tokens, credits, usd, requests=1)


def test_the_samples_have_the_norms_of_the_real_vectors() -> None:
    lengths = {name: math.hypot(*sample.vectors[0]) for name, sample in SAMPLES.items()}
    assert sum(0.999 < length < 1.001 for length in lengths.values()) == len(SAMPLES) - 2
    assert lengths["m2-bert without usage, not of unit length"] == pytest.approx(1.47, abs=0.01)
    assert 25 < lengths["nugen with raw_output, far from unit length"] < 27
