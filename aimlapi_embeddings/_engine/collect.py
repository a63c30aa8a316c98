"""What has come back of one call so far."""

from __future__ import annotations

from collections import Counter

from aimlapi_embeddings._engine.planning import Plan
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.steps import Deliver
from aimlapi_embeddings._errors import ReplyError
from aimlapi_embeddings._protocol.status import several_refused
from aimlapi_embeddings._protocol.vectors import VectorBuffer, size_of
from aimlapi_embeddings._result import EmbeddingResult, PartialResult
from aimlapi_embeddings._slices import Work, at_once
from aimlapi_embeddings._types import Progress, Served, Usage


class Collector:
    """Places the vectors of one call; used in the caller's thread or event loop alone.

    Args:
        texts: n.
        plan: Which places get a copy of another place's vector.
        size: Numbers of each vector, where that is known before.
        progress: Of the caller, or None.
        possibly_truncated: Texts of which the provider may embed only the beginning.
    """

    def __init__(
        self,
        texts: int,
        plan: Plan,
        size: int | None,
        progress: Progress | None,
        possibly_truncated: tuple[int, ...] = (),
    ) -> None:
        self.usage = Usage(deduplicated=len(plan.copies))
        self.buffer = VectorBuffer(texts, size)
        self.served = Served()
        self.request_ids: list[str] = []
        self._possibly_truncated = possibly_truncated
        self._copies = plan.copies
        self._times = Counter(place for _, place in plan.copies)
        self._progress = progress
        self._done = 0
        self._size: int | None = None
        if progress is not None and texts:
            progress(0, texts)

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress."""
        self.usage += delivery.usage
        if not delivery.rows:
            return
        if delivery.request_id is not None:
            self.request_ids.append(delivery.request_id)
        size = size_of(delivery.rows[0])
        if self.served == Served():  # which vectors that were known do not tell
            self.served = delivery.served
        if self._size is None:
            self._size = size
        elif self._size != size:
            raise ReplyError(
                f"one reply has vectors of {self._size} numbers and another of {size}; the "
                "provider seems to have changed the model in between."
            )
        self.buffer.place(delivery.indices, delivery.rows)
        self._done += len(delivery.indices)
        if self._times:
            self._done += sum(self._times[i] for i in delivery.indices)
        if self._progress is not None:
            self._progress(self._done, len(self.buffer))

    def result(self, model: str, work: Worklist) -> Work[EmbeddingResult]:
        """Return all vectors.

        Raises:
            BadRequestError: Names all texts that were refused.
        """
        if refused := work.refused:
            copies = {i: refused[source] for i, source in self._copies if source in refused}
            raise several_refused({**refused, **copies}, len(self.buffer))
        yield from self._fill_copies()
        return EmbeddingResult(
            model,
            self.buffer,
            self.usage,
            self.served,
            self._possibly_truncated,
            tuple(self.request_ids),
        )

    def partial(self) -> PartialResult:
        """Return what is there."""
        at_once(self._fill_copies())
        return PartialResult(self.buffer, self.usage)

    def _fill_copies(self) -> Work[None]:
        for place, source in self._copies:
            self.buffer.copy(place, source)
            yield
