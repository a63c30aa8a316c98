"""What does the log hear of requests? Called by the flow alone, so that each thing is told once."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._catalog.models import is_known
from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._engine.retries import Retries
from aimlapi_embeddings._log import CATALOG, ENGINE
from aimlapi_embeddings._protocol.status import request_id
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._types import Reply

# Seconds. A wait of more is a warning: whoever sits in front of the program wonders.
LONG_WAIT = 5.0


def hears_requests() -> bool:
    """Tell whether anybody listens to single requests."""
    return ENGINE.isEnabledFor(logging.DEBUG)


def request(model: str, texts: int, tokens: int, reply: Reply | None, seconds: float) -> None:
    """Tell of one attempt: it got a reply, or none."""
    ENGINE.debug(
        "request: model %s, %d texts, about %d tokens, %s, %.3f s, request id %s",
        model,
        texts,
        tokens,
        "no reply" if reply is None else f"status {reply.status}",
        seconds,
        "not told" if reply is None else request_id(reply) or "not told",
    )


def wait(why: str, retries: Retries, seconds: float, closed_for: float, waiting: int) -> None:
    """Tell that a request will be repeated, and when.

    Args:
        why: The status, or the kind of the error.
        retries: Of this request.
        seconds: Until it is repeated.
        closed_for: Seconds for which no request could leave anyway. When that was a long wait, it
            was told of then: one warning for all requests that wait together.
        waiting: Requests of the call that are still to be sent, this one included.
    """
    warned = seconds > LONG_WAIT >= closed_for
    ENGINE.log(
        logging.WARNING if warned else logging.INFO,
        "%s: waiting %.1f s before a retry (%d of %d used); requests waiting: %d",
        why,
        seconds,
        retries.counted,
        retries.policy.max_retries,
        waiting,
    )


def lowered(limit: int) -> None:
    """Tell that the bound was lowered after a 429."""
    ENGINE.info("429: at most %d requests in flight from now on", limit)


def learned(max_texts: float, max_tokens: float) -> None:
    """Tell what the server accepts at most."""
    ENGINE.info(
        "learned limit: at most %s texts and %s estimated tokens in a request",
        _figure(max_texts),
        _figure(max_tokens),
    )


def shortened(place: int, kept: int, characters: int) -> None:
    """Tell that a text was refused for its length, and that less of it is sent."""
    ENGINE.info(
        "text %d was refused as too long: %d of its %d characters are sent",
        place,
        kept,
        characters,
    )


def _figure(limit: float) -> str:
    return "any number of" if limit == float("inf") else f"{limit:,.0f}"


def first_request(model: Model, provider: Provider) -> None:
    """Tell that the model is one that may not be served."""
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


def fitted(model: Model, texts: int, first: int, kept: int) -> None:
    """Tell that only the beginning of some texts is sent, as was asked."""
    CATALOG.info(
        "%d texts are longer than %s takes and were cut: the first at %d, to %d characters",
        texts,
        model.id,
        first,
        kept,
    )


def cut_texts(model: Model, tokens: Mapping[int, int]) -> Work[None]:
    """Tell that the provider may embed only the beginning of some texts: their number, then each.

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
