"""What is logged of calls and requests, and traced with OpenTelemetry?

Called by the engine alone, so that each thing is logged once. The pacer logs waits for a rate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._catalog.models import is_known
from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._engine.pacing import LONG_WAIT
from aimlapi_embeddings._engine.retries import Retries
from aimlapi_embeddings._log import CATALOG, ENGINE
from aimlapi_embeddings._protocol.status import request_id
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._telemetry import RequestTrace, Trace
from aimlapi_embeddings._types import Reply


class Request(msgspec.Struct, frozen=True):
    """One attempt that is logged or traced.

    Attributes:
        model: The id.
        texts: That it carries.
        tokens: Estimated, of all texts.
        client_request_id: What the request is called by us.
        trace: Its span, where one is recorded.
        monotonic: The clock.
        began: When it told that sending began.
    """

    model: str
    texts: int
    tokens: int
    client_request_id: str
    trace: RequestTrace | None
    monotonic: Callable[[], float]
    began: float

    def end(self, reply: Reply | None, failure: Exception | None) -> None:
        """Log what came of it: a reply, a failure, both, or none when it was broken off."""
        server_id = None if reply is None else request_id(reply)
        if self.trace is not None:
            error = failure if reply or failure else "cancelled"
            self.trace.end(None if reply is None else reply.status, server_id, error)
        ENGINE.debug(
            "request: model %s, %d texts, about %d tokens, %s, %.3f s, request id %s, "
            "client request id %s",
            self.model,
            self.texts,
            self.tokens,
            "no reply" if reply is None else f"status {reply.status}",
            self.monotonic() - self.began,
            server_id or "not told",
            self.client_request_id,
        )


def request(
    trace: Trace | None,
    model: str,
    texts: int,
    tokens: int,
    client_request_id: str,
    resent: int,
    monotonic: Callable[[], float],
) -> Request | None:
    """Tell that an attempt begins; None when single requests are neither logged nor traced.

    Args:
        trace: Of the call, or None.
        model: The id.
        texts: That it carries.
        tokens: Estimated, of all texts.
        client_request_id: What the request is called by us.
        resent: How many attempts preceded this one.
        monotonic: The clock.
    """
    span = None if trace is None else trace.request(texts, tokens, client_request_id, resent)
    if span is None and not ENGINE.isEnabledFor(logging.DEBUG):
        return None
    return Request(model, texts, tokens, client_request_id, span, monotonic, monotonic())


def wait(
    trace: Trace | None,
    why: str,
    retries: Retries,
    seconds: float,
    closed_for: float,
    waiting: int,
) -> None:
    """Log that a request will be repeated, and when.

    Args:
        trace: Of the call, or None.
        why: The status, or the kind of the error.
        retries: Of this request.
        seconds: Until it is repeated.
        closed_for: Seconds for which no request could leave anyway. When that was a long wait, a
            warning was logged then: one for all requests that wait together.
        waiting: Requests of the call that are still to be sent, this one included.
    """
    if trace is not None:
        trace.waits(why, seconds, retries.counted)
    warned = seconds > LONG_WAIT >= closed_for
    ENGINE.log(
        logging.WARNING if warned else logging.INFO,
        "%s: waiting %.1f s before a retry (%s); requests waiting: %d",
        why,
        seconds,
        retries.used,
        waiting,
    )


def lowered(limit: int) -> None:
    """Log that the bound was lowered after a 429."""
    ENGINE.info("429: at most %d requests in flight from now on", limit)


def learned(max_texts: float, max_tokens: float) -> None:
    """Log what the server accepts at most."""
    ENGINE.info(
        "learned limit: at most %s texts and %s estimated tokens in a request",
        _figure(max_texts),
        _figure(max_tokens),
    )


def shortened(place: int, kept: int) -> None:
    """Tell that a text was refused for its length, and that less of it is sent."""
    ENGINE.info("text %d was refused as too long: its first %d characters are sent", place, kept)


def _figure(limit: float) -> str:
    return "any number of" if limit == float("inf") else f"{limit:,.0f}"


def first_request(model: Model, provider: Provider) -> None:
    """Log that the model is one that may not be served."""
    if model.retired:
        CATALOG.warning(
            "first request for %s, which left the list of %s on %s",
            model.id,
            provider.name,
            model.retired,
        )
    elif not is_known(model, provider):
        CATALOG.warning(
            "first request for %s, which this version does not know for %s",
            model.id,
            provider.name,
        )


def fitted(model: Model, kept: Mapping[int, int]) -> Work[None]:
    """Tell that only the beginning of some texts is sent, as was asked: their number, then each.

    Args:
        model: What they are embedded with.
        kept: How many characters are sent of each such text, by its place.
    """
    if CATALOG.isEnabledFor(logging.INFO):
        CATALOG.info("%d texts are longer than %s takes and were cut", len(kept), model.id)
        for place, characters in kept.items():
            CATALOG.info("text %d was cut: its first %d characters are sent", place, characters)
            yield


def cut_texts(model: Model, tokens: Mapping[int, int]) -> Work[None]:
    """Log that the provider may embed only the beginning of some texts: their number, then each.

    Args:
        model: What they are embedded with.
        tokens: Estimated tokens of each such text, by its place; in order.
    """
    first, limit = next(iter(tokens)), model.max_tokens_per_text or 0
    CATALOG.warning(
        "%d texts are longer than %s takes and may be cut: the first at %d, about %d tokens of %d",
        len(tokens),
        model.id,
        first,
        tokens[first],
        limit,
    )
    if CATALOG.isEnabledFor(logging.INFO):
        for place, count in tokens.items():
            CATALOG.info("text %d may be cut: about %d tokens of %d", place, count, limit)
            yield
