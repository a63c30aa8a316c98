"""Checks what a call is given, and lays out its work. Nothing is sent yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.collect import Collector
from aimlapi_embeddings._engine.flow import Call
from aimlapi_embeddings._engine.inputs import check_titles_fit, checking_texts
from aimlapi_embeddings._engine.pacing import Caller, Lane
from aimlapi_embeddings._engine.planning import Plan, plan_batches
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.run import Runtime
from aimlapi_embeddings._engine.steps import Deliver
from aimlapi_embeddings._errors import AIMLAPIError
from aimlapi_embeddings._protocol.options import expected_size
from aimlapi_embeddings._protocol.request import check_titles, role_fields
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._result import PartialResult
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._telemetry import Trace
from aimlapi_embeddings._types import Progress, Role, TaskType, Usage, Vector
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
        sent = role_fields(options, role, task_type)
        texts = yield from checking_texts(texts, role)
        if titles is not None:
            check_titles(options, sent)
            titles = check_titles_fit(titles, texts)
        plan = yield from plan_batches(
            texts,
            options.model,
            batch_size=options.batch_size,
            # More requests would fill waves, but each one costs a share of the user's limit.
            max_concurrency=1 if runtime.limiter else runtime.pacer.most,
            prefix=sent.prefix,
            titles=titles,
            max_tokens=runtime.limiter.max_tokens if runtime.limiter else math.inf,
            known=known,
        )
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
            work=Worklist(batches, runtime.limits),
            url=runtime.url,
            key=runtime.key,
            query=role == "query",
            wall_clock=runtime.clock.time,
            monotonic=runtime.clock.monotonic,
            new_request_id=runtime.new_request_id,
            trace=trace,
        )
        if plan.copies:
            runtime.meter.add(Usage(deduplicated=len(plan.copies)))
        cut = _texts_cut(runtime, sent.fields, plan)
        collector = Collector(len(texts), plan, expected_size(options), progress, cut)
        if known:
            collector.deliver(Deliver(Usage(), list(known), [*map(list, known.values())]))
        return call, collector
    except AIMLAPIError as error:
        places = len(texts) if isinstance(texts, Sequence) and not isinstance(texts, str) else 0
        error.partial = PartialResult(VectorBuffer(places), Usage())
        raise


def _texts_cut(runtime: Runtime, fields: Mapping[str, Any], plan: Plan) -> tuple[int, ...]:
    """List the texts of which the provider may embed only the beginning.

    It is said in the log each time, and once in a warning, unless the user has chosen it.
    """
    options = runtime.options
    model, family = options.model, options.model.family
    limit = model.max_tokens_per_text
    sent = {**fields, **options.extra_body}.items()
    if not family.cuts_silently or limit is None or family.too_long["error"].items() <= sent:
        return ()
    # Each of them is in a batch of its own, since it exceeds the limit.
    tokens = {b.indices[0]: b.tokens[0] for b in plan.batches if b.tokens[0] > limit}
    if not tokens:
        return ()
    copies = (place for place, source in plan.copies if source in tokens)
    places = tuple(sorted({*tokens, *copies}))
    if not family.too_long["truncate"].items() <= sent:
        first = min(tokens)
        report.cut_texts(model, len(places), first, tokens[first])
        if runtime.once.first("cut texts"):
            warn_user(
                f"{len(places)} of the texts are longer than {model.id} takes, and the provider "
                f"cuts such texts without saying so: texts[{first}], the first, has about "
                f"{tokens[first]:,} tokens of {limit:,}. What is behind the cut is not in the "
                'vector. Choose too_long="error" to have such texts refused, or '
                'too_long="truncate" to accept the cut; or split the texts. '
                "client.embed(...).possibly_truncated lists them. This is said once."
            )
    return places
