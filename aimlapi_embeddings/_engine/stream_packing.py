"""Texts of a stream -> batches, one text after the other.

`planning` sees all texts of a call at once. Here a text is put to others until a request is full;
a batch that is not full stays open, and leaves when somebody asks for it. Texts with different
titles go into different requests, so there is an open batch for each title.
"""

from __future__ import annotations

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._engine.planning import Batch, travels_alone


class Packer:
    """Fills batches in the order of the texts.

    Args:
        model: Supplies the limits of a text.
        batch_size: Most texts in a batch.
        most_tokens: Most estimated tokens in a batch of several texts.
    """

    def __init__(self, model: Model, batch_size: int, most_tokens: float) -> None:
        self._model = model
        self._batch_size = batch_size
        self._most_tokens = most_tokens
        self._open: dict[str | None, Batch] = {}
        self._tokens: dict[str | None, int] = {}

    def __len__(self) -> int:
        """Count the open batches."""
        return len(self._open)

    def add(self, place: int, text: str, tokens: int, title: str | None) -> list[Batch]:
        """Put a text into a batch.

        Args:
            place: In the stream; larger than all before.
            text: As it is sent, prefix included.
            tokens: Of the text, estimated.
            title: Of the text, or None.

        Returns:
            Batches that are full now.
        """
        if travels_alone(text, tokens, self._model):
            return [Batch([place], [text], [tokens], title)]
        full = []
        if self._tokens.get(title, 0) + tokens > self._most_tokens and title in self._open:
            full.append(self._close(title))
        batch = self._open.setdefault(title, Batch([], [], [], title))
        batch.indices.append(place)
        batch.texts.append(text)
        batch.tokens.append(tokens)
        self._tokens[title] = self._tokens.get(title, 0) + tokens
        if len(batch) == self._batch_size:
            full.append(self._close(title))
        return full

    @property
    def first_place(self) -> int | None:
        """The first place that is in an open batch; None when there is none."""
        # The batches are opened in the order of their first places, and a dict keeps that order.
        return next((batch.indices[0] for batch in self._open.values()), None)

    def take_first(self) -> Batch:
        """Close the batch that holds the first place."""
        return self._close(next(iter(self._open)))

    def drop(self) -> None:
        """Forget the open batches."""
        self._open.clear()
        self._tokens.clear()

    def _close(self, title: str | None) -> Batch:
        del self._tokens[title]
        return self._open.pop(title)
