"""The recorded models, written out so that a change of the family table is noticed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class RecordedModel(NamedTuple):
    """One model.

    Attributes:
        family: Its family.
        id: Its id.
        size: Floats of a vector when no size is asked for.
        aliases: Its further ids.
        sizes: Smallest and largest size that can be requested; empty if the size is fixed.
        most_texts: Texts that fit in one request.
        most_tokens_of_a_text: Estimated tokens of a text that may share a request; None where
            nothing is known, or where another limit is met first.
        served: Whether the live service has it today.
    """

    family: str
    id: str
    size: int
    aliases: tuple[str, ...] = ()
    sizes: Sequence[int] = ()
    most_texts: int = 100
    most_tokens_of_a_text: int | None = None
    served: bool = True


GOOGLE = "text-multilingual-embedding-002"
M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
QWEN = "alibaba/qwen-text-embedding-{}"
UNKNOWN = "emulated/of-tomorrow"


def _gecko(name: str, most_tokens: int) -> RecordedModel:
    id = f"textembedding-gecko{name}"
    return RecordedModel("google", id, 768, (), (1, 768), 5, most_tokens, served=False)


def _openai(name: str, size: int, sizes: Sequence[int]) -> RecordedModel:
    id = f"text-embedding-{name}"
    return RecordedModel("openai", id, size, (f"openai/{id}",), sizes, 2048, 8192)


def _voyage(name: str, size: int) -> RecordedModel:
    return RecordedModel("voyage", f"voyage-{name}", size, (f"anthropic/voyage-{name}",), (), 1000)


def _qwen(version: str, largest: int) -> RecordedModel:
    aliases = (f"alibaba/text-embedding-{version}", f"text-embedding-{version}")
    return RecordedModel("qwen", QWEN.format(version), 1024, aliases, (64, largest), 10, 8192)


RECORDED_MODELS: tuple[RecordedModel, ...] = (
    RecordedModel("google", GOOGLE, 768, (f"google/{GOOGLE}",), (1, 768), 250, 2048),
    _gecko("@001", 3072),
    _gecko("@003", 2048),
    _gecko("-multilingual@001", 2048),
    RecordedModel("google", "text-embedding-004", 768, (), (1, 768), 250, 2048, served=False),
    _openai("3-small", 1536, (1, 1536)),
    _openai("3-large", 3072, (1, 3072)),
    _openai("ada-002", 1536, ()),
    _voyage("2", 1024),
    _voyage("code-2", 1536),
    _voyage("large-2", 1536),
    _voyage("large-2-instruct", 1024),
    _voyage("law-2", 1024),
    _voyage("finance-2", 1024),
    _voyage("multilingual-2", 1024),
    RecordedModel("bge", "BAAI/bge-base-en-v1.5", 768, most_tokens_of_a_text=512, served=False),
    RecordedModel("bge", "BAAI/bge-large-en-v1.5", 1024, most_tokens_of_a_text=512, served=False),
    RecordedModel("m2-bert", M2.format("2k"), 768, most_texts=1, served=False),
    RecordedModel("m2-bert", M2.format("8k"), 768, most_texts=1, served=False),
    RecordedModel("m2-bert", M2.format("32k"), 768, most_tokens_of_a_text=32_768, served=False),
    _qwen("v3", 1024),
    _qwen("v4", 2048),
    # A test model, possibly closed to ordinary keys.
    RecordedModel("generic", "test/dummy-embeddings", 1024, sizes=(1, 3072), served=False),
    RecordedModel("nugen", "nugen-flash-embed", 768, sizes=(1, 4096)),
    RecordedModel("nugen", "qwen3-embedding-8b", 4096, sizes=(1, 4096)),
)


class Usual(NamedTuple):
    """The model that represents its family where any of its models would do.

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


EIGHT = {"dimensions": 8}
_ZERO = {"dimensions": 0}
USUAL: Mapping[str, Usual] = {
    "google": Usual(GOOGLE, 768, EIGHT, 8, _ZERO),
    "openai": Usual("text-embedding-3-small", 1536, EIGHT, 8, _ZERO),
    "voyage": Usual("voyage-2", 1024, {}, 1024, {"input_type": "query"}),
    "bge": Usual("BAAI/bge-base-en-v1.5", 768, {}, 768, EIGHT, served=False),
    "m2-bert": Usual(M2.format("32k"), 768, {}, 768, EIGHT, served=False),
    "qwen": Usual(QWEN.format("v3"), 1024, {"dimensions": 64}, 64, EIGHT),
    "nugen": Usual("nugen-flash-embed", 768, EIGHT, 8, _ZERO),
    "generic": Usual(UNKNOWN, 64, EIGHT, 8, _ZERO, served=False),
}
