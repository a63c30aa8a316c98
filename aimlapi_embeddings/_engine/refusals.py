"""Whose fault is a refusal, and what is sent next? One policy for each call.

How this works: the worklist holds the parts of a call that are still to be sent. A part that is
refused is cut into halves, whatever the server says, until the parts are accepted or single texts
are refused. So neither the server's language nor its status has to be understood:

- A batch was too large when all of its texts are accepted in smaller requests. That proof, and
  nothing less, teaches the size to all later requests of the client. A text that is too long by
  itself proves nothing about batches. Until there is proof, the server's message is believed for
  this call alone: parts of a size that was refused as too large are cut before they are sent.
- A text is at fault when it is refused alone. The call goes on: all other texts are embedded, and
  one error at the end names all texts at fault.
- Some servers fail at a text, with a 500, instead of refusing it. A part at which the server fails
  until no retry is left is refused, if others got through since it began to fail. Else the server
  is at fault, and the call ends.
- The request is at fault when the server accepts nothing at all of the call and refuses several
  single texts in the same words.

The search for a text at fault is depth-first: the halves of the last refusal come first. After each
text at fault the largest remaining part is next, since it is the most likely to hold texts that are
accepted, which is what tells a bad text from a bad request.
"""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.planning import Batch
from aimlapi_embeddings._errors import AIMLAPIError, BadRequestError, RequestTooLargeError
from aimlapi_embeddings._protocol.wording import reason

# Single texts that are refused, while nothing is accepted, before the request is held to be at
# fault: in the same words, or in any words (some servers put an id or the text into them).
_ENOUGH_ALIKE = 4
_ENOUGH = 8
_SPEAKS_OF_TOKENS = r"(?i)tokens?\b"
_SPEAKS_OF_TEXTS = r"(?i)\b(?:inputs?|items?|elements?|texts|batch|array|instance)"


class _Cut(msgspec.Struct):
    """A request that was refused and cut into parts.

    Attributes:
        texts_left: Texts of it that are not accepted yet.
        of_texts: Whether its refusal may be about the number of texts.
        of_tokens: Whether its refusal may be about the number of tokens.
        parent: The cut that this request was itself a part of.
        most_texts: Texts of the largest of its parts that was accepted.
        most_tokens: Tokens of it.
    """

    texts_left: int
    of_texts: bool
    of_tokens: bool
    parent: _Cut | None
    most_texts: int = 0
    most_tokens: int = 0


class Part(msgspec.Struct):
    """Texts that are sent in one request.

    Attributes:
        batch: The texts.
        cut: The refused request that this is a part of, or None.
        trial: Whether it is larger than what the server is known to accept.
        timeouts: Attempts that got no reply in time.
        as_string: Whether its one text is sent as a string and not in an array.
        suspect_since: Of a piece of a request at which the server failed: how many requests of the
            client had got through when that request came to be. None for all others.
        cut_at: How many had got through when the piece came to be. So a server that fails at
            everything from then on is found out after two generations of pieces, and two texts at
            fault are found where no others are left.
        put_off: Whether it waits until others have shown that the server is well.
    """

    batch: Batch
    cut: _Cut | None = None
    trial: bool = False
    timeouts: int = 0
    as_string: bool = False
    suspect_since: int | None = None
    cut_at: int | None = None
    put_off: bool = False

    @property
    def tokens(self) -> int:
        """Estimated tokens of all its texts."""
        return sum(self.batch.tokens)

    def __len__(self) -> int:
        return len(self.batch)


class Worklist:
    """The parts of one call that are still to be sent. Used by all of its threads or tasks.

    Args:
        batches: Of the call, those that are known by now.
        limits: What the client has learned.
        complete: Whether these are all. Else others may be `added`, until `complete`.

    Attributes:
        refused: The texts at fault so far: the error of each one, by its place.
        stopped: Why no further part is begun, or None. It is raised when the others have ended.
    """

    def __init__(
        self, batches: Sequence[Batch], limits: LearnedLimits, *, complete: bool = True
    ) -> None:
        self.refused: dict[int, BadRequestError] = {}
        self.stopped: AIMLAPIError | None = None
        self._texts = sum(map(len, batches))
        self._complete = complete
        self._new = deque(map(Part, batches))
        self._suspects: list[Part] = []
        self._limits = limits
        self._accepted = False
        self._at_fault_found = False  # since the last part was taken
        self._believed_texts = self._believed_tokens = math.inf
        self._in_flight: dict[int, Part] = {}
        self._first: BadRequestError | None = None
        self._reasons: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the parts that are still to be sent."""
        return 0 if self.stopped else len(self._new) + len(self._suspects)

    def stop(self, error: AIMLAPIError) -> None:
        """Begin no further part; those in flight come back before the error is raised."""
        self.stopped = self.stopped or error

    @property
    def accepted(self) -> bool:
        """Whether the server has accepted a request of this call."""
        return self._accepted

    def add(self, batch: Batch) -> None:
        """Add a batch behind all others."""
        with self._lock:
            self._texts += len(batch)
            self._new.append(Part(batch))

    def complete(self) -> None:
        """Note that no batch will be added any more."""
        self._complete = True

    def take_refused(self) -> dict[int, BadRequestError]:
        """Return the texts at fault since this was asked last, and forget them."""
        with self._lock:
            refused, self.refused = self.refused, {}
            return refused

    def drop_after(self, place: int) -> None:
        """Forget the parts whose texts all stand behind a place: they are not wanted any more."""
        with self._lock:
            self._new = deque(each for each in self._new if each.batch.indices[0] < place)
            self._suspects = [each for each in self._suspects if each.batch.indices[0] < place]

    def take(self) -> Part | None:
        """Take the part to be sent next; None when there is none now."""
        with self._lock:
            part = None if self.stopped else self._next()
            return None if part is None else self._fit(part, begin=False)

    def start(self, part: Part) -> Part:
        """Begin to send a part: cut it once more, to what was learned while it waited."""
        with self._lock:
            part = self._fit(part, begin=True)
            self._in_flight[id(part)] = part
            return part

    def accept(self) -> None:
        """Note that the server has accepted a request of this call."""
        self._accepted = True

    def end(self, part: Part) -> None:
        """Note that a part is not in flight any more. Takes no lock: a finalizer may call it."""
        self._in_flight.pop(id(part), None)
        if part.trial:
            self._limits.end_trial()

    def embedded(self, part: Part) -> None:
        """Note that the vectors of a part are there, and learn from it."""
        batch = part.batch
        self._limits.succeeded(batch, trial=part.trial)
        with self._lock:
            cut = part.cut
            while cut is not None:
                cut.texts_left -= len(batch)
                cut.most_texts = max(cut.most_texts, len(batch))
                cut.most_tokens = max(cut.most_tokens, part.tokens)
                if cut.texts_left == 0:  # never, where one of its texts is at fault
                    self._limits.learn(
                        cut.most_texts if cut.of_texts else math.inf,
                        cut.most_tokens if cut.of_tokens else math.inf,
                    )
                    self._believed_texts = self._believed_tokens = math.inf  # proof replaces it
                cut = cut.parent

    def refuse(self, part: Part, error: BadRequestError) -> bool:
        """Note a refusal: cut the part, or note the text at fault.

        Returns:
            Whether other requests had better wait until it is known what the server accepts.

        Raises:
            BadRequestError: The request is at fault.
        """
        with self._lock:
            self._first = self._first or error
            if len(part) > 1:
                probe = not part.trial and (
                    isinstance(error, RequestTooLargeError) or not self._accepted
                )
                too_large = isinstance(error, RequestTooLargeError)
                self._cut(part, error.message, believe=too_large)
            else:
                probe = False
                self._believed_texts = self._believed_tokens = math.inf
                self.refused[part.batch.indices[0]] = error
                self._at_fault_found = True
                if not self._accepted and not isinstance(error, RequestTooLargeError):
                    why = reason(error.message)
                    self._reasons[why] = self._reasons.get(why, 0) + 1
            if self._request_seems_at_fault():
                if not self._in_flight:
                    raise self._first
                probe = True  # a request in flight may still be accepted; no others leave till then
            return probe

    def shorten(self, part: Part, batch: Batch) -> None:
        """Note that a refused text is sent again, shorter: like one at fault, it proves nothing."""
        with self._lock:
            part.batch, part.cut = batch, None
            self._believed_texts = self._believed_tokens = math.inf
            self._at_fault_found = True

    def cut(self, part: Part) -> None:
        """Cut a part that got no reply in time, twice."""
        with self._lock:
            self._cut(part, "", believe=False)

    def suspect(self, part: Part, well_since: int, got_through: int) -> None:
        """Cut a part at which the server fails, while others get through.

        That teaches no size: the server may have been well again when the pieces came.

        Args:
            part: Of several texts.
            well_since: How many requests of the client had got through when it was first sent.
            got_through: How many have by now.
        """
        with self._lock:
            cut = self._cut(part, "", believe=False)
            cut.of_texts = cut.of_tokens = False
            for piece in self._suspects[-2:]:
                piece.suspect_since = well_since if part.cut_at is None else part.cut_at
                piece.cut_at = got_through

    def put_off(self, part: Part) -> bool:
        """Put a part at which the server fails behind the others, once, if there are any."""
        with self._lock:
            if part.put_off or not len(self):
                return False
            self._suspects.append(msgspec.structs.replace(part, put_off=True))
            self._at_fault_found = True  # the largest part is next, and not this one again
            return True

    def _cut(self, part: Part, message: str, *, believe: bool) -> _Cut:
        self._limits.refused(trial=part.trial)
        of_texts = re.search(_SPEAKS_OF_TEXTS, message) is not None
        of_tokens = re.search(_SPEAKS_OF_TOKENS, message) is not None
        cut = _Cut(
            texts_left=len(part),
            of_texts=of_texts or not of_tokens,
            of_tokens=of_tokens or not of_texts,
            parent=part.cut,
        )
        if believe:
            if cut.of_texts:
                self._believed_texts = min(self._believed_texts, len(part) // 2)
            if cut.of_tokens:
                self._believed_tokens = min(self._believed_tokens, part.tokens / 2)
        first, second = part.batch.cut((len(part) + 1) // 2)
        self._suspects += Part(second, cut), Part(first, cut)
        return cut

    def _request_seems_at_fault(self) -> bool:
        """Tell whether no single text can be the cause of all refusals."""
        texts = self._texts if self._complete else math.inf
        if self._accepted or texts == 1:
            return False
        counts = self._reasons.values()
        return max(counts, default=0) >= min(_ENOUGH_ALIKE, texts) or sum(counts) >= _ENOUGH

    def _next(self) -> Part | None:
        suspects, new = self._suspects, self._new
        if suspects and not self._at_fault_found:
            return suspects.pop()
        self._at_fault_found = False
        if suspects:
            i = max(range(len(suspects)), key=lambda i: len(suspects[i]))
            if not new or len(suspects[i]) > len(new[0]):
                return suspects.pop(i)
        return new.popleft() if new else None

    def _fit(self, part: Part, *, begin: bool) -> Part:
        """Cut a part to what is known or believed about the server, and put the rest back."""
        if part.trial or len(part) == 1:
            return part
        batch, trial = self._limits.fit(part.batch, begin=begin)
        if not trial and min(self._believed_texts, self._believed_tokens) < math.inf:
            batch = next(batch.cut(self._believed_texts, self._believed_tokens))
        if len(batch) == len(part):
            return msgspec.structs.replace(part, trial=True) if trial else part
        rest = msgspec.structs.replace(
            part, batch=part.batch.part(len(batch), len(part)), timeouts=0
        )
        if rest.cut is None:
            self._new.appendleft(rest)
        else:
            self._suspects.append(rest)
        return msgspec.structs.replace(part, batch=batch, trial=trial, timeouts=0)
