"""Checks what a call is given, and lays out its work. Nothing is sent yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.collect import Collector
from aimlapi_embeddings._engine.flow import Call
from aimlapi_embeddings._engine.inputs import check_titles_fit, checking_texts
from aimlapi_embeddings._engine.long_texts import Shortener
from aimlapi_embeddings._engine.lookup import looking_up, making_keys
from aimlapi_embeddings._engine.pacing import Caller, Lane
from aimlapi_embeddings._engine.planning import Plan, billed_tokens, plan_batches
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.run import Runtime
from aimlapi_embeddings._errors import AIMLAPIError, InvalidInputError
from aimlapi_embeddings._protocol.options import Options, expected_size
from aimlapi_embeddings._protocol.request import (
    CacheKeys,
    RoleFields,
    check_titles,
    length_of,
    most_chars,
    role_fields,
    too_long_rule,
)
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._result import PartialResult
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Estimate, Progress, Role, Row, TaskType, Usage, Vector
from aimlapi_embeddings._warn import warn_user

# A call of one request of at most so many texts is interactive: a person waits for it.
_FEW_TEXTS = 16


def lay_out(
    runtime: Runtime,
    caller: Caller,
    texts: Sequence[str],
    role: Role,
    task_type: TaskType | str | None,
    titles: Sequence[str | None] | None,
    progress: Progress | None,
    known: Mapping[int, Vector],
    trace: Trace | None,
) -> Work[tuple[Call, Collector]]:
    """Check texts, task type and titles, and cut the texts into batches; see `embed`."""
    try:
        options = runtime.options
        planned = yield from _planning(runtime, texts, role, task_type, titles, known)
        texts, sent, shortener, plan, over, collector, keys, cached = planned
        batches = plan.batches
        if batches and runtime.once.first("request"):
            report.first_request(options.model, options.provider)
        few = len(batches) == 1 and len(batches[0]) <= _FEW_TEXTS
        call = Call(
            options=options,
            texts=texts,
            fields=sent.fields,
            policy=runtime.policy,
            pacer=runtime.pacer,
            lane=Lane.INTERACTIVE if few else Lane.BULK,
            caller=caller,
            limits=runtime.limits,
            budget=runtime.budget,
            work=Worklist(batches, runtime.limits),
            url=runtime.url,
            key=runtime.key,
            query=role == "query",
            wall_clock=runtime.clock.time,
            monotonic=runtime.clock.monotonic,
            prefix=sent.prefix,
            shortener=shortener,
            cache=runtime.cache,
            cache_keys=keys,
            new_request_id=runtime.new_request_id,
            trace=trace,
        )
        usage = Usage(deduplicated=len(plan.copies), cached=cached)
        if usage != Usage():
            runtime.meter.add(usage)
        cut = yield from _possibly_truncated(runtime, sent.fields, over)
        kept = shortener.kept if shortener else {}
        if kept:
            report.fitted(options.model, len(kept), *next(iter(kept.items())))
        collector.begin(plan, usage, progress, possibly_truncated=cut, kept=kept)
        return call, collector
    except AIMLAPIError as error:
        places = len(texts) if isinstance(texts, Sequence) and not isinstance(texts, str) else 0
        error.partial = PartialResult(VectorBuffer(places), Usage())
        raise


def estimating(
    runtime: Runtime,
    texts: Sequence[str],
    role: Role,
    task_type: TaskType | str | None,
    titles: Sequence[str | None] | None,
) -> Work[Estimate]:
    """Tell what a call would send and cost; see `EmbeddingsClient.estimate`."""
    planned = yield from _planning(runtime, texts, role, task_type, titles, {}, collect=False)
    batches = planned.plan.batches
    family = runtime.options.model.family
    tokens = [billed_tokens(batch, family) for batch in batches]
    prices = [runtime.budget.price(each) for each in (0, *tokens)]
    return Estimate(
        texts=len(planned.texts),
        to_send=sum(map(len, batches)),
        tokens=sum(tokens),
        requests=len(batches),
        usd=math.fsum(filter(None, prices)) if None not in prices else None,
    )


class _Planned(NamedTuple):
    """A call that was checked and cut into batches.

    Attributes:
        texts: As plain strings.
        sent: How its role is sent.
        shortener: Of texts that are too long, or None.
        plan: Its batches.
        over: Texts that are longer than the model takes, with their tokens.
        collector: With the vectors that are there already.
        keys: Of all texts in the cache; empty where there is none.
        cached: How many vectors the cache had.
    """

    texts: Sequence[str]
    sent: RoleFields
    shortener: Shortener | None
    plan: Plan
    over: Mapping[int, int]
    collector: Collector
    keys: Sequence[bytes]
    cached: int


def _planning(
    runtime: Runtime,
    texts: Sequence[str],
    role: Role,
    task_type: TaskType | str | None,
    titles: Sequence[str | None] | None,
    known: Mapping[int, Vector],
    *,
    collect: bool = True,
) -> Work[_Planned]:
    """Check what a call is given, look into the cache, and cut the other texts into batches.

    Args:
        runtime: Of the client.
        texts: Of the call, like all that follows.
        role: See `embed`.
        task_type: See `embed`.
        titles: See `embed`.
        known: See `embed`.
        collect: Whether vectors that are there already are wanted, and not only their number.
    """
    options, rates, limiter = runtime.options, runtime.pacer.rates, runtime.limiter
    sent = role_fields(options, role, task_type)
    texts = yield from checking_texts(texts, role)
    if titles is not None:
        check_titles(options, sent)
        titles = check_titles_fit(titles, texts)
    done_here = too_long_rule(options).here
    shortener = Shortener(options.model, sent.prefix) if done_here == "cut" else None
    size = expected_size(options)
    collector = Collector(VectorBuffer(len(texts), size, normalize=options.normalize))
    if known:
        collector.place([*known], [*map(list, known.values())])
    there, keys, cache = {*known}, list[bytes](), runtime.cache
    if cache is not None:
        named = CacheKeys(options, sent, runtime.url)
        keys = yield from making_keys(named, texts, titles)
        missing = {i: key for i, key in enumerate(keys) if i not in known}
        place = collector.place if collect else _drop
        there.update((yield from looking_up(cache, missing, place)))
    plan = yield from plan_batches(
        texts,
        options.model,
        batch_size=options.batch_size,
        # More requests would fill waves, but each one costs a share of the user's limit.
        max_concurrency=1 if limiter or rates.limited else runtime.pacer.most,
        prefix=sent.prefix,
        fit=shortener.fit if shortener else None,
        titles=titles,
        max_tokens=min(rates.most_tokens, limiter.max_tokens if limiter else math.inf),
        packed_tokens=rates.packed_tokens,
        known=there,
    )
    over = _over_limit(options, plan)
    if over and done_here == "refuse":
        raise _too_long(options, over, len(texts))
    cached = len(there) - len(known)
    return _Planned(texts, sent, shortener, plan, over, collector, keys, cached)


def _drop(places: Sequence[int], rows: Sequence[Row]) -> None:
    """Want none of the vectors."""


def _over_limit(options: Options, plan: Plan) -> dict[int, int]:
    """Find texts with more tokens than the model takes, by our estimate, which it returns."""
    limit = options.model.max_tokens_per_text
    if limit is None:
        return {}
    # Each of them is in a batch of its own, since it exceeds the limit. What has more characters
    # than a text may have is refused by the server anyway.
    chars = most_chars(options.model) or math.inf
    tokens = {
        batch.indices[0]: batch.tokens[0]
        for batch in plan.batches
        if batch.tokens[0] > limit and length_of(batch.texts[0]) <= chars
    }
    copies = {place: tokens[source] for place, source in plan.copies if source in tokens}
    return dict(sorted({**tokens, **copies}.items())) if tokens else {}


def _too_long(options: Options, over: Mapping[int, int], total: int) -> InvalidInputError:
    """Make the error for texts that the server might cut without saying so."""
    model = options.model
    first, tokens = next(iter(over.items()))
    return InvalidInputError(
        f"{len(over)} of {total} texts are longer than {model.id} takes: texts[{first}], the "
        f"first, has about {tokens:,} tokens of {model.max_tokens_per_text:,}. Nothing was sent, "
        'since too_long="error" was chosen. Split them, leave them out (all are in .indices), or '
        'choose too_long="truncate".',
        tuple(over),
        {i: f"has about {n:,} tokens of {model.max_tokens_per_text:,}" for i, n in over.items()},
    )


def _possibly_truncated(
    runtime: Runtime, fields: Mapping[str, Any], over: Mapping[int, int]
) -> Work[tuple[int, ...]]:
    """List the texts of which the provider may embed only the beginning.

    The log names them in each call, a warning the first of them once, unless the user has chosen
    the cut.
    """
    options = runtime.options
    model, family = options.model, options.model.family
    sent = {**fields, **options.extra_body}.items()

    def asked(choice: str) -> bool:
        named = family.too_long[choice].fields
        return bool(named) and named.items() <= sent

    if not over or not family.cuts_silently or asked("error"):
        return ()
    if options.too_long is None and not asked("truncate"):
        first, tokens = next(iter(over.items()))
        yield from report.cut_texts(model, over)
        if runtime.once.first("cut texts"):
            warn_user(
                f"{len(over)} of the texts are longer than {model.id} takes, and the provider "
                f"cuts such texts without saying so: texts[{first}], the first, has about "
                f"{tokens:,} tokens of {model.max_tokens_per_text:,}. What is behind the cut is "
                'not in the vector. Choose too_long="error" to have such texts refused, or '
                'too_long="truncate" to accept the cut; or split the texts. '
                "client.embed(...).possibly_truncated lists them. This is said once."
            )
    return tuple(over)
