"""What has come back so far, and does one refused text end the call?"""

from __future__ import annotations

from collections import Counter

from aimlapi_embeddings._errors import BadRequestError, ReplyError
from aimlapi_embeddings._flow import Deliver, reason_of
from aimlapi_embeddings._planning import Plan
from aimlapi_embeddings._response import size_of
from aimlapi_embeddings._types import PartialResult, Progress, Row, Usage, to_vector


class Collector:
    """Places the vectors of one call; used in the caller's thread or event loop alone."""

    def __init__(self, texts: int, plan: Plan, progress: Progress | None) -> None:
        self.usage = Usage(deduplicated=len(plan.copies))
        self._rows: list[Row | None] = [None] * texts
        self._copies = plan.copies
        self._times = Counter(place for _, place in plan.copies)
        self._progress = progress
        self._done = 0
        self._size: int | None = None
        self._refusal: BadRequestError | None = None
        if progress is not None and texts:
            progress(0, texts)

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress."""
        self.usage += delivery.usage
        if not delivery.rows:
            return
        size = size_of(delivery.rows[0])
        if self._size not in (None, size):
            raise ReplyError(
                f"one reply has vectors of {self._size} numbers and another of {size}; the "
                "provider seems to have changed the model in between."
            )
        self._size = size
        for i, row in zip(delivery.indices, delivery.rows, strict=True):
            self._rows[i] = row
        self._done += len(delivery.indices)
        if self._times:
            self._done += sum(self._times[i] for i in delivery.indices)
        if self._progress is not None:
            self._progress(self._done, len(self._rows))

    def refuse(self, refusal: BadRequestError) -> None:
        """Keep the refusal of a text for later, so that the other batches can finish.

        When nothing was accepted yet and a second text is refused for the same reason, the request
        is at fault and not the texts: then it is raised at once.
        """
        if len(refusal.indices) > 1:
            raise refusal
        first = self._refusal
        if first is None:
            self._refusal = refusal
        elif self._size is None and reason_of(first) == reason_of(refusal):
            raise first

    def rows(self) -> list[Row]:
        """Return all vectors; raise what was kept when some are missing."""
        if self._refusal is not None:
            raise self._refusal
        self._fill_copies()
        return self._rows  # type: ignore[return-value]  # every flow ended, so all are there

    def partial(self) -> PartialResult:
        """Return what is there."""
        self._fill_copies()
        vectors = [None if row is None else to_vector(row) for row in self._rows]
        return PartialResult(vectors, self.usage)

    def _fill_copies(self) -> None:
        for i, place in self._copies:
            row = self._rows[place]
            self._rows[i] = row.copy() if isinstance(row, list) else row
