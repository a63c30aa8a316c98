"""Checks the input of a call and plans its requests. Nothing is sent yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.collect import Collector
from aimlapi_embeddings._engine.inputs import check_titles_fit, checking_texts
from aimlapi_embeddings._engine.long_texts import Shortener
from aimlapi_embeddings._engine.lookup import looking_up, making_keys
from aimlapi_embeddings._engine.pacing import Lane
from aimlapi_embeddings._engine.planning import Plan, billed_tokens, plan_batches
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.runtime import Call, Runtime
from aimlapi_embeddings._engine.steps import Caller
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
from aimlapi_embeddings._protocol.vectors import VectorBuffer, size_of
from aimlapi_embeddings._result import nothing_finished
from aimlapi_embeddings._slices import Work, at_once
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Estimate, Progress, Role, Row, TaskType, Usage, Vector
from aimlapi_embeddings._warn import warn_user

# A call of one request of at most so many texts is interactive: a person waits for it.
_FEW_TEXTS = 16
_KNOWN_PER_STEP = 16  # copies of lists: half a millisecond of 1,536 numbers each


def lay_out(
    runtime: Runtime,
    caller: Caller,
    texts: Sequence[str],
    role: Role,
    task_type: TaskType | str | None,
    titles: Sequence[str | None] | None,
    progress: Progress | None,
    known: Mapping[int, Vector | bytes],
    trace: Trace | None,
) -> Work[tuple[Call, Collector]]:
    """Check texts, task type and titles, and cut the texts into batches; see `embed`."""
    try:
        options = runtime.options
        planned = yield from _planning(runtime, texts, role, task_type, titles, known)
        texts, sent, shortener, plan, over, collector, keys, cached, found_cut = planned
        batches = plan.batches
        if batches:
            report_first_request(runtime)
        few = len(batches) == 1 and len(batches[0]) <= _FEW_TEXTS
        call = Call(
            runtime,
            caller,
            sent,
            Worklist(batches, runtime.limits),
            texts,
            len(texts),
            lane=Lane.INTERACTIVE if few else Lane.BULK,
            query=role == "query",
            shortener=shortener,
            cache_keys=keys,
            trace=trace,
        )
        usage = Usage(deduplicated=len(plan.copies), cached=cached)
        if plan.copies or cached:
            runtime.meter.add(usage)
        cut = yield from _possibly_truncated(runtime, sent.fields, over)
        kept = shortener.kept if shortener else {}
        if kept:
            yield from report.fitted(options.model, kept)
        kept.update(found_cut)
        collector.begin(plan, usage, progress, trace, possibly_truncated=cut, kept=kept)
        return call, collector
    except AIMLAPIError as error:
        error.partial = nothing_finished(texts)
        raise


def shortener_of(options: Options, sent: RoleFields) -> Shortener | None:
    """Make what cuts texts that are too long, where that is done here."""
    cut = too_long_rule(options).here == "cut"
    return Shortener(options.model, sent.prefix) if cut else None


def report_first_request(runtime: Runtime) -> None:
    """Tell once, before the first request, that the model is one that may not be served."""
    if runtime.once.first("request"):
        report.first_request(runtime.options.model, runtime.options.provider)


def is_over_limit(options: Options, sent: str, tokens: int) -> bool:
    """Tell whether a text has more tokens than the model takes, by our estimate.

    What has more characters than a text may have is refused by the server anyway.
    """
    limit = options.model.max_tokens_per_text
    if limit is None or tokens <= limit:
        return False
    return length_of(sent) <= (most_chars(options.model) or math.inf)


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
        found_cut: How many characters of a text are in a vector of the cache, where it was cut.
    """

    texts: Sequence[str]
    sent: RoleFields
    shortener: Shortener | None
    plan: Plan
    over: Mapping[int, int]
    collector: Collector
    keys: Sequence[bytes]
    cached: int
    found_cut: Mapping[int, int]


def _planning(
    runtime: Runtime,
    texts: Sequence[str],
    role: Role,
    task_type: TaskType | str | None,
    titles: Sequence[str | None] | None,
    known: Mapping[int, Vector | bytes],
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
    options = runtime.options
    sent = role_fields(options, role, task_type)
    texts = yield from checking_texts(texts, role)
    if titles is not None:
        check_titles(options, sent)
        titles = check_titles_fit(titles, texts)
    shortener = shortener_of(options, sent)
    size = expected_size(options)
    collector = Collector(VectorBuffer(len(texts), size, normalize=options.normalize))
    if known:
        yield from _placing(known, collector)
    there, cache = {*known}, runtime.cache
    keys: list[bytes] = []
    found_cut: dict[int, int] = {}
    if cache is not None:
        named = CacheKeys(options, sent, runtime.url)
        keys = yield from making_keys(named, texts, titles)
        missing = {i: key for i, key in enumerate(keys) if i not in known}
        place = collector.place if collect else _drop
        there.update((yield from looking_up(cache, missing, place, found_cut)))
    plan = yield from plan_batches(
        texts,
        options.model,
        batch_size=options.batch_size,
        max_concurrency=runtime.waves_of,
        prefix=sent.prefix,
        fit=shortener.fit if shortener else None,
        titles=titles,
        max_tokens=runtime.most_tokens,
        packed_tokens=runtime.pacer.rates.packed_tokens,
        known=there,
    )
    over = _over_limit(options, plan)
    if over and too_long_rule(options).here == "refuse":
        raise too_long(options, over, len(texts))
    cached = len(there) - len(known)
    return _Planned(texts, sent, shortener, plan, over, collector, keys, cached, found_cut)


def _placing(known: Mapping[int, Vector | bytes], collector: Collector) -> Work[None]:
    """Place copies of vectors that the caller has, which are of one size."""
    first = next(iter(known))
    size = size_of(known[first])
    for n, (i, row) in enumerate(known.items()):
        if (found := size_of(row)) != size:
            why = f"has {found:,} numbers"
            raise InvalidInputError(
                f"known[{i}] {why} and known[{first}] has {size:,}: all vectors of a call have one "
                "size. Leave out those of another model, and their texts are sent.",
                (i,),
                {i: why},
            )
        collector.place([i], [row if isinstance(row, bytes) else list(row)])
        if n % _KNOWN_PER_STEP == 0:
            yield


def _drop(places: Sequence[int], rows: Sequence[Row]) -> None:
    """Want none of the vectors."""


def _over_limit(options: Options, plan: Plan) -> dict[int, int]:
    """Find texts with more tokens than the model takes, by our estimate, which it returns."""
    # Each of them is in a batch of its own, since it exceeds the limit.
    tokens = {
        batch.indices[0]: batch.tokens[0]
        for batch in plan.batches
        if is_over_limit(options, batch.texts[0], batch.tokens[0])
    }
    if not tokens:
        return {}
    copies = {place: tokens[source] for place, source in plan.copies if source in tokens}
    return dict(sorted({**tokens, **copies}.items()))


def too_long(options: Options, over: Mapping[int, int], total: int) -> InvalidInputError:
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
    if not over or not cuts_silently(runtime.options, fields):
        return ()
    if not _asks_for(runtime.options, fields, "truncate"):
        yield from report.cut_texts(runtime.options.model, over)
        _warn_of_cut(runtime, len(over), *next(iter(over.items())))
    return tuple(over)


def report_cut(runtime: Runtime, fields: Mapping[str, Any], place: int, tokens: int) -> None:
    """Tell the same of one text of a stream: in the log, and once in a warning."""
    if not _asks_for(runtime.options, fields, "truncate"):
        at_once(report.cut_texts(runtime.options.model, {place: tokens}))
        _warn_of_cut(runtime, 1, place, tokens)


def _asks_for(options: Options, fields: Mapping[str, Any], choice: str) -> bool:
    """Tell whether the user has chosen what becomes of texts that are too long."""
    named = options.model.family.too_long[choice].fields
    sent = {**fields, **options.extra_body}
    return options.too_long == choice or (bool(named) and named.items() <= sent.items())


def cuts_silently(options: Options, fields: Mapping[str, Any]) -> bool:
    """Tell whether the provider cuts texts that are too long without saying so."""
    return options.model.family.cuts_silently and not _asks_for(options, fields, "error")


def _warn_of_cut(runtime: Runtime, texts: int, first: int, tokens: int) -> None:
    """Warn, once for each client, that so many texts may be cut; the first has so many tokens."""
    model = runtime.options.model
    if runtime.once.first("cut texts"):
        warn_user(
            f"{'1 text is' if texts == 1 else f'{texts} texts are'} longer than {model.id} takes, "
            "by an estimate, and the provider cuts such texts without a message: "
            f"texts[{first}]{', the first,' if texts > 1 else ''} has about {tokens:,} tokens of "
            f"{model.max_tokens_per_text:,}. The part after the cut is not in the vector. "
            'Choose too_long="error" to have such texts refused, or too_long="truncate" to accept '
            "the cut; or split the texts. client.embed(...).possibly_truncated lists them. This "
            "warning is given once."
        )
