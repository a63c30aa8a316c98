"""What has come back of one call so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

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
        plan: Which places get a copy of another place's vector.
        buffer: n places for them.
        progress: Of the caller, or None.
        possibly_truncated: Texts of which the provider may embed only the beginning.
        kept: By place, how many characters of a text are sent, where that is not all of them; may
            change as long as requests are in flight.
    """

    def __init__(
        self,
        plan: Plan,
        buffer: VectorBuffer,
        progress: Progress | None,
        *,
        possibly_truncated: tuple[int, ...] = (),
        kept: Mapping[int, int],
    ) -> None:
        self.usage = Usage(deduplicated=len(plan.copies))
        self.buffer = buffer
        self.served = Served()
        self._possibly_truncated = possibly_truncated
        self._kept = kept
        self._copies = plan.copies
        self._times = Counter(place for _, place in plan.copies)
        self._progress = progress
        self._done = 0
        self._size: int | None = None
        if progress is not None and len(buffer):
            progress(0, len(buffer))

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress."""
        self.usage += delivery.usage
        if not delivery.rows:
            return
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
            self._truncated(),
        )

    def partial(self) -> PartialResult:
        """Return what is there."""
        at_once(self._fill_copies())
        return PartialResult(self.buffer, self.usage, self._truncated())

    def _truncated(self) -> dict[int, int]:
        """Tell how much was sent of the texts that were cut and have a vector."""
        kept = dict(self._kept)
        if not kept:
            return {}
        kept |= {place: kept[source] for place, source in self._copies if source in kept}
        return {i: characters for i, characters in sorted(kept.items()) if self.buffer.holds(i)}

    def _fill_copies(self) -> Work[None]:
        for place, source in self._copies:
            self.buffer.copy(place, source)
            yield
