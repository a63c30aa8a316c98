"""What is known of each text of a stream, and the forms in which vectors leave it. No I/O."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeVar

from aimlapi_embeddings._protocol.vectors import VectorBuffer, floats_of
from aimlapi_embeddings._result import EmbeddingResult, PartialResult
from aimlapi_embeddings._types import Served, Usage, Vector

_MOST_REQUEST_IDS = 1000

T_co = TypeVar("T_co", covariant=True)
_Numbers: TypeAlias = "bytes | array[float]"
Text: TypeAlias = tuple[str, "str | None"]
"""A text and its title."""


class Slot:
    """What is known of a text.

    Attributes:
        text: With its title, while the same text may come again.
        places: In the window that share it.
        row: Its vector, once it is there.
        error: Why it gets none.
        passes: Whether None takes its place, and the error is not raised.
        cut: Whether the provider may embed only its beginning.
        kept: How many of its characters were sent, where that is not all.
    """

    __slots__ = ("cut", "error", "kept", "passes", "places", "row", "text")

    def __init__(self, text: str | Text | None) -> None:
        self.text = text
        self.places = 1
        self.row: _Numbers | None = None
        self.error: Exception | None = None
        self.passes = False
        self.cut = False
        self.kept: int | None = None


class Bill:
    """What the replies of a stream have brought beside vectors.

    Attributes:
        usage: What they have cost.
        served: Who has answered last.
        request_ids: The server's, of the first 1,000 replies.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self.served = Served()
        self.request_ids: list[str] = []
        self._cost = Usage()  # this and the ids below: since `take` was called last
        self._ids: list[str] = []

    def add(self, usage: Usage) -> None:
        """Add what something has cost."""
        self.usage += usage
        self._cost += usage

    def note_reply(self, served: Served, request_id: str | None) -> None:
        """Note who answered, and the id of the reply."""
        self.served = served
        if request_id is not None:
            for noted in (self.request_ids, self._ids):
                if len(noted) < _MOST_REQUEST_IDS:
                    noted.append(request_id)

    def take(self) -> tuple[Usage, tuple[str, ...]]:
        """Return the cost, and the ids of at most 1,000 replies, since they were taken last."""
        cost, self._cost = self._cost, Usage()
        request_ids, self._ids = self._ids, []
        return cost, tuple(request_ids)


class Form(Protocol[T_co]):
    """In what form vectors are handed over.

    Attributes:
        places: How many are handed over at a time; before an error or the end it may be fewer.
    """

    places: int

    def make(self, slots: Sequence[Slot], bill: Bill) -> T_co:
        """Make what the consumer gets of these places."""


class Vectors:
    """One vector after the other, as lists of floats; None for an invalid text.

    Args:
        normalize: Whether vectors are scaled to length 1.
    """

    places = 1

    def __init__(self, *, normalize: bool) -> None:
        self._normalize = normalize

    def make(self, slots: Sequence[Slot], bill: Bill) -> Vector | None:
        """Return the vector."""
        numbers = slots[0].row
        if numbers is None:
            return None
        if self._normalize:
            return _buffer_of(slots, None, normalize=True).vector(0)
        return (floats_of(numbers) if isinstance(numbers, bytes) else numbers).tolist()


class Results:
    """Results of so many places each.

    Args:
        places: Of each result.
        model: The id that was asked for.
        size: Numbers of a vector where that is known, or None.
        normalize: Whether vectors are scaled to length 1.
    """

    def __init__(self, places: int, model: str, size: int | None, *, normalize: bool) -> None:
        self.places = places
        self._model = model
        self._size = size
        self._normalize = normalize

    def make(self, slots: Sequence[Slot], bill: Bill) -> EmbeddingResult:
        """Return the result, with what replies have cost since the one before."""
        cost, request_ids = bill.take()
        return EmbeddingResult(
            self._model,
            _buffer_of(slots, self._size, normalize=self._normalize),
            cost,
            bill.served,
            tuple(i for i, slot in enumerate(slots) if slot.cut and slot.row is not None),
            _kept(slots),
            request_ids,
        )


def partial_of_slots(
    slots: Sequence[Slot], start: int, size: int | None, bill: Bill, *, normalize: bool
) -> PartialResult:
    """Make what an error carries: places that were not handed over, from `start` on."""
    rows = _buffer_of(slots, size, normalize=normalize)
    return PartialResult(rows, bill.usage, _kept(slots), start)


def _kept(slots: Sequence[Slot]) -> dict[int, int]:
    return {i: slot.kept for i, slot in enumerate(slots) if slot.kept is not None}


def _buffer_of(slots: Sequence[Slot], size: int | None, *, normalize: bool) -> VectorBuffer:
    buffer = VectorBuffer(len(slots), size, normalize=normalize)
    for place, slot in enumerate(slots):
        if (numbers := slot.row) is not None:
            buffer.place([place], [numbers if isinstance(numbers, bytes) else numbers.tolist()])
    return buffer
