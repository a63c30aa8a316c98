"""Texts -> batches.

How this works: each text gets its prefix, duplicates are removed, and the rest is packed in order.
A batch is full when it holds as many texts or estimated tokens as a request may carry. Texts that
must not share a request (too long for an array, or for the model) are sent alone; texts with
different titles go into different requests, since a request has one title. Batches are then made
smaller where that takes no more time: with `max_concurrency=4`, five requests take two round trips,
and eight smaller ones take the same two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from aimlapi_embeddings._catalog.families import Family, Model
from aimlapi_embeddings._errors import InvalidInputError
from aimlapi_embeddings._protocol.request import fits_in_array
from aimlapi_embeddings._slices import Work

# Below this, a smaller request answers no sooner, and the overhead of each one shows.
_LEAST_TEXTS_PER_CUT = 64
# 64 MiB of base64. More at a time costs more in fresh memory than it saves in requests: 20,000
# texts of 1,536 numbers, 16 requests in flight, took a third longer at 1,250 texts each.
_NUMBERS_IN_FLIGHT = 16 * 512 * 1536
# UTF-8 bytes to a token: English has about 4, code and CJK about 3 (a character of the latter is
# one token or a little more). With 3 the estimate is rather too high.
_BYTES_PER_TOKEN = 3
_TEXTS_PER_STEP = 1024


class Batch(msgspec.Struct, frozen=True):
    """Texts that share one request.

    Attributes:
        indices: Their places in the caller's list.
        texts: As they are sent, prefix included.
        tokens: Estimated, for each text.
        title: Of all of them, or None.
    """

    indices: list[int]
    texts: list[str]
    tokens: list[int]
    title: str | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def cut(self, max_texts: float, max_tokens: float = math.inf) -> Iterator[Batch]:
        """Cut into batches of so many texts and tokens at most; a text may have more tokens."""
        start, tokens = 0, 0
        for i, weight in enumerate(self.tokens):
            if i > start and (i - start == max_texts or tokens + weight > max_tokens):
                yield self.part(start, i)
                start, tokens = i, 0
            tokens += weight
        yield self.part(start, len(self)) if start else self

    def part(self, start: int, stop: int) -> Batch:
        """Take the texts from start to stop."""
        part = slice(start, stop)
        return Batch(self.indices[part], self.texts[part], self.tokens[part], self.title)


class Plan(NamedTuple):
    """What has to be sent, and which places get a copy of another place's vector."""

    batches: list[Batch]
    copies: list[tuple[int, int]]
    """(place, the place of the same text)."""


def estimate_tokens(text: str) -> int:
    """Estimate how many tokens a text has; no tokenizer is at hand for most of these models."""
    size = len(text) if text.isascii() else len(text.encode())
    return size // _BYTES_PER_TOKEN + 1


def billed_tokens(batch: Batch, family: Family) -> int:
    """Estimate how many tokens the reply to a batch will tell, and the price is for."""
    return sum(map(len, batch.texts)) if family.counts_characters else sum(batch.tokens)


def most_texts(model: Model, dimensions: int | None, max_concurrency: int) -> int:
    """Tell how many texts a request may carry when so many requests are in flight."""
    numbers = dimensions or model.native_dimensions
    if numbers is None:
        return model.max_texts_per_request
    fitting = _NUMBERS_IN_FLIGHT // (numbers * max_concurrency)
    return min(model.max_texts_per_request, max(_LEAST_TEXTS_PER_CUT, fitting))


def plan_batches(
    texts: Sequence[str],
    model: Model,
    *,
    batch_size: int,
    max_concurrency: int,
    prefix: str = "",
    fit: Callable[[int, str], str] | None = None,
    titles: Sequence[str | None] | None = None,
    max_tokens: float = math.inf,
    packed_tokens: float = math.inf,
    known: Collection[int] = (),
) -> Work[Plan]:
    """Decide what is sent together.

    Args:
        texts: n checked texts, in the caller's order.
        model: Supplies the limits.
        batch_size: At most this many texts in a batch.
        max_concurrency: How many batches may be in flight.
        prefix: Put in front of each text.
        fit: Called as `fit(place, text)`; returns what is sent of a text. None: all of it.
        titles: n titles or None.
        max_tokens: Most tokens that the user's rate, or rate limiter, can ever grant at once.
        packed_tokens: Most tokens of several texts in a batch, where rates ask for that.
        known: Places whose vectors are there already; their texts are not sent.

    Raises:
        InvalidInputError: A text has more tokens than can ever be granted.

    Returns:
        Batches that hold each different text once, in order, and the places of repeated texts.
    """
    first: dict[Any, int] = {}
    copies = []
    for i, text in enumerate(texts):
        if i in known:
            continue
        key = text if titles is None else (text, titles[i])
        place = first.setdefault(key, i)
        if place != i:
            copies.append((i, place))
        if (i + 1) % _TEXTS_PER_STEP == 0:
            yield
    alone: list[Batch] = []
    together: dict[str | None, Batch] = {}
    for n, i in enumerate(first.values()):
        if fit or (n + 1) % _TEXTS_PER_STEP == 0:
            yield  # to cut one long text takes up to a millisecond
        title = titles[i] if titles else None
        sent = prefix + (fit(i, texts[i]) if fit else texts[i])
        tokens = estimate_tokens(sent)
        if tokens > max_tokens:
            raise never_granted(i, tokens, max_tokens)
        if travels_alone(sent, tokens, model):
            alone.append(Batch([i], [sent], [tokens], title))
        else:
            whole = together.setdefault(title, Batch([], [], [], title))
            whole.indices.append(i)
            whole.texts.append(sent)
            whole.tokens.append(tokens)
    wholes = [*together.values()]
    tokens_at_most = min(most_tokens(model, max_tokens), packed_tokens)
    batches = yield from _fill_waves(wholes, alone, tokens_at_most, batch_size, max_concurrency)
    return Plan(sorted(batches, key=lambda batch: batch.indices[0]), copies)


def never_granted(place: int, tokens: int, max_tokens: float) -> InvalidInputError:
    """Make the error of a text that would wait for ever for its share of the rate limit."""
    why = (
        f"has about {tokens:,} tokens, more than tokens_per_minute={max_tokens:.15g} can ever grant"
    )
    return InvalidInputError(
        f"texts[{place}] {why}. Raise that, or split the text.", (place,), {place: why}
    )


def most_tokens(model: Model, max_tokens: float) -> float:
    """Tell how many estimated tokens a request may carry, of so many that are granted at once."""
    return min(model.max_tokens_per_request or math.inf, max_tokens)


def travels_alone(text: str, tokens: int, model: Model) -> bool:
    """Tell whether a text is too long to share a request, or for the model, as published."""
    most = min(
        model.max_tokens_per_text or math.inf,
        model.max_tokens_per_request or math.inf,
    )
    return tokens > most or not fits_in_array(text, model)


def even_size(texts: int, batch_size: int, max_concurrency: int) -> int:
    """Tell how many texts a request carries when so many texts are cut evenly."""
    most = _whole_waves(math.ceil(texts / batch_size), max_concurrency)
    return min(batch_size, max(_LEAST_TEXTS_PER_CUT, math.ceil(texts / max(most, 1))))


def _whole_waves(requests: int, max_concurrency: int) -> int:
    return math.ceil(requests / max_concurrency) * max_concurrency


def _fill_waves(
    wholes: Sequence[Batch],
    alone: Sequence[Batch],
    most_tokens: float,
    batch_size: int,
    max_concurrency: int,
) -> Work[list[Batch]]:
    """Cut into even batches: as many as need no more round trips than full batches would."""

    def cut(size: int) -> Work[list[Batch]]:
        batches = [*alone]
        for whole in wholes:
            for part in whole.cut(size, most_tokens):
                batches.append(part)
                yield
        return batches

    full = yield from cut(batch_size)
    if len(full) == 1 and len(full[0]) <= _LEAST_TEXTS_PER_CUT:
        return full
    most = _whole_waves(len(full), max_concurrency)
    texts = sum(map(len, wholes))
    size = max(_LEAST_TEXTS_PER_CUT, math.ceil(texts / max(most - len(alone), 1)))
    while size < min(batch_size, texts):
        even = yield from cut(size)
        if len(even) <= most:
            return even
        size += math.ceil(size / 4)  # titles and tokens cut in too: try less even
    return full
