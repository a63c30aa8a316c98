"""How one part of a call is sent: permission, request, reply, and the next step.

A flow is a generator without I/O. It yields steps, is sent the reply to each `Send`, and has a
connection error thrown in where there is none. The policies it asks are objects of their own: when
a request may leave (`pacing`), whether and when it is repeated (`retries`), whose fault a refusal
is (`refusals`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from aimlapi_embeddings._catalog.models import is_known, suggest
from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.budget import Reservation
from aimlapi_embeddings._engine.long_texts import Shortener
from aimlapi_embeddings._engine.pacing import Caller, Lane
from aimlapi_embeddings._engine.planning import Batch, billed_tokens, estimate_tokens
from aimlapi_embeddings._engine.refusals import Part, Worklist
from aimlapi_embeddings._engine.retries import GiveUp, Retries
from aimlapi_embeddings._engine.runtime import Runtime
from aimlapi_embeddings._engine.steps import Deliver, Flow, Run, Send, Sleep, Step
from aimlapi_embeddings._errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    BudgetExceededError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._protocol.attempt import IdleConnectionClosed
from aimlapi_embeddings._protocol.error_body import effective_reply, is_success
from aimlapi_embeddings._protocol.options import Options, expected_size
from aimlapi_embeddings._protocol.request import RoleFields, build_body, fits_in_array
from aimlapi_embeddings._protocol.response import cost_of, parse_reply
from aimlapi_embeddings._protocol.retry_hints import RetryHint, read_retry_hint
from aimlapi_embeddings._protocol.status import error_of, request_id
from aimlapi_embeddings._protocol.wording import speaks_of_the_encoding
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Reply, Usage

_SHOWN_TEXT = 60  # characters
# A batch that got no reply in time so often is not sent again at its size.
_TIMEOUTS_BEFORE_CUT = 2
_NO_REASON = GiveUp()


class Texts(Protocol):
    """Texts by their place; a stream has only those that wait for a vector."""

    def __getitem__(self, place: int, /) -> str: ...


class Call(msgspec.Struct, frozen=True):
    """What the parts of one call share.

    Attributes:
        sent: How its role is sent.
        total: How many texts it has; None for a stream, which learns that at its end.
        cache_keys: Of the texts by their place, where there is a cache.
    """

    runtime: Runtime
    caller: Caller
    sent: RoleFields
    work: Worklist
    texts: Texts
    total: int | None
    lane: Lane
    query: bool
    shortener: Shortener | None = None
    cache_keys: Mapping[int, bytes] | Sequence[bytes] = ()
    trace: Trace | None = None


class _Outcome(msgspec.Struct):
    """What came of one attempt.

    Attributes:
        part: As it was sent: it may have been cut while it waited.
        encoding_format: That was asked for.
        request_id: What the request is called by us.
        reply: Of the server, or None.
        failure: The error of a reply that is none of vectors, or why there is no reply.
        hint: When the server wants to be asked again.
        outage: For a 429, whether no request succeeded since the refusals before.
    """

    part: Part
    encoding_format: str | None
    request_id: str
    reply: Reply | None = None
    failure: APIConnectionError | APIStatusError | ReplyError | None = None
    hint: RetryHint | None = None
    outage: bool = False

    def is_same_request(self, part: Part, encoding_format: str | None) -> bool:
        """Tell whether a part that is sent now makes the request that was sent before."""
        return len(part) == len(self.part) and encoding_format == self.encoding_format


def embed_part(part: Part, call: Call) -> Flow:
    """Embed a part, unless it is refused: then its pieces are put back into the worklist.

    Where the budget has no room for it, the call begins no further part.

    Raises:
        AIMLAPIError: The call cannot go on.
    """
    runtime = call.runtime
    retries = Retries(runtime.policy, runtime.pacer, runtime.clock.monotonic)
    attempts = 0
    last: _Outcome | None = None
    while True:
        attempts += 1
        reserved = _reserve(part, call)
        if reserved is None:
            return
        with reserved:
            outcome = yield from _attempt(part, reserved, call, attempts, last)
            part, failure, last = outcome.part, outcome.failure, outcome
            sent = not isinstance(failure, APIConnectionError) or failure.sent
            cost = Usage(requests=int(sent), retries=int(sent and attempts > 1))
            if failure is None:
                assert outcome.reply is not None
                yield from _deliver(outcome.reply, outcome, reserved, call, cost)
                _learn(part, call)
                return
        yield Deliver(cost)
        if isinstance(failure, ReplyError):
            raise _located(failure, outcome, call) from failure.__cause__
        if isinstance(failure, BadRequestError):
            if _is_sent_otherwise(outcome, failure, call):
                last = None
                continue
            if call.work.refuse(part, failure):
                runtime.pacer.probe()
            if len(part) == 1:
                yield Deliver(Usage())  # a stream may wait for this text: it looks at the worklist
            return
        if isinstance(failure, IdleConnectionClosed):
            continue  # another one is taken, or opened, at once
        if isinstance(failure, APITimeoutError) and failure.sent and len(part) > 1:
            part.timeouts += 1
            if part.timeouts == _TIMEOUTS_BEFORE_CUT:
                call.work.cut(part)
                return
        wait = _wait_before_retry(outcome, failure, retries, call, attempts)
        if wait > 0:
            yield Sleep(wait)


def _attempt(
    part: Part, reserved: Reservation, call: Call, attempts: int, last: _Outcome | None
) -> Generator[Step, Any, _Outcome]:
    """Send a part once, when it may leave.

    Args:
        part: What is to be sent; it may be cut.
        reserved: What that may cost. It is charged here where no reply will tell the cost.
        call: That it belongs to.
        attempts: How many there are with this one.
        last: What came of the attempt that this one may repeat, or None.
    """
    runtime, work = call.runtime, call.work
    pacer = runtime.pacer
    leave = yield from pacer.leave(call.lane, part.tokens, call.caller)
    told: report.Request | None = None
    try:
        part = work.start(part)
        encoding_format = runtime.limits.encoding_format
        repeated = last if last and last.is_same_request(part, encoding_format) else None
        outcome = _Outcome(
            part,
            encoding_format,
            repeated.request_id if repeated else runtime.new_request_id(),
        )
        body = _body(part, call, encoding_format)
        told = report.request(
            call.trace,
            runtime.options.id,
            len(part),
            part.tokens,
            outcome.request_id,
            attempts - 1,
            runtime.clock.monotonic,
        )
        send = Send(body, outcome.request_id)
        try:
            outcome.reply = reply = effective_reply((yield send))
        except (APIConnectionError, ReplyError) as error:
            error.client_request_id = outcome.request_id
            outcome.failure = error
            if _may_be_billed(error):
                reserved.charge()
        except BaseException:  # interrupted
            if send.sent:
                reserved.charge()
            raise
        else:
            if is_success(reply):
                work.accept()
                pacer.succeeded(leave)
            else:
                outcome.hint = read_retry_hint(reply.headers, reply.body, runtime.clock.time)
                outcome.failure = refusal = _error(reply, outcome, call, attempts)
                if refusal.status_code == 429 and not isinstance(refusal, RequestTooLargeError):
                    before = leave.bound.limit
                    outcome.outage = pacer.refused(leave)
                    if leave.bound.limit < before:
                        report.lowered(leave.bound.limit)
        return outcome
    finally:
        work.end(part)
        pacer.release(leave)
        if told is not None:
            told.end(outcome.reply, outcome.failure)


def _reserve(part: Part, call: Call) -> Reservation | None:
    """Reserve what a part will cost; where that is too much, let the call begin no further part."""
    tokens = billed_tokens(part.batch, call.runtime.options.model.family)
    try:
        return call.runtime.budget.reserve(tokens)
    except BudgetExceededError as error:
        error.args = (
            f"{error} Raise {error.option} to go on; partial holds what was finished. "
            f"[{_place(part, call)}]",
        )
        call.work.stop(error)
        return None


def _may_be_billed(error: APIConnectionError | ReplyError) -> bool:
    """Tell whether the server may have done the work, though there is no reply that tells."""
    if isinstance(error, APIConnectionError):
        return error.sent and not isinstance(error, IdleConnectionClosed)
    return True


def _is_sent_otherwise(outcome: _Outcome, failure: BadRequestError, call: Call) -> bool:
    """Tell whether the same texts are sent once more, in another form that may be accepted."""
    runtime, part = call.runtime, outcome.part
    if outcome.encoding_format is not None and speaks_of_the_encoding(failure.message):
        runtime.limits.encoding_format = None  # it refuses base64: ask for numbers
        return True
    if isinstance(failure, RequestTooLargeError) and _has_string_form(part, runtime.options):
        part.as_string = True  # for which the server allows more
        return True
    return _is_sent_shorter(part, failure, call)


def _is_sent_shorter(part: Part, failure: BadRequestError, call: Call) -> bool:
    """Tell whether less of the one text is sent, because it was refused for its length.

    A 429 speaks of what the account may send in a minute, and not of the model.
    """
    shortener, batch = call.shortener, part.batch
    if shortener is None or len(batch) > 1 or failure.status_code == 429:
        return False
    limit = call.runtime.options.model.max_tokens_per_text
    if not (isinstance(failure, RequestTooLargeError) or (limit and part.tokens > limit)):
        return False
    (place,), (refused,) = batch.indices, batch.texts
    begin = shortener.after_refusal(place, refused)
    if begin is None:
        return False
    sent = shortener.prefix + begin
    call.work.shorten(part, Batch([place], [sent], [estimate_tokens(sent)], batch.title))
    report.shortened(place, len(begin))
    return True


def _wait_before_retry(
    outcome: _Outcome,
    failure: APIConnectionError | APIStatusError,
    retries: Retries,
    call: Call,
    attempts: int,
) -> float:
    """Say how many seconds to wait; raise the failure when the request is not repeated."""
    closed_for = call.runtime.pacer.closed_for
    if isinstance(failure, APIConnectionError):
        why = type(failure).__name__
        wait = retries.after_connection_error(failure)
        if isinstance(wait, GiveUp):
            raise _with_place(failure, outcome.part, call, attempts, wait.reason)
    else:
        why = str(failure.status_code)
        wait = retries.after_status_error(failure, outcome.hint, outage=outcome.outage)
        if isinstance(wait, GiveUp):
            assert outcome.reply is not None
            raise _error(outcome.reply, outcome, call, attempts, wait)
    seconds = max(wait, call.runtime.pacer.closed_for)
    report.wait(call.trace, why, retries, seconds, closed_for, len(call.work) + 1)
    return wait


def _body(part: Part, call: Call, encoding_format: str | None) -> bytes:
    batch = part.batch
    return build_body(
        call.runtime.options,
        call.sent.fields,
        batch.texts,
        batch.title,
        encoding_format,
        alone=part.as_string,
    )


def _has_string_form(part: Part, options: Options) -> bool:
    """Tell whether one text that was refused in an array may be longer as a string."""
    limited = options.model.family.max_chars_in_array is not None
    return (
        len(part) == 1
        and limited
        and not part.as_string
        and fits_in_array(part.batch.texts[0], options.model)
    )


def _deliver(
    reply: Reply, outcome: _Outcome, reserved: Reservation, call: Call, cost: Usage
) -> Flow:
    runtime, part = call.runtime, outcome.part
    options = runtime.options
    try:
        rows, usage, served = parse_reply(
            reply,
            len(part),
            size=expected_size(options),
            credits_per_usd=options.provider.credits_per_usd,
        )
    except BaseException as error:  # Ctrl-C too: it is paid for all the same
        told = cost_of(reply, options.provider.credits_per_usd)
        reserved.charge(told)
        yield Deliver(told + cost)
        if isinstance(error, ReplyError):
            raise _located(error, outcome, call) from error.__cause__
        raise
    reserved.charge(usage)
    if not options.model.family.counts_characters:
        runtime.pacer.told_tokens(part.tokens, usage.total_tokens)
    usage, indices = usage + cost, part.batch.indices
    if runtime.cache is not None:
        yield Deliver(usage)  # counted, even if the call is cancelled while it waits for the disk
        usage = Usage()
        keys = [call.cache_keys[i] for i in indices]
        cut = call.shortener.kept if call.shortener else {}
        kept = {n: cut[i] for n, i in enumerate(indices) if i in cut} if cut else {}
        yield Run(runtime.cache.keeping(keys, rows, options.model.id, kept))
    yield Deliver(usage, indices, rows, served, request_id(reply))


def _learn(part: Part, call: Call) -> None:
    """Note that a part was embedded, and tell what that proved about the size of requests."""
    limits = call.runtime.limits
    before = limits.max_texts, limits.max_tokens
    call.work.embedded(part)
    if limits.max_texts < before[0] or limits.max_tokens < before[1]:
        report.learned(limits.max_texts, limits.max_tokens)


def _error(
    reply: Reply,
    outcome: _Outcome,
    call: Call,
    attempts: int,
    end: GiveUp = _NO_REASON,
) -> APIStatusError:
    part, hint = outcome.part, outcome.hint
    place = _place(part, call, attempts)
    error = error_of(
        reply,
        provider=call.runtime.options.provider,
        key=call.runtime.key,
        url=call.runtime.url,
        where=f"{place}; {end.reason}" if end.reason else place,
        indices=tuple(part.batch.indices),
        retry_after=max(hint.seconds, 0.0) if hint else None,
        advice=end.advice,
        unknown_model=_if_unknown(call.runtime.options),
        may_truncate=call.runtime.options.too_long != "truncate",
    )
    error.client_request_id = outcome.request_id
    return error


def _if_unknown(options: Options) -> str:
    """Say what to do if the model is at fault, where this version does not know it."""
    if is_known(options.model, options.provider):
        return ""
    return f"This version does not know the model. {suggest(options.id, options.provider)}"


def _with_place(
    error: APIConnectionError, part: Part, call: Call, attempts: int, reason: str
) -> APIConnectionError:
    """Add to a connection error which texts it concerns, and why it is not repeated."""
    end = f"; {reason}" if reason else ""
    located = type(error)(f"{error} [{_place(part, call, attempts)}{end}]")
    located.permanent, located.sent = error.permanent, error.sent
    located.client_request_id = error.client_request_id
    located.__cause__ = error.__cause__
    return located


def _located(error: ReplyError, outcome: _Outcome, call: Call) -> ReplyError:
    """Add to an error about a reply which texts and which request it concerns."""
    part = outcome.part
    for i in error.indices:
        part = Part(part.batch.part(i, i + 1))
    located = ReplyError(f"{error} [{_place(part, call)}]")
    located.indices = tuple(part.batch.indices)
    located.client_request_id = outcome.request_id
    located.request_id = None if outcome.reply is None else request_id(outcome.reply)
    return located


def _place(part: Part, call: Call, attempts: int = 1) -> str:
    """Tell which texts a request carried, of which model, and how often it was sent."""
    first, last = part.batch.indices[0], part.batch.indices[-1]
    of_total = "" if call.total is None else f" of {call.total}"
    if len(part) == 1:
        text = part.batch.texts[0].removeprefix(call.sent.prefix)
        head = text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 1] + "\u2026"
        is_the_query = call.query and call.total == 1
        texts = f"{'the query' if is_the_query else f'text {first}{of_total}'}, {head!r}"
    else:
        texts = f"{len(part)} texts from {first} to {last}{of_total}"
    count = f"; {attempts} attempts" if attempts > 1 else ""
    return f"{texts}; model {call.runtime.options.id}{count}"
