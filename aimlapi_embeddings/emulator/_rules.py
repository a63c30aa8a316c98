"""The vocabulary of the table in `_models`: what a model accepts, refuses and replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from aimlapi_embeddings.emulator._checks import Check
from aimlapi_embeddings.emulator._numbers import NumberFormat

CREATED = 1_767_000_663
"""The `created` of every reply: Unix time of the capture of nugen-flash-embed, 2025-12-29."""

_CREDITS_PER_USD = 2_000_000  # github aimlapi/api-docs, docs/faq/how-can-i-track-my-funds.md

Extra = Mapping[str, object]
Usage = Extra | None

# The vendors' tokenizers would have to be downloaded. This rule counts one token for each full
# four characters of a word, at least one per word, and one for each punctuation mark.
# "Laura is a DJ." has 5 tokens, as it has with OpenAI.
_TOKENS = re.compile(r"\w{4}(?:\w{1,3}(?!\w))?|\w+|[^\w\s]")


def count_tokens(text: str) -> int:
    """Estimate the number of tokens of a text."""
    return len(_TOKENS.findall(text))


def cut_to_tokens(text: str, limit: int) -> str:
    """Return the first `limit` tokens of a text."""
    past_limit = next(islice(_TOKENS.finditer(text), limit, None), None)
    return text if past_limit is None else text[: past_limit.start()]


def count_characters(text: str) -> int:
    """Count the characters that are not white space; the Google sample's usage equals that."""
    return sum(map(len, text.split()))


class Limits(NamedTuple):
    """The limits of one request; None where none is known."""

    texts: int | None = None
    tokens_per_text: int | None = None
    tokens_per_request: int | None = None
    chars_of_string: int | None = None
    chars_of_item: int | None = None


class Wording(NamedTuple):
    """The vendor's messages about exceeded limits, which the gateway passes on unchanged."""

    texts: str = "Too many texts: {actual}, at most {limit} are allowed."
    tokens_per_text: str = "Text too long: {actual} tokens, at most {limit} are allowed."
    tokens_per_request: str = "Request too long: {actual} tokens, at most {limit} are allowed."


def both_counts(tokens: int) -> Usage:
    """Build the `usage` of OpenAI."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The rules of one model.

    Attributes:
        native: Numbers in a vector when `dimensions` is not given.
        options: The body keys that the published schema lists beside `model` and `input`, with
            the check of each.
        limits: Limits of one request.
        wording: The messages about exceeded limits.
        arrays: Whether `input` may be an array.
        min_chars_of_item: Fewest characters of a text in an array.
        truncates: Whether a text above `limits.tokens_per_text` is cut instead of refused.
        instruction: A prefix of a text that marks it as a query and is not part of its content.
        base64: Whether `encoding_format: "base64"` is honoured; otherwise it is ignored.
        counts: Counts the billed units of one text.
        usd_per_million: Price of a million units in USD; 0 where no price is published.
        maker: The vendor's prefix in the gateway's canonical ids.
        listed: Whether the gateway's catalogue lists the model.
        echo: The `model` of the reply, where it differs from the model's id.
        usage: Makes the `usage` of the reply from the count.
        reply_extra: Makes further fields of the reply from an id.
        item_extra: Further fields of each item of `data`.
        meta: Whether the reply has `meta`.
        lengths: Smallest and largest L2 norm of the vectors.
        number_format: The format that the numbers of a vector fit in.
        object: The `object` of the reply.
    """

    native: int
    options: Mapping[str, Check] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    wording: Wording = field(default_factory=Wording)
    arrays: bool = True
    min_chars_of_item: int = 1
    truncates: bool = False
    instruction: str = ""
    base64: bool = True
    counts: Callable[[str], int] = count_tokens
    usd_per_million: float = 0.0
    maker: str = ""
    listed: bool = False
    echo: str = ""
    usage: Callable[[int], Usage] = both_counts
    reply_extra: Callable[[str], Extra] = lambda _: {}
    item_extra: Extra = field(default_factory=dict)
    meta: bool = True
    lengths: tuple[float, float] = (1.0, 1.0)
    number_format: NumberFormat = "float32"
    object: str = "list"

    def canonical_id(self, model: str) -> str:
        """Return the id of a model as the gateway's catalogue and `meta.model` have it."""
        return model if "/" in model else f"{self.maker}/{model}"

    def credits(self, units: int) -> int:
        """Return the price of a request in credits, rounded up, at least 1.

        This agrees with the credits of every published sample whose price is known.
        """
        per_million = round(self.usd_per_million * _CREDITS_PER_USD)
        return max(1, -(-units * per_million // 1_000_000))


def credits_to_usd(credits: int) -> float:
    """Convert credits to US dollars."""
    return credits / _CREDITS_PER_USD
