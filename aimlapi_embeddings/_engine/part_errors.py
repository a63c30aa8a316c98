"""Errors about one part of a call: they name its texts, its model, and how often it was sent."""

from __future__ import annotations

from aimlapi_embeddings._catalog.models import is_known, suggest
from aimlapi_embeddings._engine.refusals import Part
from aimlapi_embeddings._engine.retries import GiveUp
from aimlapi_embeddings._engine.runtime import Call
from aimlapi_embeddings._errors import APIConnectionError, APIStatusError, ReplyError
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.retry_hints import RetryHint
from aimlapi_embeddings._protocol.status import error_of, request_id
from aimlapi_embeddings._types import Reply

_SHOWN_TEXT = 60  # characters
_NO_REASON = GiveUp()


def status_error(
    reply: Reply,
    part: Part,
    call: Call,
    hint: RetryHint | None,
    attempts: int,
    end: GiveUp = _NO_REASON,
) -> APIStatusError:
    """Make the error of a reply that refuses a part.

    Args:
        reply: Of the server.
        part: What was refused.
        call: That the part belongs to.
        hint: When the server wants to be asked again.
        attempts: How many there were.
        end: Why there will be no other one.
    """
    where = place_of(part, call, attempts)
    return error_of(
        reply,
        provider=call.runtime.options.provider,
        key=call.runtime.key,
        url=call.runtime.url,
        where=f"{where}; {end.reason}" if end.reason else where,
        indices=tuple(part.batch.indices),
        retry_after=max(hint.seconds, 0.0) if hint else None,
        advice=end.advice,
        unknown_model=_if_unknown(call.runtime.options),
        may_truncate=call.runtime.options.too_long != "truncate",
    )


def connection_error(
    error: APIConnectionError, part: Part, call: Call, attempts: int, reason: str
) -> APIConnectionError:
    """Add to a connection error which texts it concerns, and why it is not repeated."""
    end = f"; {reason}" if reason else ""
    placed = type(error)(f"{error} [{place_of(part, call, attempts)}{end}]")
    placed.permanent, placed.sent = error.permanent, error.sent
    placed.client_request_id = error.client_request_id
    placed.__cause__ = error.__cause__
    return placed


def reply_error(error: ReplyError, part: Part, call: Call, reply: Reply | None) -> ReplyError:
    """Add to an error about a reply which texts it concerns, and the server's id of the request."""
    for i in error.indices:  # of one vector, by its place in the reply
        part = Part(part.batch.part(i, i + 1))
    placed = ReplyError(f"{error} [{place_of(part, call)}]")
    placed.indices = tuple(part.batch.indices)
    placed.request_id = None if reply is None else request_id(reply)
    return placed


def place_of(part: Part, call: Call, attempts: int = 1) -> str:
    """Say which texts a request carried, of which model, and how often it was sent."""
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


def _if_unknown(options: Options) -> str:
    """Say what to do if the model is at fault, where this version does not know it."""
    if is_known(options.model, options.provider):
        return ""
    return f"This version does not know the model. {suggest(options.id, options.provider)}"
