"""What happens next for one batch?

How this works: a flow is a generator that yields steps (ask for a `Permit`, `Send` this body,
`Sleep` so long, `Deliver` these vectors) and is sent the reply to each `Send`, or has a connection
error thrown in. It does no I/O, so the same lines serve threads and tasks, and a test can drive
them by hand. A batch that is too large is halved; a batch that is refused for another reason may
hide one bad text, so its halves are tried too, and where both are refused for the same reason the
request itself is at fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Sequence
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from aimlapi_embeddings._engine.backoff import Gate, RetryPolicy
from aimlapi_embeddings._engine.planning import Batch
from aimlapi_embeddings._engine.slots import Slots
from aimlapi_embeddings._errors import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._protocol.options import Options, expected_size
from aimlapi_embeddings._protocol.request import build_body
from aimlapi_embeddings._protocol.response import parse_reply
from aimlapi_embeddings._protocol.retry_hints import parse_retry_after
from aimlapi_embeddings._protocol.status import (
    effective_reply,
    error_of,
    is_repeated,
    is_success,
    reason,
)
from aimlapi_embeddings._types import Reply, Row, Usage

_SHOWN_TEXT = 60  # characters
# A refusal that no text escapes would otherwise be met once by each of them.
_ENOUGH = 4
_SPEAKS_OF_TOKENS = re.compile(r"tokens?\b", re.I)
_SPEAKS_OF_TEXTS = re.compile(r"\b(?:inputs?|items?|elements?|texts|batch|array|instance)", re.I)


class _Outcome(Enum):
    DELIVERED = "its vectors are handed over"
    STALE = "not sent: others have learned that it is too large"


_DELIVERED, _STALE = _Outcome.DELIVERED, _Outcome.STALE


class Send(msgspec.Struct, frozen=True):
    """Send this body, answer with the reply; with None when it may not leave, its turn come."""

    body: bytes
    may_leave: Callable[[], bool]


class Permit(msgspec.Struct, frozen=True):
    """Ask the rate limiter, if there is one, for a request of so many tokens."""

    tokens: int


class Sleep(msgspec.Struct, frozen=True):
    """Wait this many seconds."""

    seconds: float


class Deliver(msgspec.Struct, frozen=True):
    """Hand over what a request brought: n places and their n vectors (none after a failure)."""

    usage: Usage
    indices: Sequence[int] = ()
    rows: Sequence[Row] = ()


Step: TypeAlias = Permit | Send | Sleep | Deliver
Flow: TypeAlias = Generator[Step, Reply | None, None]


class Learned(msgspec.Struct):
    """What replies taught about the server; shared by all batches of a client."""

    encoding_format: str | None
    max_texts: float = math.inf
    max_tokens: float = math.inf

    def fits(self, batch: Batch) -> bool:
        """Tell whether a batch is as small as the server wants it, or cannot be cut."""
        return len(batch) == 1 or (
            len(batch) <= self.max_texts and sum(batch.tokens) <= self.max_tokens
        )

    def halve(self, batch: Batch, said: str) -> None:
        """Note that a batch was too large, in the measure that the server speaks of, or in both."""
        of_tokens = _SPEAKS_OF_TOKENS.search(said) is not None
        of_texts = _SPEAKS_OF_TEXTS.search(said) is not None
        if of_texts or not of_tokens:
            self.max_texts = min(self.max_texts, len(batch) // 2)
        if of_tokens or not of_texts:
            self.max_tokens = min(self.max_tokens, sum(batch.tokens) / 2)


class Call(msgspec.Struct, frozen=True):
    """What the batches of one call share."""

    options: Options
    texts: Sequence[str]
    fields: dict[str, Any]
    policy: RetryPolicy
    gate: Gate
    slots: Slots
    learned: Learned
    url: str
    wall_clock: Callable[[], float]


def embed_batch(batch: Batch, call: Call) -> Flow:
    """Embed a batch, in one request or in as many as the server makes necessary.

    Raises:
        BadRequestError: One text, or the request itself, is refused; the rest was delivered.
        AIMLAPIError: The batch cannot be embedded now.
    """
    learned = call.learned
    before_halving: tuple[float, float] | None = None
    culprit: BadRequestError | None = None
    in_vain = 0  # texts refused alone, while nothing of the batch was accepted
    todo = [batch]
    while todo:
        part = todo.pop()
        if not learned.fits(part):
            todo.extend(reversed(list(part.cut(learned.max_texts, learned.max_tokens))))
            continue
        outcome = yield from _attempt(part, call, learned.fits)
        if outcome is _STALE:
            todo.append(part)
        elif outcome is _DELIVERED:
            in_vain = -len(batch)
        elif isinstance(outcome, RequestTooLargeError) and len(part) > 1:
            if learned.fits(part):  # or others have learned it in between
                before_halving = before_halving or (learned.max_texts, learned.max_tokens)
                learned.halve(part, outcome.message)
                call.slots.try_one()
            todo.append(part)
        elif isinstance(outcome, BadRequestError):
            if isinstance(outcome, RequestTooLargeError) and before_halving:
                # A text was too long, not the batch too full: later ones need not be small.
                learned.max_texts = max(learned.max_texts, before_halving[0])
                learned.max_tokens = max(learned.max_tokens, before_halving[1])
                call.slots.try_all()
            found = yield from _narrow(part, outcome, call)
            culprit = culprit or found
            in_vain += 1
            if in_vain == _ENOUGH:
                raise outcome  # it sounds like a text's fault, but no text is good enough
    if culprit is not None:
        raise culprit


def _narrow(
    batch: Batch, refusal: BadRequestError, call: Call
) -> Generator[Step, Reply | None, BadRequestError | None]:
    """Find the text that a batch was refused for, and embed the others."""
    if len(batch) == 1:
        return refusal
    halves = list(batch.cut((len(batch) + 1) // 2))
    outcomes = []
    for half in halves:
        outcomes.append((yield from _attempt(half, call, lambda _: True)))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BadRequestError)]
    if len(refusals) == len(halves) and len({reason_of(each) for each in refusals}) == 1:
        raise refusal  # whatever half is sent: the request is at fault, not a text
    culprit = None
    for half, outcome in zip(halves, outcomes, strict=True):
        if isinstance(outcome, BadRequestError):
            found = yield from _narrow(half, outcome, call)
            culprit = culprit or found
    return culprit


def reason_of(refusal: BadRequestError) -> str:
    """Read what the server said without what may differ from half to half."""
    return reason(refusal.message)


def _attempt(
    batch: Batch, call: Call, fits: Callable[[Batch], bool]
) -> Generator[Step, Reply | None, BadRequestError | _Outcome]:
    """Send one request until it succeeds, is refused for what it holds, or runs out of retries."""
    policy, gate, learned = call.policy, call.gate, call.learned
    retries = 0
    permitted = False
    while True:
        if not permitted:
            yield Permit(sum(batch.tokens))
            permitted = True
        if (pause := gate.remaining()) > 0:
            yield Sleep(pause)
            continue
        if not fits(batch):
            return _STALE
        encoding_format = learned.encoding_format
        body = build_body(call.options, call.fields, batch.texts, batch.title, encoding_format)
        failure: APIConnectionError | APIStatusError
        cost = Usage(requests=1, retries=min(retries, 1))
        try:
            reply = yield Send(body, lambda: gate.remaining() <= 0 and fits(batch))
        except APIConnectionError as error:
            failure = _with_place(error, batch, call, retries)
        else:
            if reply is None:
                continue
            reply = effective_reply(reply)
            if is_success(reply):
                yield from _deliver(reply, batch, call, cost)
                return _DELIVERED
            failure = error_of(
                reply,
                provider=call.options.provider,
                url=call.url,
                where=_place(batch, call, retries),
                indices=tuple(batch.indices),
                retry_after=parse_retry_after(reply.headers, call.wall_clock),
            )
        yield Deliver(cost)
        permitted = False
        if isinstance(failure, BadRequestError):
            if encoding_format is None or "encoding_format" not in failure.message:
                return failure
            learned.encoding_format = None  # asked by us, refused by the server: floats will do
            continue
        wait = failure.retry_after if isinstance(failure, APIStatusError) else None
        retried = isinstance(failure, APIConnectionError) or is_repeated(failure)
        if not retried or retries == policy.max_retries or (wait or 0) > policy.max_retry_wait:
            raise failure
        if wait is None:
            yield Sleep(policy.delay(retries))
        else:
            gate.shut_for(wait)
        retries += 1


def _deliver(reply: Reply, batch: Batch, call: Call, cost: Usage) -> Flow:
    options = call.options
    try:
        rows, usage, _ = parse_reply(
            reply,
            len(batch),
            size=expected_size(options),
            credits_per_usd=options.provider.credits_per_usd,
        )
    except ReplyError as error:
        yield Deliver(cost)
        raise ReplyError(f"{error} [{_place(batch, call)}]") from error
    yield Deliver(usage + cost, batch.indices, rows)


def _with_place(
    error: APIConnectionError, batch: Batch, call: Call, retries: int
) -> APIConnectionError:
    """Add to a connection error which texts it concerns."""
    located = type(error)(f"{error} [{_place(batch, call, retries)}]")
    located.__cause__ = error.__cause__
    return located


def _place(batch: Batch, call: Call, retries: int = 0) -> str:
    """Tell which texts a request carried, of which model, and how often it was sent."""
    first, last = batch.indices[0], batch.indices[-1]
    total = len(call.texts)
    if len(batch) == 1:
        text = call.texts[first]
        head = text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "\u2026"
        texts = f"text {first} of {total}, {head!r}"
    else:
        texts = f"{len(batch)} texts from {first} to {last} of {total}"
    attempts = f"; {retries + 1} attempts" if retries else ""
    return f"{texts}; model {call.options.id}{attempts}"
