"""Which events of the framework does a call emit?

The base class embeds each window before the next, which would hold up the requests, and lets
pydantic check and copy each vector for the last event, which takes half as long again as embedding
them. Here one call embeds all windows while the first one's events are open. Handlers get copies,
so that they cannot change the caller's vectors; callbacks and event handlers each their own, which
async calls make in slices. Where there is no handler, no event is made.

What a call cost is an event of ours, since the framework has none for it.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import Any, Protocol, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, dispatcher
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    active_instrument_tags,
)
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.span import (  # type: ignore[attr-defined]
    SpanDropEvent,
)
from llama_index.core.instrumentation.span import active_span_id
from pydantic import ConfigDict, Field

from aimlapi_embeddings import EmbeddingResult, Progress, Usage
from aimlapi_embeddings.adapters import in_turns, partial_of

F = TypeVar("F", bound=Callable[..., Any])


class EmbeddingUsageEvent(BaseEvent):
    """What a call of an embedding model cost, also one that failed; it holds no text.

    It comes before the `EmbeddingEndEvent` of the same call, and only where something was sent or
    saved. Its `span_id` is that of the framework's span. A stream has one span and one such event,
    when it ends, fails or is closed, and no others.
    """

    model_config = ConfigDict(protected_namespaces=("pydantic_model_",))

    model: str = Field(description="The id that was asked for.")
    model_served: str | None = Field(None, description="As the server names who answered, or None.")
    prompt_tokens: int = Field(0, description="Tokens billed for the input, by the server's count.")
    total_tokens: int = Field(0, description="The same; some servers report only this one.")
    credits_used: int = Field(0, description="The gateway's credits.")
    usd_spent: float = Field(0.0, description="US dollars.")
    requests: int = Field(0, description="Requests sent, refused and failed ones included.")
    retries: int = Field(0, description="How many of those repeated an earlier one.")
    cached: int = Field(0, description="Texts whose vectors came from the client's cache.")
    request_ids: tuple[str, ...] = Field(
        (),
        description="The server's, of replies with vectors; empty where a call fails. Of a stream, "
        "those of the first 1,000 replies.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that the framework stores events under."""
        return "EmbeddingUsageEvent"


@contextmanager
def emit_usage(model: str) -> Iterator[Callable[[EmbeddingResult], EmbeddingResult]]:
    """Emit what a call cost. The caller passes its result through the function.

    Args:
        model: The id that is asked for.
    """

    def brought(result: EmbeddingResult) -> EmbeddingResult:
        _emit(model, result.usage, result.model_served, result.request_ids)
        return result

    try:
        yield brought
    except BaseException as error:
        if partial := partial_of(error):
            _emit(model, partial.usage)
        raise


def _emit(
    model: str, usage: Usage, served: str | None = None, request_ids: tuple[str, ...] = ()
) -> None:
    if usage == Usage() or not _has_handlers():
        return
    event = EmbeddingUsageEvent(
        model=model,
        model_served=served,
        prompt_tokens=usage.prompt_tokens,
        total_tokens=usage.total_tokens,
        credits_used=usage.credits_used,
        usd_spent=usage.usd_spent,
        requests=usage.requests,
        retries=usage.retries,
        cached=usage.cached,
        request_ids=request_ids,
    )
    dispatcher.event(event)


class Paid(Protocol):
    """What a stream has paid for so far."""

    usage: Usage
    request_ids: list[str]

    @property
    def served(self) -> Any:
        """Who has answered last."""


@contextmanager
def trace_stream(
    embedding: BaseEmbedding,
    method: str,
    paid: Paid,
    showing: AbstractContextManager[Progress | None],
) -> Iterator[Progress | None]:
    """Give a stream a span, from its first vector to its end, and emit what it cost.

    A stream is read on in whatever thread, task or span asks for its next vector. Its own span
    begins where its first vector is asked for, and is active for its own event only.

    Args:
        embedding: Whose stream it is.
        method: Which began it.
        paid: Read when it ends.
        showing: Its bar.
    """
    spans = get_dispatcher(type(embedding).__module__)
    context = copy_context()
    span = f"{type(embedding).__name__}.{method}-{uuid.uuid4()}"
    about: dict[str, Any] = {
        "id_": span,
        # Not the texts: the handlers keep these.
        "bound_args": inspect.signature(getattr(embedding, method)).bind_partial(),
        "instance": embedding,
    }
    parent, tags = active_span_id.get(), active_instrument_tags.get()
    spans.span_enter(**about, parent_id=parent, tags=tags)
    context.run(active_span_id.set, span)
    try:
        with showing as progress:
            yield progress
    except BaseException as error:
        context.run(_emit_paid, embedding.model_name, paid)
        if isinstance(error, GeneratorExit):  # to leave it early is no error
            spans.span_exit(**about)
        else:
            context.run(spans.event, SpanDropEvent(span_id=span, err_str=str(error)))
            spans.span_drop(**about, err=error)
        raise
    context.run(_emit_paid, embedding.model_name, paid)
    spans.span_exit(**about)


def _emit_paid(model: str, paid: Paid) -> None:
    _emit(model, paid.usage, paid.served.model, tuple(paid.request_ids))


def keep_signature(method: F) -> F:
    """Note the signature of a method, which the framework's spans work out at each call else.

    That takes 7 us, and a query has two spans.
    """
    method.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
    return method


class Copies:
    """Copies of a call's vectors for its handlers; callbacks and event handlers get their own.

    Args:
        vectors: Of the call.
        readers: How many of the two there are.
    """

    def __init__(self, vectors: Sequence[Embedding], readers: int) -> None:
        self._vectors, self._readers = vectors, readers
        self._made: list[list[Embedding]] = []

    async def make(self) -> None:
        """Make all of them ahead in slices, since handlers are called in one go."""
        for _ in range(self._readers):
            self._made.append([vector.copy() async for vector in in_turns(self._vectors)])

    def take(self, window: slice, reader: int) -> list[Embedding]:
        """Return those of a window."""
        if self._made:
            return self._made[reader][window]
        return [vector.copy() for vector in self._vectors[window]]


@contextmanager
def emit_events(
    embedding: BaseEmbedding,
    texts: Sequence[str],
    vectors: list[Embedding],
    at_once: bool = False,
) -> Iterator[Copies | None]:
    """Emit the events of a call whose vectors the caller puts into the list, window by window.

    Callbacks of a window start when those of the one before have ended, so that their times add up
    to that of the call.

    Args:
        embedding: Whose call it is.
        texts: Of all windows.
        vectors: Empty at first.
        at_once: Whether the start events of all windows precede the first end event, as in the
            base's async methods.

    Yields:
        What handlers are going to get, or None where there is no handler.
    """
    called, heard = bool(embedding.callback_manager.handlers), _has_handlers()
    if not called and not heard:
        yield None  # there is no handler, and events cost a fifth of a query
        return
    count = len(texts) if isinstance(texts, Sequence) else 0
    windows = [
        slice(start, start + embedding.embed_batch_size)
        for start in range(0, count, embedding.embed_batch_size)
    ]
    payload = embedding.to_payload()
    copies = Copies(vectors, called + heard)
    for _ in windows if at_once else windows[:1]:
        dispatcher.event(EmbeddingStartEvent(model_dict=payload))
    if not windows:
        yield copies
    for window in windows:
        first = window is windows[0]
        if not first and not at_once:
            dispatcher.event(EmbeddingStartEvent(model_dict=payload))
        with embedding.callback_manager.event(
            CBEventType.EMBEDDING, payload={EventPayload.SERIALIZED: {**payload}}
        ) as event:
            if first:
                yield copies
            if called:
                shown: dict[str, Any] = {
                    EventPayload.CHUNKS: list(texts[window]),
                    EventPayload.EMBEDDINGS: copies.take(window, 0),
                }
                event.on_end(shown)
        if heard:  # copies of their own, since callbacks may change theirs
            ended = EmbeddingEndEvent(chunks=list(texts[window]), embeddings=[])
            # Unchecked: they were checked when they were decoded.
            ended.embeddings = copies.take(window, -1)
            dispatcher.event(ended)


def _has_handlers() -> bool:
    """Tell whether there is a handler for the events of embedding models."""
    level: Any = dispatcher
    while level is not None:
        if not all(isinstance(handler, NullEventHandler) for handler in level.event_handlers):
            return True
        level = level.parent if level.propagate else None
    return False
