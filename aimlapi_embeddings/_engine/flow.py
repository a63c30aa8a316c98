"""How one part of a call is sent: permission, request, reply, and the next step.

A flow is a generator without I/O. It yields steps, is sent the reply to each `Send`, and has a
connection error thrown in where there is none. The policies it asks are objects of their own: when
a request may leave (`pacing`), whether and when it is repeated (`retries`), whose fault a refusal
is (`refusals`), and in which other form it may be accepted (`other_forms`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.budget import Reservation
from aimlapi_embeddings._engine.other_forms import take_other_form
from aimlapi_embeddings._engine.part_errors import (
    connection_error,
    place_of,
    reply_error,
    status_error,
)
from aimlapi_embeddings._engine.planning import billed_tokens
from aimlapi_embeddings._engine.refusals import Part
from aimlapi_embeddings._engine.retries import GiveUp, Retries
from aimlapi_embeddings._engine.runtime import Call
from aimlapi_embeddings._engine.steps import Deliver, Flow, Run, Send, Sleep, Step
from aimlapi_embeddings._errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    BudgetExceededError,
    InternalServerError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings._protocol.attempt import IdleConnectionClosed
from aimlapi_embeddings._protocol.error_body import effective_reply, is_success
from aimlapi_embeddings._protocol.options import expected_size
from aimlapi_embeddings._protocol.request import build_body
from aimlapi_embeddings._protocol.response import cost_of, parse_reply
from aimlapi_embeddings._protocol.retry_hints import RetryHint, read_retry_hint
from aimlapi_embeddings._protocol.status import of_kind, request_id
from aimlapi_embeddings._types import Reply, Usage

# Statuses with which servers may fail at a text. 503 and most others are about the server itself.
_AT_TEXTS = frozenset({500, 502, 504})
_TEXT_AT_FAULT = GiveUp(
    "others got through meanwhile",
    "The server fails at this text each time: leave it out, or change it, and quote the request id "
    "to the provider.",
)
_MAYBE_A_TEXT = (
    "The provider failed; try again later, and quote the request id if it lasts. If it lasts for "
    "these texts alone, one of them is the cause: batch_size=1 names it."
)
# A batch that got no reply in time so often is not sent again at its size.
_TIMEOUTS_BEFORE_CUT = 2


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
        got_through: How many requests of the client had brought vectors when this one was sent.
    """

    part: Part
    encoding_format: str | None
    request_id: str
    got_through: int
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
    well_since = part.suspect_since
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
            raise _placed(failure, outcome, call) from failure.__cause__
        if isinstance(failure, BadRequestError):
            if take_other_form(part, failure, outcome.encoding_format, call):
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
        if isinstance(failure, InternalServerError) and failure.status_code in _AT_TEXTS:
            if well_since is None:
                well_since = outcome.got_through
            if _is_given_up(outcome, well_since, retries, call, attempts):
                yield Deliver(Usage())
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
    permit = yield from pacer.acquire(call.lane, part.tokens, call.caller)
    logged: report.Request | None = None
    try:
        part = work.start(part)
        encoding_format = runtime.limits.encoding_format
        repeated = last if last and last.is_same_request(part, encoding_format) else None
        outcome = _Outcome(
            part,
            encoding_format,
            repeated.request_id if repeated else runtime.new_request_id(),
            pacer.got_through,
        )
        body = _body(part, call, encoding_format)
        logged = report.request(
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
                pacer.succeeded(permit)
            else:
                outcome.hint = read_retry_hint(reply.headers, reply.body, runtime.clock.time)
                outcome.failure = refusal = status_error(reply, part, call, outcome.hint, attempts)
                refusal.client_request_id = outcome.request_id
                if refusal.status_code == 429 and not isinstance(refusal, RequestTooLargeError):
                    before = permit.bound.limit
                    outcome.outage = pacer.refused(permit)
                    if permit.bound.limit < before:
                        report.lowered(permit.bound.limit)
        return outcome
    finally:
        work.end(part)
        pacer.release(permit)
        if logged is not None:
            logged.end(outcome.reply, outcome.failure)


def _reserve(part: Part, call: Call) -> Reservation | None:
    """Reserve what a part will cost; where that is too much, let the call begin no further part."""
    tokens = billed_tokens(part.batch, call.runtime.options.model.family)
    try:
        return call.runtime.budget.reserve(tokens)
    except BudgetExceededError as error:
        error.args = (
            f"{error} Raise {error.option} to go on; partial holds what was finished. "
            f"[{place_of(part, call)}]",
        )
        call.work.stop(error)
        return None


def _may_be_billed(error: APIConnectionError | ReplyError) -> bool:
    """Tell whether the server may have done the work, though there is no reply that tells."""
    if isinstance(error, APIConnectionError):
        return error.sent and not isinstance(error, IdleConnectionClosed)
    return True


def _is_given_up(
    outcome: _Outcome, well_since: int, retries: Retries, call: Call, attempts: int
) -> bool:
    """Tell whether a part at which the server fails is to blame, since others get through.

    Then it is cut, or its one text is at fault. A piece of one that was cut so may have to wait
    for the others, whose success is what tells a bad text from a bad server.

    Args:
        outcome: Of the last attempt.
        well_since: How many requests of the client had got through when this part, or the one that
            it is a piece of, was first sent.
        retries: Of the part.
        call: That it belongs to.
        attempts: How many there were. After a single one nothing can be told.
    """
    part, got_through = outcome.part, call.runtime.pacer.got_through
    is_piece = part.suspect_since is not None
    if attempts == 1 and not part.put_off:
        return False
    if got_through == well_since:
        return is_piece and call.work.put_off(part)
    if len(part) > 1:
        if is_piece or retries.is_used_up:
            call.work.suspect(part, well_since, got_through)
            return True
        return False
    if call.total == 1 or not retries.is_used_up:
        return False
    assert outcome.reply is not None
    error = status_error(outcome.reply, part, call, outcome.hint, attempts, _TEXT_AT_FAULT)
    error.client_request_id = outcome.request_id
    call.work.refuse(part, of_kind(BadRequestError, error, str(error), error.indices))
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
            raise connection_error(failure, outcome.part, call, attempts, wait.reason)
    else:
        why = str(failure.status_code)
        wait = retries.after_status_error(failure, outcome.hint, outage=outcome.outage)
        if isinstance(wait, GiveUp):
            assert outcome.reply is not None
            if failure.status_code in _AT_TEXTS and attempts > 1 and len(outcome.part) > 1:
                wait = msgspec.structs.replace(wait, advice=wait.advice or _MAYBE_A_TEXT)
            error = status_error(outcome.reply, outcome.part, call, outcome.hint, attempts, wait)
            error.client_request_id = outcome.request_id
            raise error
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
    except BaseException as error:  # Ctrl-C too: the reply is paid for all the same
        reported = cost_of(reply, options.provider.credits_per_usd)
        reserved.charge(reported)
        yield Deliver(reported + cost)
        if isinstance(error, ReplyError):
            raise _placed(error, outcome, call) from error.__cause__
        raise
    reserved.charge(usage)
    if not options.model.family.counts_characters:
        runtime.pacer.correct_tokens(part.tokens, usage.total_tokens)
    usage, indices = usage + cost, part.batch.indices
    if runtime.cache is not None:
        yield Deliver(usage)  # counted, even if the call is cancelled while it waits for the disk
        usage = Usage()
        keys = [call.cache_keys[i] for i in indices]
        cut = call.shortener.kept if call.shortener else {}
        kept = {n: cut[i] for n, i in enumerate(indices) if i in cut} if cut else {}
        yield Run(runtime.cache.keeping(keys, rows, options.model.id, kept))
    yield Deliver(usage, indices, rows, served, request_id(reply))


def _placed(error: ReplyError, outcome: _Outcome, call: Call) -> ReplyError:
    placed = reply_error(error, outcome.part, call, outcome.reply)
    placed.client_request_id = outcome.request_id
    return placed


def _learn(part: Part, call: Call) -> None:
    """Note that a part was embedded, and tell what that proved about the size of requests."""
    limits = call.runtime.limits
    before = limits.max_texts, limits.max_tokens
    call.work.embedded(part)
    if limits.max_texts < before[0] or limits.max_tokens < before[1]:
        report.learned(limits.max_texts, limits.max_tokens)
