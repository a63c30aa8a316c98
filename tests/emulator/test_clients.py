"""What other clients send is answered for every family, with vectors that they can read.

The bodies were captured from the clients named, each at the version named, on 2026-11-26: the
emulator recorded them while the client embedded texts with every model below.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any, NamedTuple

import pytest

from aimlapi_embeddings.emulator import Emulator, Request
from tests.support.recorded_models import M2, RECORDED_MODELS

PATHS = {"aimlapi": "/v1/embeddings", "nugen": "/api/v3/inference/embeddings"}
# The published vectors of these are not exact in float32, and Nugen's schema has no such field.
NUMBERS_ONLY = {
    "voyage-2",
    "anthropic/voyage-2",
    "voyage-code-2",
    "anthropic/voyage-code-2",
    *(M2.format(size) for size in ("2k", "8k", "32k")),
    "nugen-flash-embed",
    "qwen3-embedding-8b",
}


class Captured(NamedTuple):
    """One body as it was sent; MODEL stands for the model's id."""

    client: str
    version: str
    body: str


CAPTURED = (
    Captured(
        "openai (Python)",
        "3.57.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"base64"}',
    ),
    Captured(
        "openai (Python), encoding_format='float'",
        "3.57.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"float"}',
    ),
    Captured(
        "openai (Python), user='u1'",
        "3.57.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"user":"u1","encoding_format":"base64"}',
    ),
    Captured(
        "openai (Python), one string",
        "3.57.0",
        '{"model":"MODEL","input":"Laura is a DJ.","encoding_format":"base64"}',
    ),
    Captured(
        "openai (Node)",
        "6.49.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"base64"}',
    ),
    Captured(
        "openai (Node), encoding_format: 'float'",
        "6.49.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"float"}',
    ),
    Captured(
        "langchain-openai, check_embedding_ctx_length=False",
        "1.7.4",
        '{"model":"MODEL","input":["q"],"encoding_format":"base64"}',
    ),
    Captured(
        "llama-index-embeddings-openai",
        "0.7.0",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"base64"}',
    ),
    Captured(
        "llama-index-embeddings-openai, dimensions=256",
        "0.7.0",
        '{"model":"MODEL","input":["a"],"dimensions":256,"encoding_format":"base64"}',
    ),
    Captured(
        "pydantic-ai-slim, dimensions=256",
        "2.68.0",
        '{"model":"MODEL","input":["q"],"dimensions":256,"encoding_format":"base64"}',
    ),
    Captured(
        "litellm",
        "1.110.2",
        '{"model":"MODEL","input":["Laura is a DJ.","b"]}',
    ),
    Captured(
        "litellm, encoding_format='float'",
        "1.110.2",
        '{"model":"MODEL","input":["Laura is a DJ.","b"],"encoding_format":"float"}',
    ),
    Captured(
        "langchain-aimlapi",
        "0.1.3",
        '{"input":"Laura is a DJ.","model":"MODEL","encoding_format":"base64"}',
    ),
)
NAMES = [(row, name) for row in RECORDED_MODELS for name in (row.id, *row.aliases)]


def decoded(embedding: Any) -> tuple[float, ...]:
    if isinstance(embedding, str):
        data = base64.b64decode(embedding)
        return struct.unpack(f"<{len(data) // 4}f", data)
    return tuple(embedding)


@pytest.mark.parametrize("captured", CAPTURED, ids=lambda captured: captured.client)
def test_the_requests_of_other_clients_are_answered_for_every_model(captured: Captured) -> None:
    emulator = Emulator()
    for row, name in NAMES:
        asked = json.loads(captured.body)
        texts = asked["input"]
        path = PATHS["nugen" if row.family == "nugen" else "aimlapi"]
        body = captured.body.replace("MODEL", name).encode()
        reply = emulator.reply(Request("POST", path, {"authorization": "Bearer k"}, body))
        if isinstance(texts, list) and row.most_texts == 1:
            assert reply.status == 400, name  # the schema of these two models has no arrays
            continue
        assert reply.status == 200, (name, reply.body)
        embeddings = [item["embedding"] for item in json.loads(reply.body)["data"]]
        as_base64 = asked.get("encoding_format") == "base64" and name not in NUMBERS_ONLY
        assert {type(embedding) for embedding in embeddings} == {str if as_base64 else list}, name
        size = asked.get("dimensions", row.size) if row.sizes else row.size
        expected = [size] * (len(texts) if isinstance(texts, list) else 1)
        assert [len(decoded(embedding)) for embedding in embeddings] == expected, name


def test_lists_of_token_ids_are_refused() -> None:
    """langchain-openai sends them unless told check_embedding_ctx_length=False."""
    body = b'{"input": [[32, 8838]], "model": "text-embedding-3-small"}'
    request = Request("POST", PATHS["aimlapi"], {"authorization": "Bearer k"}, body)
    assert Emulator().reply(request).status == 400
