"""The two models of Nugen. Data only."""

from __future__ import annotations

from dataclasses import replace

from aimlapi_embeddings.emulator._checks import integer
from aimlapi_embeddings.emulator._rules import CREATED, Extra, Rule, both_counts


def _fields(_: str) -> Extra:
    return {"id": f"nugen-{CREATED}.25", "created": CREATED + 0.25}


# github nugen-in/nugen-cookbook, guides/create_embeddings_with_nugen (flash @ 88faee8 of
# 2025-12-29, qwen3 @ 981bb39 of 2026-07-18). No limits and no largest size are published; 4096 is
# the size of the open model qwen3-embedding-8b.
FLASH_EMBED = Rule(
    native=768,
    options={"dimensions": integer(1, 4096, nullable=True)},
    base64=False,
    object="embedding",
    usage=lambda tokens: {"total_tokens": tokens},
    reply_extra=_fields,
    meta=False,
    number_format="float16",
)
QWEN3_EMBEDDING = replace(
    FLASH_EMBED,
    native=4096,
    object="list",
    usage=lambda tokens: {
        **(both_counts(tokens) or {}),
        "completion_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 0},
    },
    item_extra={"raw_output": None},
    lengths=(25.53, 27.14),
    number_format="bfloat16",
)
