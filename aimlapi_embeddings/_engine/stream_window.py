"""The texts of a stream that are read and not yet handed over. No I/O.

How this works: each text that is read gets a place, one after the other, and a slot for its vector;
texts that are the same share one. Its vector comes from the cache, or from a request: texts are
packed until a request is full, and the worklist takes it from there. Vectors leave from the front,
in order. `next` says what is to be done now; a driver does it, in a thread or in a task.

Not more texts are read than the window holds. While it is not full, two are read for each one that
is handed over: so it fills up while there is something to hand over, and a slow source does not
delay the vectors that are there by much.

An error is met in its turn: everything before it is handed over first. What is behind it and has a
vector already goes into `partial`.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar

from aimlapi_embeddings._engine.collect import check_same_size
from aimlapi_embeddings._engine.inputs import is_missing
from aimlapi_embeddings._engine.planning import Batch, estimate_tokens
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.steps import Deliver
from aimlapi_embeddings._engine.stream_forms import Bill, Form, Slot, Text, partial_of_slots
from aimlapi_embeddings._engine.stream_packing import Packer
from aimlapi_embeddings._engine.stream_rules import Rules
from aimlapi_embeddings._errors import BadRequestError, InvalidInputError
from aimlapi_embeddings._protocol.status import several_refused
from aimlapi_embeddings._result import PartialResult
from aimlapi_embeddings._types import Progress, Row, Usage

# Texts that are looked up in the cache at a time.
_LOOK_UP = 250
# Places without a vector whose reasons are kept; the others are counted.
_MOST_REASONS = 1000

T = TypeVar("T")


class Next(Enum):
    """What a driver does next."""

    READ = "read one item of the source, and `take` it or `end`"
    FIND = "look `asked` up in the cache, and tell what was `found`"
    HAND_OVER = "give the consumer what `hand_over` returns"
    WAIT = "wait until a request has brought something"
    END = "nothing is left"


class Window(Generic[T]):
    """What a stream holds.

    Args:
        rules: For each text.
        packer: Makes batches.
        work: Takes them.
        form: In which vectors leave.
        most: Texts that are read and not yet handed over.
        most_requests: In flight at a time.
        length: Texts of the source, where it tells that before; 0 otherwise.
        size: Numbers of a vector where that is known, or None.
        normalize: Whether vectors are scaled to length 1.
        none_for_invalid: Whether a text that cannot be embedded gives None, or ends the stream. An
            item that is no text at all ends it in any case.

    Attributes:
        bill: What the replies so far have cost, and who sent them.
        invalid: Why a place has no vector, for the first 1,000 of them.
        invalid_count: How many places have none.
        progress: Is told how many texts are done.
        sent: Batches that were put into the worklist.
        is_closed: Whether the reader has closed an async stream.
        was_cut_off: Whether an async stream was closed by another, such as its event loop's end.
        keys: Of texts that wait for a vector, by their first place, where there is a cache.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        packer: Packer,
        work: Worklist,
        form: Form[T],
        most: int,
        most_requests: int,
        length: int = 0,
        size: int | None = None,
        normalize: bool = False,
        none_for_invalid: bool = False,
    ) -> None:
        self.bill = Bill()
        self.invalid: dict[int, str] = {}
        self.invalid_count = 0
        self.progress: Progress | None = None
        self.sent = 0
        self.is_closed = self.was_cut_off = False
        self.keys: dict[int, bytes] = {}
        self._rules = rules
        self._packer = packer
        self._work = work
        self._form = form
        self._most = most
        self._most_requests = most_requests
        self._length = length
        self._normalize = normalize
        self._none_for_invalid = none_for_invalid
        self._held: list[Slot] = []  # has left the slots, and was not handed over
        self._slots: deque[Slot] = deque()
        self._first = 0  # place of the first slot
        self._waiting: dict[int, Slot] = {}  # for a vector, by the first place of their text
        self._same: dict[str | Text, Slot] = {}
        self._asked: list[tuple[int, Text]] = []  # to be looked up in the cache
        self._owed = 0  # texts to be read since others were handed over
        self._done = 0  # places that have a vector or an error
        self._reported = -1  # what progress was called with last
        self._reading = True
        self._size = size
        self._last: float = math.inf  # the place of an error; nothing behind it is sent
        self._source_error: Exception | None = None
        self._failure: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        """Whether an error has ended the stream; nothing is sent any more."""
        return self._failure is not None

    def __getitem__(self, place: int) -> str:
        """Return a text that waits for its vector, by its first place."""
        given = self._waiting[place].text
        return given if isinstance(given, str) else str(given and given[0])

    @property
    def read(self) -> int:
        """How many texts were read."""
        return self._first + len(self._slots)

    # What the driver tells

    def take(self, item: object) -> None:
        """Take what the source gave: a text, or a pair of a text and its title."""
        place = self._first + len(self._slots)
        text, title = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if error := self._rules.why_not(place, text, title):
            self._slots.append(slot := Slot(None))
            is_text = all(isinstance(part, str) or is_missing(part) for part in (text, title))
            self._refuse(slot, place, error, may_pass=is_text)
            return
        # A subclass of `str` becomes a `str`: its own `__hash__` could mix up vectors.
        text = str.__str__(text)
        title = None if title is None else str.__str__(title)
        key = text if title is None else (text, title)
        if (known := self._same.get(key)) is not None:
            known.places += 1
            self._slots.append(known)
            self._save(Usage(deduplicated=1))
            self._done += known.row is not None or known.error is not None
            return
        self._same[key] = slot = Slot(key)
        self._slots.append(slot)
        self._waiting[place] = slot
        if (key_of := self._rules.key_of) is not None:
            self.keys[place] = key_of(text, title)
            self._asked.append((place, (text, title)))
        else:
            self._pack(place, (text, title))

    def end(self, error: Exception | None = None) -> None:
        """Note that the source has no more texts, or what it raised instead of one."""
        self._source_error = self._source_error or error
        self._stop_reading()

    @property
    def asked(self) -> list[bytes]:
        """Keys that are to be looked up in the cache."""
        return [self.keys[place] for place, _ in self._asked]

    def found(self, rows: Mapping[int, Row], kept: Mapping[int, int]) -> None:
        """Tell what the cache has, and where it was cut, by position in `asked`."""
        asked, self._asked = self._asked, []
        if (shortener := self._rules.shortener) is not None:
            shortener.kept.update((asked[i][0], characters) for i, characters in kept.items())
        if rows:
            self._save(Usage(cached=len(rows)))
            self._place([asked[i][0] for i in rows], list(rows.values()))
        for i, (place, text) in enumerate(asked):
            if i not in rows:
                self._pack(place, text)

    def deliver(self, delivery: Deliver) -> None:
        """Take what a request has brought; an error in it, or of the progress, ends the stream."""
        self.bill.add(delivery.usage)
        if delivery.rows:
            self.bill.note_reply(delivery.served, delivery.request_id)
            self._place(delivery.indices, delivery.rows)

    def _place(self, places: Sequence[int], rows: Sequence[Row]) -> None:
        try:
            self._size = check_same_size(rows[0], self._size)
            for place, row in zip(places, rows, strict=True):
                if (slot := self._waiting.pop(place, None)) is not None:
                    self.keys.pop(place, None)
                    slot.row = array("d", row) if isinstance(row, list) else row
                    if (shortener := self._rules.shortener) is not None:
                        slot.kept = shortener.kept.pop(place, None)
                    self._done += slot.places
            self._report_progress()
        except Exception as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, after what is there before it."""
        if self._failure is None:
            self._failure = error
            self._stop_reading()

    # What the driver asks

    def next(self, busy: int) -> Next:
        """Say what is to be done.

        Args:
            busy: Threads or tasks that work on the parts of this stream.

        Raises:
            BaseException: The error whose turn it is.
        """
        if self._reported < 0:
            self._report_progress()
        if self._work.stopped is not None:  # what is in flight comes back first
            self._stop_reading()
        if self._work.refused and self._work.accepted:
            self._hear_of_refused()
        if self._has_room:
            if len(self._asked) >= _LOOK_UP:
                return Next.FIND
            if self._owed:
                self._owed -= 1
                return Next.READ
        if self._take_ready():
            return Next.HAND_OVER
        if self._failure is not None:
            raise self._failure
        if self._slots and (error := self._slots[0].error) is not None:
            raise error
        if self._has_room:  # what is held has made some
            return Next.READ
        if self._asked:
            return Next.FIND
        self._send_part_full(busy)
        if self._slots:
            if not busy and not len(self._work):
                if self._work.stopped is not None:
                    raise self._work.stopped
                # Nothing was accepted, and nothing is left that could be: the texts are at fault.
                if not self._hear_of_refused():
                    raise RuntimeError(f"text {self._first} got neither a vector nor an error.")
                return self.next(busy)
            return Next.WAIT
        if self._source_error is not None:
            raise self._source_error
        self._report_progress()
        return Next.END

    def hand_over(self) -> T:
        """Return what the consumer gets now."""
        made = self._form.make(self._held, self.bill)
        self._held = []  # now, since Ctrl-C may come in between, and then it goes into `partial`
        return made

    def partial(self) -> PartialResult:
        """Take out what was not handed over."""
        first = self._first - len(self._held)
        slots = [*self._held, *self._slots]
        self.drop()
        return partial_of_slots(slots, first, self._size, self.bill, normalize=self._normalize)

    def drop(self) -> None:
        """Forget what is held."""
        held: Any
        for held in (self._slots, self._waiting, self._same, self._asked, self._held):
            held.clear()
        self._packer.drop()
        self._reading = False

    # Within

    @property
    def _has_room(self) -> bool:
        return self._reading and len(self._slots) < self._most

    def _take_ready(self) -> bool:
        """Take out places that are ready, so that others can be read; tell whether all are there.

        All are as many as are handed over at a time; before an error or the end also fewer.
        """
        held, places, slots = self._held, self._form.places, self._slots
        while len(held) < places and slots and (slots[0].row is not None or slots[0].passes):
            held.append(self._pop())
        return len(held) == places or (bool(held) and self._is_at_end)

    @property
    def _is_at_end(self) -> bool:
        """Whether no more places follow before an error or the end."""
        if self._failure is not None:
            return True
        return self._slots[0].error is not None if self._slots else not self._reading

    def _pop(self) -> Slot:
        """Take the slot of the first place."""
        slot = self._slots.popleft()
        place = self._first
        self._first += 1
        self._owed += 2
        slot.places -= 1
        if not slot.places and slot.text is not None:
            self._same.pop(slot.text, None)
        if slot.error is not None:
            self.invalid_count += 1
            if len(self.invalid) < _MOST_REASONS and isinstance(
                slot.error, InvalidInputError | BadRequestError
            ):
                self.invalid[place] = next(iter(slot.error.refused.values()), "") or str(slot.error)
        return slot

    def _refuse(self, slot: Slot, place: int, error: Exception, *, may_pass: bool = True) -> None:
        """Note that a text gets no vector; if that ends the stream, nothing behind it is sent."""
        slot.error = error
        slot.passes = (
            may_pass
            and self._none_for_invalid
            and isinstance(error, InvalidInputError | BadRequestError)
        )
        self.keys.pop(place, None)
        self._done += slot.places
        if not slot.passes:
            self._stop_reading()
            self._last = min(self._last, place)
            self._work.drop_after(place)

    def _stop_reading(self) -> None:
        self._reading = False
        self._work.complete()

    def _pack(self, place: int, given: Text) -> None:
        text, title = given
        rules = self._rules
        sent = rules.prefix + (rules.shortener.fit(place, text) if rules.shortener else text)
        tokens = estimate_tokens(sent)
        found = rules.judge(place, sent, tokens)
        if isinstance(found, Exception):
            self._refuse(self._waiting.pop(place), place, found)
            return
        self._waiting[place].cut = found
        for batch in self._packer.add(place, sent, tokens, title):
            self._send(batch)

    def _send(self, batch: Batch) -> None:
        if batch.indices[0] < self._last:
            self._work.add(batch)
            self.sent += 1

    def _send_part_full(self, busy: int) -> None:
        """Send batches that are not full, where nothing more can be put to them."""
        packer = self._packer
        while (place := packer.first_place) is not None and (
            not self._reading
            # No vector can be handed over until this one is there.
            or place == self._first
            # Several titles: to wait for full batches of each would leave requests unused.
            or (len(packer) > 1 and busy + len(self._work) < self._most_requests)
        ):
            self._send(packer.take_first())

    def _hear_of_refused(self) -> bool:
        """Take refused texts from the worklist; tell whether there were any."""
        refused = self._work.take_refused()
        for place, error in refused.items():
            if (slot := self._waiting.pop(place, None)) is not None:
                self._refuse(slot, place, several_refused({place: error}, self.read))
        self._report_progress()
        return bool(refused)

    def _save(self, usage: Usage) -> None:
        """Count what needs no request."""
        self.bill.add(usage)
        self._rules.count(usage)

    def _report_progress(self) -> None:
        """Move the progress, where there is something new."""
        if self.progress is not None and self._done != self._reported:
            self.progress(self._done, max(self._length, self.read))
        self._reported = self._done
