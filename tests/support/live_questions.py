"""Open questions that only a live call answers: the request for each. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

LAURA = "Laura is a DJ."
SMALL, LARGE, ADA = "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"
GOOGLE = "text-multilingual-embedding-002"
VOYAGE = "voyage-2"
V3, V4 = "alibaba/qwen-text-embedding-v3", "alibaba/qwen-text-embedding-v4"
FLASH, QWEN3 = "nugen-flash-embed", "qwen3-embedding-8b"


class Probe(NamedTuple):
    """One raw request; the client itself would refuse many of these."""

    question: str
    provider: str
    model: str
    input: Any = LAURA
    fields: Mapping[str, Any] = {}
    key: str | None = None
    """Replaces the real key."""


def texts(count: int) -> list[str]:
    return [str(i) for i in range(count)]


def _gateway(question: str, model: str, input: Any = LAURA, **fields: Any) -> Probe:
    return Probe(question, "aimlapi", model, input, fields)


def _nugen(question: str, model: str = FLASH, input: Any = LAURA, **fields: Any) -> Probe:
    return Probe(question, "nugen", model, input, fields)


PROBES: tuple[Probe, ...] = (
    _gateway("how many texts may an array have?", SMALL, texts(2049)),
    _gateway("how many texts may an array have?", GOOGLE, texts(251)),
    _gateway("how many texts may an array have?", VOYAGE, texts(1001)),
    _gateway("how many texts may an array have? (11, over the vendor's 10)", V3, texts(11)),
    _gateway("what comes of input_type query?", VOYAGE, input_type="query"),
    _gateway("what comes of an unknown key? (openai)", SMALL, user="me"),
    _gateway("what comes of an unknown key? (google)", GOOGLE, user="me"),
    _gateway("does ada-002 take dimensions?", ADA, dimensions=256),
    _gateway("does 3-small take 3072 dimensions?", SMALL, dimensions=3072),
    _gateway("does qwen take dimensions that are not listed?", V3, dimensions=100),
    _gateway("does qwen v3 take 2048 dimensions?", V3, dimensions=2048),
    _gateway("does base64 come back outside of openai?", GOOGLE, encoding_format="base64"),
    _gateway("does base64 come back outside of openai?", VOYAGE, encoding_format="base64"),
    _gateway("does base64 come back outside of openai?", V3, encoding_format="base64"),
    _gateway("what comes of an empty string?", SMALL, ""),
    _gateway("what comes of an empty string in an array?", VOYAGE, ["a", ""]),
    _gateway("what comes of an empty array?", SMALL, []),
    _gateway("are token ids taken?", SMALL, [43, 8838, 374]),
    _gateway("what comes of a text that is too long?", SMALL, "word " * 9000),
    _gateway("what comes of a text that is too long?", GOOGLE, "word " * 2500),
    _gateway("the same, told not to cut", GOOGLE, "word " * 2500, auto_truncate=False),
    _gateway("what comes of a text that is too long? (8,001 characters)", VOYAGE, "x" * 8001),
    _gateway("what comes of 801 characters in an array?", VOYAGE, ["x" * 801]),
    _gateway("what comes of a text that is too long?", V3, "word " * 9000),
    _gateway("what is v4's own size and echo?", V4),
    _gateway("what does google count? (24 characters, few tokens)", GOOGLE, "a" * 24),
    _gateway("in which order is data? (first, second, third)", GOOGLE, ["a", "b", "c"]),
    _gateway("in which order is data? (first, second, third)", VOYAGE, ["a", "b", "c"]),
    _gateway("how large may a body be? (2 MB)", SMALL, "word " * 400_000),
    _gateway("is the test model open to this key?", "test/dummy-embeddings", dimensions=8),
    Probe("what does a wrong key get?", "aimlapi", SMALL, key="no-such-key"),
    _nugen("is nugen-flash-embed alive, and which fields does its reply have?"),
    _nugen("which fields does its reply have?", QWEN3),
    _nugen("how many texts may an array have?", input=texts(101)),
    _nugen("what comes of a long text?", input="word " * 9000),
    _nugen("what comes of dimensions out of range?", dimensions=0),
    _nugen("what comes of dimensions out of range?", dimensions=100_000),
    _nugen("is encoding_format honoured?", encoding_format="base64"),
    Probe("401 or 403 for a wrong key?", "nugen", FLASH, key="no-such-key"),
)

UNANSWERED = (
    "the body and Retry-After of a 429 (not provoked on purpose; shown above if one came)",
    "time limits (shown above: the seconds each request took)",
)
