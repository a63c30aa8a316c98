"""Values that several parts of the package share."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

import msgspec

Role: TypeAlias = Literal["document", "query"]
Vector: TypeAlias = list[float]
Progress: TypeAlias = Callable[[int, int], None]
"""Called as `progress(done, total)`, in texts: at the start, then as each request finishes."""


class TaskType(StrEnum):
    """What the vectors are for, as Google's models name it. Upper and lower case are the same.

    Both `RETRIEVAL_*` names mean the default: documents are embedded as `RETRIEVAL_DOCUMENT`,
    queries as `RETRIEVAL_QUERY`. `NONE` sends no role and no prefix, for indexes that were built
    without them.

    Source: https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/task-types
    """

    RETRIEVAL_DOCUMENT = "RETRIEVAL_DOCUMENT"
    RETRIEVAL_QUERY = "RETRIEVAL_QUERY"
    SEMANTIC_SIMILARITY = "SEMANTIC_SIMILARITY"
    CLASSIFICATION = "CLASSIFICATION"
    CLUSTERING = "CLUSTERING"
    QUESTION_ANSWERING = "QUESTION_ANSWERING"
    FACT_VERIFICATION = "FACT_VERIFICATION"
    NONE = "NONE"

    @classmethod
    def _missing_(cls, value: object) -> TaskType | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class Reply(NamedTuple):
    """What came back for one request: header names in lower case, body decompressed."""

    status: int
    headers: dict[str, str]
    body: bytes | bytearray


class Usage(msgspec.Struct, frozen=True):
    """What a call cost. `+` adds two. A figure that the server did not report counts as 0.

    Attributes:
        prompt_tokens: Tokens billed for the input, as counted by the server.
        total_tokens: The same for embeddings; some servers report only this one.
        credits_used: The gateway's credits; 2,000,000 of them are one US dollar.
        usd_spent: US dollars.
        requests: Requests sent, the refused and the failed ones included.
        retries: How many of those repeated an earlier one.
        deduplicated: Texts that were not sent because the same call held them already.
        cached: Texts that were not sent because the client's `VectorCache` holds their vectors.
    """

    prompt_tokens: int = 0
    total_tokens: int = 0
    credits_used: int = 0
    usd_spent: float = 0.0
    requests: int = 0
    retries: int = 0
    deduplicated: int = 0
    cached: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(  # written out: a loop over the fields takes ten times as long
            self.prompt_tokens + other.prompt_tokens,
            self.total_tokens + other.total_tokens,
            self.credits_used + other.credits_used,
            self.usd_spent + other.usd_spent,
            self.requests + other.requests,
            self.retries + other.retries,
            self.deduplicated + other.deduplicated,
            self.cached + other.cached,
        )


Row: TypeAlias = bytes | list[float]
"""One vector as it was decoded: little-endian float32 from base64, or a list from JSON numbers."""


class Served(NamedTuple):
    """Who answered, as the server names it: not always what was asked for.

    Attributes:
        model: The model's name at its vendor, or None when the server does not tell.
        provider: The vendor or host behind the gateway, or None.
    """

    model: str | None = None
    provider: str | None = None


class Estimate(msgspec.Struct, frozen=True):
    """What a call would cost, before it is made.

    Attributes:
        texts: Texts that were passed.
        to_send: Those that would be sent: each different text once, without those of the cache.
        tokens: Estimated tokens of those, without the model's tokenizer: one for three bytes of
            UTF-8, which is too many for most texts.
        requests: Number of requests, if none is repeated or divided.
        usd: US dollars at the model's published price; None where none is published.
    """

    texts: int
    to_send: int
    tokens: int
    requests: int
    usd: float | None
