"""What must hold for each stream of a run, beside the laws of calls."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from aimlapi_embeddings import BadRequestError, InvalidInputError
from tests.support.simulated_laws import PRECISION, has_cause, has_failed_at, is_blamed, is_timeout
from tests.support.simulated_run import Observed, Run, requests_of
from tests.support.simulated_server import vector_of
from tests.support.simulated_streams import ConsumerFailed, SourceFailed, ended_by_itself


def vectors_come_in_order_and_without_gaps(run: Observed) -> None:
    for outcome in run.streams:
        assert len(outcome.got) <= len(outcome.items)
        for item, vector in zip(outcome.items, outcome.got, strict=False):
            if vector is None:
                assert outcome.plan.on_invalid == "none"
                assert _is_bad(run, item) or has_failed_at(run, outcome, item)
            else:
                assert vector == vector_of(item)
        places = outcome.plan.batches_of
        if places is not None:
            sizes = [len(result.vectors) for result in outcome.results]
            assert all(size == places for size in sizes[:-1])
            assert all(0 < size <= places for size in sizes)
        assert outcome.invalid_count == outcome.got.count(None) or not outcome.finished


def _is_bad(run: Observed, item: Any) -> bool:
    return not isinstance(item, str) or not item or not run.server.takes(item)


def partial_is_what_was_not_handed_over(run: Observed) -> None:
    for outcome in run.streams:
        partial = getattr(outcome.error, "partial", None)
        if partial is None or isinstance(outcome.error, ConsumerFailed):
            continue
        assert partial.start == len(outcome.got)
        behind = outcome.items[partial.start :]
        assert len(partial.vectors) <= len(behind)
        for item, vector in zip(behind, partial.vectors, strict=False):
            assert vector is None or vector == vector_of(item)


def what_a_stream_was_answered_is_not_lost(run: Run) -> None:
    for outcome in run.streams:
        partial = getattr(outcome.error, "partial", None)
        if partial is None or isinstance(outcome.error, asyncio.CancelledError | ConsumerFailed):
            continue
        vectors = [*outcome.got, *partial.vectors]
        kept = {item for item, vector in zip(outcome.items, vectors, strict=False) if vector}
        for each in requests_of(run, outcome):
            if each.is_good and (each.ended or 0.0) < outcome.ended - PRECISION:
                assert kept.issuperset(each.texts)


def a_stream_ends_where_its_plan_says(run: Observed) -> None:
    for outcome in run.streams:
        plan, error, place = outcome.plan, outcome.error, len(outcome.got)
        if outcome.finished:
            assert error is None
            assert place == len(outcome.items)
            assert plan.fails_at is None or plan.fails_at >= len(outcome.items)
        elif error is None or isinstance(error, ConsumerFailed):
            assert outcome.stopped or math.isnan(outcome.started)  # cancelled before it began
        elif isinstance(error, SourceFailed):
            assert place == plan.fails_at
        elif isinstance(error, InvalidInputError):
            item = outcome.items[place]
            assert not isinstance(item, str) or not item
            assert plan.on_invalid == "raise" or place == plan.other
            assert error.indices == (place,)
        elif isinstance(error, BadRequestError):
            if not is_blamed(run, outcome):
                assert plan.on_invalid == "raise"
                item = outcome.items[place]
                assert not run.server.takes(item) or has_failed_at(run, outcome, item)
                assert error.indices == (place,)
        else:
            assert has_cause(run, outcome)


def nothing_behind_an_error_is_read(run: Observed) -> None:
    for outcome in run.streams:
        if isinstance(outcome.error, InvalidInputError | SourceFailed) and outcome.read:
            assert outcome.read == len(outcome.got) + 1


def a_stream_holds_no_more_than_its_window(run: Observed) -> None:
    for outcome in run.streams:
        plan = outcome.plan
        if plan.window is not None:
            assert outcome.most_held <= plan.window + (plan.batches_of or 1)


def a_stream_counts_what_it_has_cost(run: Run) -> None:
    for outcome in run.streams:
        answered = [each for each in requests_of(run, outcome) if each.tells_cost]
        paid = sum(each.tokens for each in answered)
        if outcome.was_kept:
            continue  # noted when its consumer stopped
        assert outcome.usage.total_tokens <= paid
        if ended_by_itself(outcome):
            assert outcome.usage.total_tokens == paid
            assert outcome.usage.requests >= len(answered)
        if outcome.finished and outcome.results:
            own = [result.usage for result in outcome.results]
            assert sum(own[1:], own[0]) == outcome.usage


def full_requests_are_sent_where_there_is_room(run: Run) -> None:
    """A source of unknown length fills all requests but the last one, whatever is repeated."""
    server, size = run.plan.server, run.options.batch_size
    if server.max_texts < math.inf or server.max_tokens < math.inf:
        return
    if any(map(is_timeout, run.server.seen)):
        return  # this teaches smaller requests
    for outcome in run.streams:
        plan = outcome.plan
        fills = plan.source != "list" and (plan.window is None or plan.window >= size)
        plain = not (plan.period or plan.missing or plan.filtered)
        if outcome.finished and fills and plain:
            good = [each for each in requests_of(run, outcome) if each.is_good]
            assert len(good) == math.ceil(len(outcome.items) / size)


STREAM_LAWS: tuple[Callable[[Run], None], ...] = (
    vectors_come_in_order_and_without_gaps,
    partial_is_what_was_not_handed_over,
    what_a_stream_was_answered_is_not_lost,
    a_stream_ends_where_its_plan_says,
    nothing_behind_an_error_is_read,
    a_stream_holds_no_more_than_its_window,
    a_stream_counts_what_it_has_cost,
    full_requests_are_sent_where_there_is_room,
)
STREAM_LAWS_OF_THREADS: tuple[Callable[[Observed], None], ...] = (
    vectors_come_in_order_and_without_gaps,
    partial_is_what_was_not_handed_over,
    a_stream_ends_where_its_plan_says,
    nothing_behind_an_error_is_read,
    a_stream_holds_no_more_than_its_window,
)
