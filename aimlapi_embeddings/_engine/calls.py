"""Checks what a call is given, and lays out its work. Nothing is sent yet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from aimlapi_embeddings._engine.collect import Collector
from aimlapi_embeddings._engine.flow import Call
from aimlapi_embeddings._engine.inputs import check_titles_fit, checking_texts
from aimlapi_embeddings._engine.pacing import Caller, Lane
from aimlapi_embeddings._engine.planning import plan_batches
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.run import Runtime
from aimlapi_embeddings._engine.steps import Deliver
from aimlapi_embeddings._protocol.options import expected_size
from aimlapi_embeddings._protocol.request import check_titles, role_fields
from aimlapi_embeddings._slices import Work
from aimlapi_embeddings._types import Progress, Role, TaskType, Usage, Vector

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
) -> Work[tuple[Call, Collector]]:
    """Check texts, task type and titles, and cut the texts into batches; see `embed`."""
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
        max_concurrency=runtime.pacer.most,
        prefix=sent.prefix,
        titles=titles,
        max_tokens=runtime.limiter.max_tokens if runtime.limiter else math.inf,
        known=known,
    )
    batches = plan.batches
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
        query=role == "query",
        wall_clock=runtime.clock.time,
    )
    runtime.meter.add(Usage(deduplicated=len(plan.copies)))
    collector = Collector(len(texts), plan, expected_size(options), progress)
    if known:
        collector.deliver(Deliver(Usage(), list(known), [*map(list, known.values())]))
    return call, collector
