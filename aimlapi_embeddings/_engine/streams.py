"""Checks what a stream is given, and lays it out. Nothing is read or sent yet."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

from aimlapi_embeddings._engine.calls import (
    cuts_silently,
    is_over_limit,
    report_cut,
    report_first_request,
    shortener_of,
    too_long,
)
from aimlapi_embeddings._engine.inputs import check_source
from aimlapi_embeddings._engine.pacing import Lane
from aimlapi_embeddings._engine.planning import even_size, most_tokens, never_granted
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.runtime import Call, Runtime
from aimlapi_embeddings._engine.steps import Caller
from aimlapi_embeddings._engine.stream_forms import Form, Results, Vectors
from aimlapi_embeddings._engine.stream_packing import Packer
from aimlapi_embeddings._engine.stream_rules import Rules
from aimlapi_embeddings._engine.stream_window import Window
from aimlapi_embeddings._errors import AIMLAPIError, ConfigurationError
from aimlapi_embeddings._protocol.options import Options, check_integer, expected_size
from aimlapi_embeddings._protocol.request import CacheKeys, check_titles, role_fields, too_long_rule
from aimlapi_embeddings._protocol.vectors import FLOAT32
from aimlapi_embeddings._result import nothing_finished
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Role, TaskType

# Requests that the texts of a window fill, for each one that may be in flight. With two, every
# tenth request failing once, a job took 1.9 times as long as without a window; with eight, 1.04.
_REQUESTS_IN_WINDOW = 8
_WINDOW_BYTES = 128 * 1024**2  # of vectors
# Where the size of the vectors is not known.
_LIKELY_SIZE = 1536


class Stream(NamedTuple):
    """A stream before its first text is read.

    Attributes:
        window: What it holds.
        new_call: What its parts share, for whoever waits for them.
    """

    window: Window[Any]
    new_call: Callable[[Caller, Trace | None], Call]


def lay_out_stream(
    runtime: Runtime,
    texts: Iterable[object] | AsyncIterable[object],
    role: Role,
    task_type: TaskType | str | None,
    on_invalid: Literal["raise", "none"],
    batches_of: int | None,
    window: int | None,
    *,
    is_async: bool,
) -> Stream:
    """Check the arguments of `embed_iter`, and say how texts are packed and held."""
    try:
        options = runtime.options
        sent = role_fields(options, role, task_type)
        check_source(texts, is_async=is_async)
        if not isinstance(on_invalid, str) or on_invalid not in ("raise", "none"):
            raise ConfigurationError(f"on_invalid={on_invalid!r} is neither 'raise' nor 'none'.")
        size = expected_size(options)
        scaled = options.normalize
        form: Form[Any] = Vectors(normalize=scaled)
        if batches_of is not None:
            places = check_integer("batches_of", batches_of, 1)
            form = Results(places, options.id, size, normalize=scaled)
        side_by_side = runtime.waves_of
        max_tokens = runtime.most_tokens
        packed_tokens = min(
            most_tokens(options.model, max_tokens), runtime.pacer.rates.packed_tokens
        )
        length = _length_of(texts)
        batch_size = options.batch_size
        if length:  # as many requests as are in flight at a time, or a multiple, as in `embed`
            batch_size = even_size(length, batch_size, side_by_side)
        work = Worklist([], runtime.limits, complete=False)

        shortener = shortener_of(options, sent)
        refused_here = too_long_rule(options).here == "refuse"
        may_be_cut = cuts_silently(options, sent.fields)

        def judge(place: int, text: str, tokens: int) -> Exception | bool:
            if tokens > max_tokens:
                return never_granted(place, tokens, max_tokens)
            if not is_over_limit(options, text, tokens):
                return False
            if refused_here:
                return too_long(options, {place: tokens}, place + 1)
            if may_be_cut:
                report_cut(runtime, sent.fields, place, tokens)
            return may_be_cut

        found = Window(
            rules=Rules(
                prefix=sent.prefix,
                check_title=partial(check_titles, options, sent),
                judge=judge,
                count=runtime.meter.add,
                shortener=shortener,
                key_of=CacheKeys(options, sent, runtime.url).key
                if runtime.cache is not None
                else None,
            ),
            packer=Packer(options.model, batch_size, packed_tokens),
            work=work,
            form=form,
            most=_window_of(options, runtime.pacer.most)
            if window is None
            else check_integer("window", window, 1),
            most_requests=runtime.pacer.most,
            length=length,
            size=size,
            normalize=scaled,
            none_for_invalid=on_invalid == "none",
        )

        def make_call(caller: Caller, trace: Trace | None) -> Call:
            report_first_request(runtime)
            return Call(
                runtime,
                caller,
                sent,
                work,
                found,
                None,
                lane=Lane.BULK,
                query=role == "query",
                shortener=shortener,
                cache_keys=found.keys,
                trace=trace,
            )

        return Stream(found, make_call)
    except AIMLAPIError as error:
        error.partial = nothing_finished()
        raise


def _window_of(options: Options, requests: int) -> int:
    """Tell how many texts are read and not yet handed over, where the user gave no number."""
    size = expected_size(options) or _LIKELY_SIZE
    most = max(_WINDOW_BYTES // (size * FLOAT32), 2 * requests)
    return min(_REQUESTS_IN_WINDOW * requests * options.batch_size, most)


def _length_of(texts: object) -> int:
    """Ask a source how many texts it has; 0 where it does not tell."""
    try:
        return operator.length_hint(texts)
    except Exception:  # what a library raises where a length is not known: it is a hint only
        return 0
