"""What does a subclass of the user's embed itself, and do its vectors fit the texts?"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getattr_static

from llama_index.core.base.embeddings.base import Embedding


def replaces(subclass: type, ours: type, hook: str) -> bool:
    """Tell whether a subclass has another method than ours under this name."""
    return getattr_static(subclass, hook) is not getattr_static(ours, hook)


def missing_from(known: Mapping[int, Embedding], texts: list[str]) -> list[str]:
    """Return the texts to embed, duplicates too: what is done with them is not known here."""
    return [text for i, text in enumerate(texts) if i not in known] if known else texts


def filled_in(
    known: Mapping[int, Embedding], embedded: list[Embedding], texts: list[str], name: str
) -> list[Embedding]:
    """Put what a subclass has embedded between what was known.

    Args:
        known: Vectors by the place of their text.
        embedded: One for each other text, in order.
        texts: All of them.
        name: Of the subclass.
    """
    if len(texts) != len(known) + len(embedded):
        raise ValueError(
            f"{name} returned {len(embedded)} vectors for {len(texts) - len(known)} texts."
        )
    rest = iter(embedded)
    return [known[i] if i in known else next(rest) for i in range(len(texts))]
