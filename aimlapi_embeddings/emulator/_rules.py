"""What a model takes, refuses and gives back: the vocabulary of the table in `_models`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from aimlapi_embeddings.emulator._checks import Check
from aimlapi_embeddings.emulator._numbers import Grid

CREATED = 1_767_000_663
"""When every reply was made: the capture of nugen-flash-embed, 2025-12-29."""

Extra = Mapping[str, object]
Usage = Extra | None

# The real tokenizers are downloads. This rule gives a token for every full four characters of a
# word, at least one, and one for each sign. "Laura is a DJ." has 5, as it has with OpenAI.
_TOKENS = re.compile(r"\w{4}(?:\w{1,3}(?!\w))?|\w+|[^\w\s]")


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return len(_TOKENS.findall(text))


def cut_to_tokens(text: str, limit: int) -> str:
    """Keep the first `limit` tokens of a text."""
    past_limit = next(islice(_TOKENS.finditer(text), limit, None), None)
    return text if past_limit is None else text[: past_limit.start()]


def count_characters(text: str) -> int:
    """Count the characters that are not white space, which Google bills."""
    return sum(map(len, text.split()))


class Limits(NamedTuple):
    """How much one request may hold; None where nothing is known."""

    texts: int | None = None
    tokens_per_text: int | None = None
    tokens_per_request: int | None = None
    chars_of_string: int | None = None
    chars_of_item: int | None = None


class Wording(NamedTuple):
    """How the vendor says that a limit was passed, the gateway handing it on as it is."""

    texts: str = "Too many texts: {actual}, at most {limit} are allowed."
    tokens_per_text: str = "Text too long: {actual} tokens, at most {limit} are allowed."
    tokens_per_request: str = "Request too long: {actual} tokens, at most {limit} are allowed."


def both_counts(tokens: int) -> Usage:
    """Usage as OpenAI gives it."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One model, or one family with what its models share.

    Attributes:
        native: Length of a vector when none is asked for.
        options: The body keys taken beside `model` and `input`, with a check each.
        limits: Most texts, tokens and characters.
        wording: The vendor's words when a limit is passed.
        arrays: Whether `input` may be an array.
        min_chars_of_item: Fewest characters of an array's text.
        truncates: Whether a text above `limits.tokens_per_text` is cut instead of refused.
        instruction: A text in front of `input` that marks a query and is not content.
        counts: Counts what is billed of one text.
        credits: Fewest credits a request costs.
        echo: The name in the reply, where it is not the model's id.
        usage: Turns the count into the `usage` of the reply.
        reply_extra: Further fields of the reply, made from an id.
        item_extra: Further fields of each vector's object.
        meta: Whether the reply has `meta`.
        lengths: Shortest and longest vector given, in L2 norm.
        grid: The numbers a vector is made of.
        object: What the reply calls itself.
    """

    native: int
    options: Mapping[str, Check] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    wording: Wording = field(default_factory=Wording)
    arrays: bool = True
    min_chars_of_item: int = 1
    truncates: bool = False
    instruction: str = ""
    counts: Callable[[str], int] = count_tokens
    credits: int = 1
    echo: str = ""
    usage: Callable[[int], Usage] = both_counts
    reply_extra: Callable[[str], Extra] = lambda _: {}
    item_extra: Extra = field(default_factory=dict)
    meta: bool = True
    lengths: tuple[float, float] = (1.0, 1.0)
    grid: Grid = "float32"
    object: str = "list"
