"""What happens next for one batch?

How this works: a flow is a generator that yields steps (`Send` this body, `Sleep` so long,
`Deliver` these vectors) and is sent the reply to each `Send`, or has a connection error thrown in.
It does no I/O, so the same lines serve threads and tasks, and a test can drive them by hand. A
batch that is too large is halved; a batch that is refused for another reason may hide one bad text,
so its halves are tried too, and where both are refused for the same reason the request itself is
at fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aimlapi_embeddings._backoff import Gate, RetryPolicy
from aimlapi_embeddings._errors import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._options import Options
from aimlapi_embeddings._planning import Batch
from aimlapi_embeddings._request import build_body
from aimlapi_embeddings._response import parse_reply
from aimlapi_embeddings._status import error_of, find_message, is_success
from aimlapi_embeddings._types import Reply, Row, Usage

_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
_SHOWN_TEXT = 60  # characters


@dataclass(frozen=True, slots=True)
class Send:
    """Send this body; answer with the reply, or None when the gate was shut in between."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand over what a request brought: n places and their n vectors (none after a failure)."""

    usage: Usage
    indices: Sequence[int] = ()
    rows: Sequence[Row] = ()


Step: TypeAlias = Send | Sleep | Deliver
Flow: TypeAlias = Generator[Step, Reply | None, None]


@dataclass(slots=True)
class Learned:
    """What replies taught about the server; shared by all batches of a client."""

    max_texts: int
    encoding_format: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """What the batches of one call share."""

    options: Options
    texts: Sequence[str]
    fields: dict[str, Any]
    policy: RetryPolicy
    gate: Gate
    learned: Learned
    url: str
    wall_clock: Callable[[], float]


def embed_batch(batch: Batch, call: Call) -> Flow:
    """Embed a batch, in one request or in as many as the server makes necessary.

    Raises:
        BadRequestError: One text, or the request itself, is refused; the rest was delivered.
        AIMLAPIError: The batch cannot be embedded now.
    """
    culprit: BadRequestError | None = None
    before = call.learned.max_texts
    todo = [batch]
    while todo:
        part = todo.pop()
        if len(part) > call.learned.max_texts:
            todo.extend(reversed(list(part.cut(call.learned.max_texts))))
            continue
        refusal = yield from _attempt(part, call)
        if isinstance(refusal, RequestTooLargeError) and len(part) > 1:
            call.learned.max_texts = min(call.learned.max_texts, len(part) // 2)
            todo.append(part)
        elif refusal is not None:
            if isinstance(refusal, RequestTooLargeError):
                call.learned.max_texts = before  # this text was too long, not the batch too full
            found = yield from _narrow(part, refusal, call)
            culprit = culprit or found
    if culprit is not None:
        raise culprit


def _narrow(
    batch: Batch, refusal: BadRequestError, call: Call
) -> Generator[Step, Reply | None, BadRequestError | None]:
    """Find the text that a batch was refused for, and embed the others."""
    if len(batch) == 1:
        return refusal
    halves = list(batch.cut((len(batch) + 1) // 2))
    refusals = []
    for half in halves:
        refusals.append((yield from _attempt(half, call)))
    if None not in refusals and len({reason_of(r) for r in refusals if r}) == 1:
        raise refusal  # whatever half is sent: the request is at fault, not a text
    culprit = None
    for half, half_refusal in zip(halves, refusals, strict=True):
        if half_refusal is not None:
            found = yield from _narrow(half, half_refusal, call)
            culprit = culprit or found
    return culprit


def reason_of(refusal: BadRequestError) -> str:
    """Read what the server said without the numbers, which may differ from half to half."""
    return re.sub(r"\d+", "", find_message(refusal.body))


def _attempt(batch: Batch, call: Call) -> Generator[Step, Reply | None, BadRequestError | None]:
    """Send one request until it succeeds, is refused for what it holds, or runs out of retries."""
    policy, gate, learned = call.policy, call.gate, call.learned
    retries = 0
    while True:
        if (pause := gate.remaining()) > 0:
            yield Sleep(pause)
            continue
        encoding_format = learned.encoding_format
        body = build_body(call.options, call.fields, batch.texts, batch.title, encoding_format)
        failure: APIConnectionError | APIStatusError
        cost = Usage(requests=1, retries=min(retries, 1))
        try:
            reply = yield Send(body)
        except APIConnectionError as error:
            failure = _with_place(error, batch, call, retries)
        else:
            if reply is None:
                continue
            if is_success(reply):
                yield from _deliver(reply, batch, call, cost)
                return None
            failure = error_of(
                reply,
                provider=call.options.provider,
                url=call.url,
                where=_place(batch, call, retries),
                indices=tuple(batch.indices),
                wall_clock=call.wall_clock,
            )
        yield Deliver(cost)
        if isinstance(failure, BadRequestError):
            if encoding_format is None or "encoding_format" not in find_message(failure.body):
                return failure
            learned.encoding_format = None  # asked by us, refused by the server: floats will do
            continue
        wait = failure.retry_after if isinstance(failure, APIStatusError) else None
        retried = isinstance(failure, APIConnectionError) or failure.status in _RETRIED
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
        rows, usage = parse_reply(
            reply,
            len(batch),
            dimensions=options.dimensions,
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
