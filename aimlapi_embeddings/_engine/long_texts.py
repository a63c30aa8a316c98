"""What is sent of a text that is longer than the model takes?

How this works: with `too_long="truncate"` a family that has no field for it gets the beginning of
such a text, cut here. No tokenizer is at hand, so the first cut is at the size at which English
prose fits. What is denser is refused, at no charge, and sent again shorter, until it is accepted. A
text is cut behind a word where one ends near, and never inside of a character.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left
from collections import Counter

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._protocol.request import length_of, most_chars

# Weights in twelfths of a token: four ASCII bytes, or three others, are taken for one. OpenAI's
# cl100k_base has 4.7 bytes to a token in English prose (the GPL), 4.1 to 4.4 in the code and the
# docstrings of Python's library, 3.7 in Markdown, 2.8 in Chinese and Japanese, 1.4 in base64.
_TOKEN, _ASCII, _OTHER = 12, 3, 4
_ENDS = 2  # tokens that some models put around a text
# What is sent of a text that was refused, as a part of what was sent before: a text that was cut to
# a known limit is near it; where no limit is known, how near cannot be told.
_NEXT, _NEXT_UNKNOWN = 0.75, 0.5
_MOST_REFUSALS = 8  # of one text. 0.75 ** 8 is a tenth, for less than half a byte to a token
# A token has one byte at least, and no model takes fewer tokens than this: what is shorter was not
# refused for its length.
_LEAST_BYTES = 512
_LONGEST_CHARACTER = 32  # code points that are looked at
_JOINER = "\u200d"  # of emoji
_LAST_WORD = re.compile(r"\s+\S*\Z")


class Shortener:
    """Cuts the texts of one call that are longer than the model takes.

    Args:
        model: Supplies the limits.
        prefix: In front of each text; it stays whole.

    Attributes:
        prefix: As given.
        kept: By place, how many characters of a text are sent, where that is not all of them.
    """

    def __init__(self, model: Model, prefix: str) -> None:
        self.kept: dict[int, int] = {}
        self.prefix = prefix
        self._refusals: Counter[int] = Counter()
        self._limit = model.max_tokens_per_text
        self._weight = None if self._limit is None else _TOKEN * (self._limit - _ENDS)
        self._chars = most_chars(model)
        # No character has more than two code units, or one and a third tokens.
        least = min(limit for limit in (self._limit, self._chars, math.inf) if limit)
        self._fits = least / 2 - len(prefix) - _ENDS  # characters

    def fit(self, place: int, text: str) -> str:
        """Return a text, or the beginning of it that the model is likely to take."""
        if len(text) <= self._fits:
            return text
        return self._begin(place, text, self._weight) or text

    def after_refusal(self, place: int, sent: str) -> str | None:
        """Return what to send of a text after a refusal for its size, or None to give it up.

        Args:
            place: Of the text.
            sent: What was refused, behind its prefix.
        """
        self._refusals[place] += 1
        if self._refusals[place] > _MOST_REFUSALS or len(sent.encode()) < _LEAST_BYTES:
            return None
        part = _NEXT_UNKNOWN if self._limit is None and self._chars is None else _NEXT
        return self._begin(place, sent[len(self.prefix) :], int(part * _weight_of(sent)))

    def _begin(self, place: int, text: str, weight: int | None) -> str | None:
        """Return as much of a text as has this weight behind the prefix; None for nothing."""

        def exceeds(end: int) -> bool:
            sent = self.prefix + text[:end]
            return (weight is not None and _weight_of(sent) > weight) or (
                self._chars is not None and length_of(sent) > self._chars
            )

        most = len(text) if weight is None else min(len(text), weight // _ASCII)
        end = bisect_left(range(most + 1), True, key=exceeds) - 1
        if end == len(text):
            return text
        if end <= 0:
            return None
        end = end_of_words(text, end)
        self.kept[place] = end
        return text[:end]


def _weight_of(text: str) -> int:
    size = len(text.encode())
    ascii = size if text.isascii() else len(text.encode("ascii", "ignore"))
    return _ASCII * ascii + _OTHER * (size - ascii)


def end_of_words(text: str, most: int) -> int:
    """Find where to cut a text of more than `most` characters, at `most` or a little before it.

    Behind a word, if one ends in the last eighth; else behind a character, with what belongs to it.

    Args:
        text: Longer than `most`.
        most: Code points, 1 at least.

    Returns:
        From 1 to `most`.
    """
    start = most - most // 8
    if text[most].isspace():
        end = len(text[:most].rstrip())
    else:
        word = _LAST_WORD.search(text, start, most)
        end = word.start() if word else 0
    if end >= max(start, 1):
        return end
    for end in range(most, max(most - _LONGEST_CHARACTER, 0), -1):
        if not _belong_together(text[end - 1], text[end]):
            return end
    return most


def _belong_together(before: str, after: str) -> bool:
    """Tell whether two code points show as one character: accents, emoji, flags."""
    return (
        unicodedata.category(after)[0] == "M"
        or _JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # colours of skin
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")
    )
