"""What has come back of one call so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from aimlapi_embeddings._engine.planning import Plan
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.steps import Deliver
from aimlapi_embeddings._errors import ReplyError
from aimlapi_embeddings._protocol.status import several_refused
from aimlapi_embeddings._protocol.vectors import VectorBuffer, size_of
from aimlapi_embeddings._result import EmbeddingResult, PartialResult, attach_partial
from aimlapi_embeddings._slices import Work, at_once
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Progress, Row, Served, Usage


def check_same_size(row: Row, size: int | None) -> int:
    """Return the numbers of a row, when those before had as many or their number is not known."""
    found = size_of(row)
    if size is not None and size != found:
        raise ReplyError(
            f"one reply has vectors of {size} numbers and another of {found}; the "
            "provider seems to have changed the model in between."
        )
    return found


class Collector:
    """Places the vectors of one call; used in the caller's thread or event loop alone.

    First it is given what is there already, then it is told what will be sent. It is a context
    manager: an error that ends the block is given what was finished, and the trace is told what the
    call has brought and cost.

    Args:
        buffer: n places for the vectors.
    """

    def __init__(self, buffer: VectorBuffer) -> None:
        self.usage = Usage()
        self.buffer = buffer
        self.served = Served()
        self.request_ids: list[str] = []
        self._possibly_truncated: tuple[int, ...] = ()
        self._kept: Mapping[int, int] = {}
        self._copies: list[tuple[int, int]] = []
        self._times: Mapping[int, int] = {}
        self._progress: Progress | None = None
        self._trace: Trace | None = None
        self._done = 0
        self._size: int | None = None

    def begin(
        self,
        plan: Plan,
        usage: Usage,
        progress: Progress | None,
        trace: Trace | None,
        *,
        possibly_truncated: tuple[int, ...] = (),
        kept: Mapping[int, int],
    ) -> None:
        """Begin to wait for replies.

        Args:
            plan: Which places get a copy of another place's vector.
            usage: Of the call so far.
            progress: Of the caller, or None.
            trace: Of the call, or None.
            possibly_truncated: Texts of which the provider may embed only the beginning.
            kept: By place, how many characters of a text are sent, where that is not all of them;
                may change as long as requests are in flight.
        """
        self.usage = usage
        self._possibly_truncated = possibly_truncated
        self._kept = kept
        self._copies = plan.copies
        if plan.copies:
            self._times = Counter(place for _, place in plan.copies)
        self._progress = progress
        self._trace = trace
        if progress is not None and len(self.buffer):
            progress(self._done, len(self.buffer))

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            attach_partial(error, self.partial)
        if self._trace is not None:
            self._trace.sum_up(len(self.buffer), self.usage, self.served, self.request_ids)

    def deliver(self, delivery: Deliver) -> None:
        """Place vectors, add usage, move the progress."""
        self.usage += delivery.usage
        if not delivery.rows:
            return
        if delivery.request_id is not None:
            self.request_ids.append(delivery.request_id)
        if not any(self.served):
            self.served = delivery.served
        self.place(delivery.indices, delivery.rows)
        if self._times:
            self._done += sum(self._times[i] for i in delivery.indices)
        if self._progress is not None:
            self._progress(self._done, len(self.buffer))

    def place(self, indices: Sequence[int], rows: Sequence[Row]) -> None:
        """Place vectors, of a reply or of a cache.

        Raises:
            ReplyError: They have another size than those before.
        """
        self._size = check_same_size(rows[0], self._size)
        self.buffer.place(indices, rows)
        self._done += len(indices)

    def result(self, model: str, work: Worklist) -> Work[EmbeddingResult]:
        """Return all vectors.

        Raises:
            BudgetExceededError: Not all was sent.
            BadRequestError: Names all texts that were refused.
        """
        if work.stopped:
            raise work.stopped
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
            tuple(self.request_ids),
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
