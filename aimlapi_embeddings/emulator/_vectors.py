"""Lexical vectors: texts that share words get similar vectors. Meaning plays no part.

Each distinct word adds to a few buckets, with a sign each: one bucket for the word itself, and with
less weight those of its character n-grams, so that "sorted" is near "sorting". Three weights make
short questions find long texts: common English words count little, repeated words count by the
logarithm of their number, and a word counts the less the later it first occurs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

_WORDS = re.compile(r"[^\W_]+|[^\w\s]+")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# English words that say little about a text, the words of questions among them.
_COMMON_WORDS = (
    "a about above after all also am an and any are as at be been before being below between both "
    "but by can could did do does doing done down each every find for from get give given gives "
    "had has have he her here him his how i if in into is it its itself just let like made make "
    "many may me might more most much must my need no nor not of off on once one only or other "
    "our out over own same shall she should so some such take than that the their them then "
    "there these they this those through to too under until up upon us use used uses using very "
    "via want was way we were what when where whether which while who whom why will with without "
    "would you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())

_COMMON_WEIGHT = 0.15
_PUNCTUATION_WEIGHT = 0.05
_NGRAM_WEIGHT = 0.35
_NGRAM_SIZE = 4
_LEAD = 15.0
"""The number of distinct words after which a further one counts half."""

Buckets = tuple[tuple[int, float], ...]


def lexical_vector(
    text: str, dimensions: int, *, space: str = "", blend: tuple[tuple[str, float], ...] = ()
) -> list[float]:
    """Compute the unit vector of a text; the empty text has one too.

    Args:
        text: Any text.
        dimensions: Numbers in the vector, at least 1. A smaller vector is not a prefix of a larger.
        space: Vectors of different spaces are unrelated.
        blend: Further texts to add, each with its weight relative to the main text.
    """
    vector = _direction(text, dimensions, space)
    for other, share in blend:
        addition = _direction(other, dimensions, space)
        vector = [x + share * y for x, y in zip(vector, addition, strict=True)]
    return _unit(vector) or _one_bucket(text, dimensions, space)


def _direction(text: str, dimensions: int, space: str) -> list[float]:
    vector = [0.0] * dimensions
    for place, (word, count) in enumerate(Counter(_WORDS.findall(text)).items()):
        weight = (1.0 + math.log(count)) / (1.0 + place / _LEAD)
        for bucket, value in _buckets(word, dimensions, space):
            vector[bucket] += weight * value
    return _unit(vector) or _one_bucket(text, dimensions, space)


def _unit(vector: list[float]) -> list[float]:
    """Scale to length 1; [] for a vector of zeros."""
    if norm := math.hypot(*vector):
        return [x / norm for x in vector]
    return []


def _one_bucket(text: str, dimensions: int, space: str) -> list[float]:
    """Make the vector of a text that has no words, or whose words cancel each other."""
    vector = [0.0] * dimensions
    bucket, sign = _hash(text, dimensions, space)
    vector[bucket] = sign
    return vector


@lru_cache(maxsize=1 << 14)
def _buckets(word: str, dimensions: int, space: str) -> Buckets:
    buckets = []
    for feature, weight in _features(word):
        bucket, sign = _hash(feature, dimensions, space)
        buckets.append((bucket, sign * weight))
    return tuple(buckets)


def _features(word: str) -> Iterator[tuple[str, float]]:
    if not word[0].isalnum():
        yield word, _PUNCTUATION_WEIGHT
        return
    yield from _word_features(word.lower())
    humps = _HUMPS.findall(word)
    if len(humps) > 1:  # JSONDecoder is also a decoder
        for hump in humps:
            yield from _word_features(hump.lower())


def _word_features(word: str) -> Iterator[tuple[str, float]]:
    if word in _COMMON:
        yield word, _COMMON_WEIGHT
        return
    yield word, 1.0
    if not word.isascii():  # many scripts have no spaces or short words
        yield from ((f"{a}{b}", _NGRAM_WEIGHT) for a, b in pairwise(word))
        return
    marked = f"^{word}$"
    for start in range(len(marked) - _NGRAM_SIZE + 1):
        yield f"{marked[start : start + _NGRAM_SIZE]}*", _NGRAM_WEIGHT


def _hash(feature: str, dimensions: int, space: str) -> tuple[int, float]:
    """Return bucket and sign of a feature, the same on every machine and in every process."""
    data = f"{space}\0{feature}".encode(errors="surrogatepass")
    number = int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
    return (number >> 1) % dimensions, 1.0 if number & 1 else -1.0
