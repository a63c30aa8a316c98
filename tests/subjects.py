"""Which models are on tape, written out: a row that the family table loses is missed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Subject(NamedTuple):
    """What stands for a family where any of its models would do.

    Attributes:
        model: Its id.
        size: Floats of a vector.
        small: Options that make vectors small, where the family can.
        small_size: Floats of those.
        refused: Fields that do not pass the family's validation.
        served: Whether the live service has it.
    """

    model: str
    size: int
    small: Mapping[str, Any]
    small_size: int
    refused: Mapping[str, Any]
    served: bool = True


GOOGLE = "text-multilingual-embedding-002"
M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
UNKNOWN = "emulated/of-tomorrow"
EIGHT = {"dimensions": 8}
_ZERO = {"dimensions": 0}
SUBJECTS: Mapping[str, Subject] = {
    "google": Subject(GOOGLE, 768, EIGHT, 8, _ZERO),
    "openai": Subject("text-embedding-3-small", 1536, EIGHT, 8, _ZERO),
    "voyage": Subject("voyage-2", 1024, {}, 1024, {"input_type": "query"}),
    "bge": Subject("BAAI/bge-base-en-v1.5", 768, {}, 768, EIGHT, served=False),
    "m2-bert": Subject(M2.format("32k"), 768, {}, 768, EIGHT, served=False),
    "qwen": Subject("alibaba/qwen-text-embedding-v3", 1024, {"dimensions": 64}, 64, EIGHT),
    "nugen": Subject("nugen-flash-embed", 768, EIGHT, 8, _ZERO),
    "generic": Subject(UNKNOWN, 64, EIGHT, 8, _ZERO, served=False),
}

# Every model of the family table: family, id, floats of a vector, whether it is served today, and
# its further ids.
MODELS: tuple[tuple[str, str, int, bool, tuple[str, ...]], ...] = (
    ("google", GOOGLE, 768, True, (f"google/{GOOGLE}",)),
    ("google", "textembedding-gecko@001", 768, False, ()),
    ("google", "textembedding-gecko@003", 768, False, ()),
    ("google", "textembedding-gecko-multilingual@001", 768, False, ()),
    ("google", "text-embedding-004", 768, False, ()),
    ("openai", "text-embedding-3-small", 1536, True, ("openai/text-embedding-3-small",)),
    ("openai", "text-embedding-3-large", 3072, True, ("openai/text-embedding-3-large",)),
    ("openai", "text-embedding-ada-002", 1536, True, ("openai/text-embedding-ada-002",)),
    ("voyage", "voyage-2", 1024, True, ("anthropic/voyage-2",)),
    ("voyage", "voyage-code-2", 1536, True, ("anthropic/voyage-code-2",)),
    ("voyage", "voyage-large-2", 1536, True, ("anthropic/voyage-large-2",)),
    ("voyage", "voyage-large-2-instruct", 1024, True, ("anthropic/voyage-large-2-instruct",)),
    ("voyage", "voyage-law-2", 1024, True, ("anthropic/voyage-law-2",)),
    ("voyage", "voyage-finance-2", 1024, True, ("anthropic/voyage-finance-2",)),
    ("voyage", "voyage-multilingual-2", 1024, True, ("anthropic/voyage-multilingual-2",)),
    ("bge", "BAAI/bge-base-en-v1.5", 768, False, ()),
    ("bge", "BAAI/bge-large-en-v1.5", 1024, False, ()),
    ("m2-bert", M2.format("2k"), 768, False, ()),
    ("m2-bert", M2.format("8k"), 768, False, ()),
    ("m2-bert", M2.format("32k"), 768, False, ()),
    (
        "qwen",
        "alibaba/qwen-text-embedding-v3",
        1024,
        True,
        ("alibaba/text-embedding-v3", "text-embedding-v3"),
    ),
    (
        "qwen",
        "alibaba/qwen-text-embedding-v4",
        1024,
        True,
        ("alibaba/text-embedding-v4", "text-embedding-v4"),
    ),
    ("generic", "test/dummy-embeddings", 1024, False, ()),
    ("nugen", "nugen-flash-embed", 768, True, ()),
    ("nugen", "qwen3-embedding-8b", 4096, True, ()),
)
