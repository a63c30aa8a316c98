"""What has come back so far, and does one refused text end the call?"""

from __future__ import annotations

from collections import Counter

from aimlapi_embeddings._engine.flow import Deliver, reason_of
from aimlapi_embeddings._engine.planning import Plan
from aimlapi_embeddings._errors import BadRequestError, ReplyError
from aimlapi_embeddings._protocol.vectors import VectorBuffer, size_of
from aimlapi_embeddings._result import EmbeddingResult, PartialResult
from aimlapi_embeddings._types import Progress, Usage


class Collector:
    """Places the vectors of one call; used in the caller's thread or event loop alone."""

    def __init__(self, texts: int, plan: Plan, progress: Progress | None) -> None:
        self.usage = Usage(deduplicated=len(plan.copies))
        self.buffer = VectorBuffer(texts)
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
        self.buffer.place(delivery.indices, delivery.rows)
        self._done += len(delivery.indices)
        if self._times:
            self._done += sum(self._times[i] for i in delivery.indices)
        if self._progress is not None:
            self._progress(self._done, len(self.buffer))

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

    def result(self, model: str) -> EmbeddingResult:
        """Return all vectors; raise what was kept when some are missing."""
        if self._refusal is not None:
            raise self._refusal
        self._fill_copies()
        return EmbeddingResult(model, self.buffer, self.usage)

    def partial(self) -> PartialResult:
        """Return what is there."""
        self._fill_copies()
        return PartialResult(self.buffer, self.usage)

    def _fill_copies(self) -> None:
        for place, source in self._copies:
            self.buffer.copy(place, source)
