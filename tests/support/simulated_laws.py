"""What must hold after each run, whatever was drawn.

Each law is a function that raises an AssertionError. They look at what the caller got, and at what
the server saw; never into the client.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable

from aimlapi_embeddings import (
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    BudgetExceededError,
    RateLimitError,
    ReplyError,
)
from tests.support.simulated_run import (
    TIMEOUT,
    CallPlan,
    Observed,
    Outcome,
    Run,
    Stumbled,
    requests_of,
)
from tests.support.simulated_server import (
    FILTERED,
    FINAL,
    QUICK,
    READABLE,
    TELLING_HINTS,
    TRANSIENT,
    Fate,
    Seen,
    vector_of,
)
from tests.support.simulated_streams import StreamOutcome, ended_by_itself

# Requests, repeats and texts at fault not counted, for each request of the fewest possible.
MOST_REQUESTS = 3
# Requests that a limit which is not known yet may cost besides.
MOST_PROBES = 4
# Requests refused for coming too soon, until it is known how many the server takes at once.
MOST_LIMITED = 16
# Single texts refused in the same words, and nothing accepted, after which a request is at fault.
ENOUGH_ALIKE = 4
# Statuses with which a server may fail at a text instead of refusing it.
AT_TEXTS = (500, 502, 504)
# Seconds; floating point, over a run.
PRECISION = 1e-6


def each_vector_is_that_of_its_text(run: Observed) -> None:
    for outcome in run.outcomes:
        vectors = outcome.vectors
        assert len(vectors) == len(outcome.texts)
        for text, vector in zip(outcome.texts, vectors, strict=True):
            assert vector is None or vector == vector_of(text)
        if outcome.result is not None:
            assert None not in vectors


def every_text_that_is_taken_has_its_vector_and_every_other_is_named(run: Observed) -> None:
    for outcome in run.outcomes:
        refused = tuple(i for i, text in enumerate(outcome.texts) if not run.server.takes(text))
        if outcome.result is not None:
            assert not refused
        elif isinstance(outcome.error, BadRequestError) and not is_blamed(run, outcome):
            named = outcome.error.indices
            assert tuple(outcome.error.refused) == named
            assert set(refused) <= set(named)
            assert all(i in refused or has_failed_at(run, outcome, outcome.texts[i]) for i in named)
            kept = [i for i, vector in enumerate(outcome.vectors) if vector is not None]
            assert kept == sorted(set(range(len(outcome.texts))) - set(named))


def has_failed_at(run: Observed, outcome: Outcome | StreamOutcome, text: str) -> bool:
    """Tell whether the server failed at a text that was sent alone."""
    return any(
        each.texts == (text,) and each.status in AT_TEXTS for each in requests_of(run, outcome)
    )


def is_blamed(run: Observed, outcome: Outcome | StreamOutcome) -> bool:
    """Tell whether it may be given up, since nothing of it seems to be acceptable."""
    requests = requests_of(run, outcome)
    texts = len(set(outcome.texts))
    alone = [
        each
        for each in requests
        if len(each.texts) == 1
        and each.status in (400, 422, *AT_TEXTS)
        and not _is_refused_for_size(run, each)
    ]
    return not any(each.is_good for each in requests) and len(alone) >= min(ENOUGH_ALIKE, texts)


def _is_refused_for_size(run: Observed, each: Seen) -> bool:
    """Tell whether a refusal says that it is about size; a failure at a text comes before it."""
    plan = run.server.plan
    fails = plan.fails and any(FILTERED in text for text in each.texts)
    return run.server.is_too_large(each.texts) and plan.size_words in READABLE and not fails


def what_was_answered_is_kept(run: Run) -> None:
    for outcome in run.outcomes:
        if isinstance(outcome.error, asyncio.CancelledError):
            continue
        kept = {
            text
            for text, vector in zip(outcome.texts, outcome.vectors, strict=True)
            if vector is not None
        }
        for each in requests_of(run, outcome):
            if each.is_good and (each.ended or 0.0) < outcome.ended - PRECISION:
                assert kept.issuperset(each.texts)


def every_error_has_its_cause(run: Observed) -> None:
    for outcome in run.outcomes:
        if outcome.error is not None and not isinstance(outcome.error, BadRequestError):
            assert has_cause(run, outcome)


def has_cause(run: Observed, outcome: Outcome | StreamOutcome) -> bool:
    """Tell whether the error of a call or a stream is one that something has caused."""
    error, plan = outcome.error, outcome.plan
    requests = requests_of(run, outcome)
    if isinstance(error, Stumbled):
        return plan.stumbles is not None
    if isinstance(error, KeyboardInterrupt):
        return plan.interrupts
    if isinstance(error, asyncio.CancelledError):
        return plan.cancelled_after is not None or run.was_interrupted
    if isinstance(error, BudgetExceededError):
        return error.spent + error.in_flight + error.needed > error.limit
    if isinstance(error, ReplyError):
        return any(each.fate is Fate.SHORT for each in requests)
    if isinstance(error, APIStatusError) and _is_final(error):
        return error.status_code in {each.status for each in requests}
    if isinstance(error, RateLimitError) and _asks_too_long(run, error):
        return True
    if isinstance(error, APIStatusError | APIConnectionError):
        return len(_failures(run, requests)) >= 1 + run.options.max_retries
    raise AssertionError(f"an error that none may raise: {error!r}") from error


def _is_final(error: APIStatusError) -> bool:
    return str(error.status_code) in {fate.value for fate in FINAL}


def _asks_too_long(run: Observed, error: RateLimitError) -> bool:
    return (error.retry_after or 0.0) > run.options.max_retry_wait


def _failures(run: Observed, requests: list[Seen]) -> list[Seen | int]:
    """List what a call may have had to repeat: its own requests, and what cannot be told apart."""
    unread = [each for each in run.server.seen if not each.texts]
    own = [each for each in requests if _has_failed(each)]
    return [*own, *unread, *range(run.server.connection_failures)]


def _has_failed(each: Seen) -> bool:
    """Tell whether a request has to be sent again as it is, or smaller after a timeout."""
    return not each.whole or each.status == 429 or each.fate in TRANSIENT


def usage_is_what_the_server_saw(run: Observed) -> None:
    usage, seen = run.client.usage, run.server.seen
    assert usage.requests == len(seen)
    answered = sum(each.tokens for each in seen if each.tells_cost)
    delivered = sum(
        each.tokens
        for outcome in (*run.outcomes, *run.streams)
        if not isinstance(outcome.error, asyncio.CancelledError)
        for each in requests_of(run, outcome)
        if each.is_good and (each.ended or 0.0) < outcome.ended
    )
    # A reply that was sent in the very moment in which its call ended may be read or not.
    assert delivered <= usage.total_tokens <= answered
    if all(map(_ended_by_itself, run.outcomes)) and all(map(ended_by_itself, run.streams)):
        assert usage.total_tokens == answered
        own = [
            outcome.result.usage if outcome.result else outcome.error.partial.usage  # type: ignore[union-attr]
            for outcome in run.outcomes
        ]
        own += [outcome.usage for outcome in run.streams]
        assert usage == sum(own[1:], own[0])
    assert usage.prompt_tokens == usage.total_tokens
    assert usage.credits_used == 10 * usage.total_tokens
    assert usage.usd_spent == usage.total_tokens / 1024
    assert usage.retries <= usage.requests


def usage_counts_late_replies_too(run: Observed) -> None:
    """Of threads: what is in flight when a call ends is counted when it arrives, and once."""
    usage, seen = run.client.usage, run.server.seen
    answered = sum(each.tokens for each in seen if each.tells_cost)
    # Requests of a call that ends early are broken off in tasks, and by Ctrl-C in threads; those
    # of a stream always.
    broken_off = any(
        isinstance(outcome.error, asyncio.CancelledError | KeyboardInterrupt)
        or (outcome.in_task and not _ended_by_itself(outcome))
        for outcome in run.outcomes
    ) or not all(map(ended_by_itself, run.streams))
    assert usage.requests >= len(seen)
    assert broken_off or usage.requests == len(seen)
    assert usage.total_tokens <= answered
    assert broken_off or usage.total_tokens == answered


def _ended_by_itself(outcome: Outcome) -> bool:
    """Tell whether a call ended when there was nothing left to do."""
    return outcome.result is not None or (
        isinstance(outcome.error, BadRequestError) and bool(outcome.error.refused)
    )


def nothing_is_sent_after_the_end_of_a_call(run: Run) -> None:
    for outcome in (*run.outcomes, *run.streams):
        for each in run.server.seen[outcome.requests :]:
            assert not (each.texts and each.texts[0].startswith(outcome.name))


def the_bound_holds(run: Run) -> None:
    if run.options.max_concurrency is not None:
        assert run.server.peak_in_flight <= run.options.max_concurrency


def calls_end_in_bounded_time(run: Run) -> None:
    """No call waits for longer than all requests take, and what failed may wait."""
    if not run.server.seen:
        return
    client = run.options
    outcomes = [each for each in (*run.outcomes, *run.streams) if not math.isnan(each.ended)]
    starts = {outcome.started for outcome in outcomes if not math.isnan(outcome.started)}
    ends = [outcome.ended for outcome in outcomes]
    seen = run.server.seen
    durations = [each.ended - each.began for each in seen if each.ended is not None]
    work = sum(durations)
    # Back-off, what the server may ask for and the jitter on top, and connecting.
    failures = sum(map(_has_failed, seen)) + run.server.connection_failures
    each_wait = max(client.max_retry_wait, 1.0) * 1.25 + 5.0
    assert max(ends) - min(starts) <= (
        work
        + failures * each_wait
        + 10.0 * len(run.plan.loops)
        + max(starts)
        - min(starts)
        + sum(outcome.plan.longest_waits for outcome in run.streams)
    )
    if client.max_concurrency is None or len(run.plan.loops) > 1 or not _is_peaceful(run):
        return
    # Nobody waits while a slot is free: the bound of list scheduling.
    assert max(ends) - max(starts) <= (work / client.max_concurrency + max(durations) + PRECISION)


def _is_peaceful(run: Run) -> bool:
    """Tell whether nothing was refused, broken, cancelled or limited in a run."""
    return (
        all(each.is_good for each in run.server.seen)
        and not run.server.connection_failures
        and all(outcome.result is not None for outcome in run.outcomes)
        and not run.streams
    )


def what_the_server_asks_for_is_obeyed(run: Run) -> None:
    """Nobody sends before the moment the server named, nor all at that moment."""
    longest = run.options.max_retry_wait
    gave_up = [
        outcome.ended for outcome in run.outcomes if isinstance(outcome.error, RateLimitError)
    ]
    for said, seconds in run.server.opens_at:
        sent = said + QUICK
        if seconds > longest or any(abs(ended - sent) < PRECISION for ended in gave_up):
            continue
        if any(_may_have_given_up(outcome, sent) for outcome in run.streams):
            continue
        refused = [each for each in run.server.seen if each.began <= sent and each.ended == sent]
        if not refused or not refused[0].whole:
            continue  # nobody was there any more to read it
        for each in run.server.seen:
            assert not sent + PRECISION < each.began < sent + seconds - PRECISION
            if each.texts and _began_before(run, each, said):
                assert abs(each.began - sent - seconds) > PRECISION


def _may_have_given_up(outcome: StreamOutcome, moment: float) -> bool:
    """Tell whether a stream met its error at that moment: it is raised later, or not any more."""
    return not outcome.finished and not math.isnan(outcome.started) and outcome.started <= moment


def _began_before(run: Run, seen: Seen, moment: float) -> bool:
    return any(
        seen.texts[0].startswith(outcome.name) and outcome.started <= moment
        for outcome in run.outcomes
    )


def repeats_are_spread(run: Run) -> None:
    """Requests that failed together are not repeated together.

    Where a request ends at that moment, it may have made room for several, and so may one that
    was never connected.
    """
    if run.server.connection_failures:
        return
    ended = {each.ended for each in run.server.seen}
    failed: set[tuple[str, ...]] = set()
    repeats: Counter[float] = Counter()
    for each in run.server.seen:
        if each.texts in failed:
            repeats[each.began] += 1
        if each.texts and _has_failed(each):
            failed.add(each.texts)
    for moment, count in repeats.items():
        assert count == 1 or moment in ended


def few_requests_are_wasted(run: Run) -> None:
    """Not counted where replies came too late for no reason, since each teaches a smaller size."""
    plan, client = run.plan.server, run.options
    seen = run.server.seen
    if any(each.fate in (Fate.HANG, Fate.DRIP) for each in seen):
        return
    least = at_fault = 0
    for outcome in run.outcomes:
        texts = list(dict.fromkeys(outcome.texts))
        bad = [text for text in texts if not run.server.takes(text)]
        least += _fewest(run, [text for text in texts if text not in bad])
        at_fault += len(bad)
    names = tuple(outcome.name for outcome in run.streams)
    spent = sum(
        not _has_failed(each)
        for each in seen
        if not (each.texts and names and each.texts[0].startswith(names))
    )
    # Where the server failed while others got through, each failure may have cut one request.
    least += sum(each.status in AT_TEXTS for each in seen)
    depth = 2 * math.ceil(math.log2(client.batch_size)) + 2
    unlimited = plan.max_texts == plan.max_tokens == math.inf and plan.per_text == 0
    if unlimited and not any(is_timeout(each) for each in seen):
        assert spent <= least + at_fault * depth
    else:
        assert spent <= MOST_REQUESTS * least + at_fault * depth + MOST_PROBES


def a_batch_that_timed_out_twice_is_not_sent_again(run: Run) -> None:
    again = tuple(outcome.name for outcome in run.streams if outcome.plan.period)
    timeouts = Counter(
        each.texts
        for each in run.server.seen
        if len(each.texts) > 1
        and is_timeout(each)
        # The same texts may come again behind the window.
        and not (again and each.texts[0].startswith(again))
    )
    assert not timeouts or max(timeouts.values()) <= 2


def the_bound_of_a_server_is_found(run: Run) -> None:
    """Where a server takes only so many at once, few are refused, whatever it tells."""
    plan, seen = run.plan.server, run.server.seen
    if plan.rate is None:
        limited = sum(_is_limited(run, each) for each in seen)
        assert limited <= (len(seen) - limited) / 2 + MOST_LIMITED * len(run.plan.loops)


def no_call_is_lost_to_a_limit_that_tells_when(run: Run) -> None:
    plan, client = run.plan.server, run.options
    if plan.hint not in TELLING_HINTS or client.max_retries < 3 or client.max_retry_wait < 60.0:
        return
    if any(each.fate in TRANSIENT for each in run.server.seen) or run.server.connection_failures:
        return  # these cost retries too
    outcomes = (*run.outcomes, *run.streams)
    assert not any(isinstance(outcome.error, RateLimitError) for outcome in outcomes)


def _is_limited(run: Run, each: Seen) -> bool:
    """Tell whether a request was refused for coming too soon."""
    return each.status == 429 and not run.server.is_too_large(each.texts)


def is_timeout(each: Seen) -> bool:
    """Tell whether a request was given up for its time: before its connection died, if it did."""
    dies = each.fate in (Fate.DIE_BEFORE, Fate.DIE_IN_HEAD, Fate.DIE_IN_BODY)
    lasted = math.inf if each.ended is None else each.ended - each.began
    return not each.whole and (not dies or lasted >= TIMEOUT - PRECISION)


def _fewest(run: Run, texts: list[str]) -> int:
    """Count the requests of somebody who knows the server."""
    plan = run.plan.server
    size = min(run.options.batch_size, plan.max_texts)
    if plan.per_text:
        size = min(size, max(1, math.floor((1.9 - plan.latency) / plan.per_text)))
    by_tokens = sum(_tokens(text) for text in texts) / plan.max_tokens
    return max(math.ceil(len(texts) / size), math.ceil(2 * by_tokens))


def _tokens(text: str) -> int:
    return Seen(0.0, texts=(text,)).tokens


def nothing_is_left(run: Run) -> None:
    assert not any(run.left_open)
    assert not run.left_tasks


def the_budget_is_kept(run: Run) -> None:
    """What was spent, and may have been, exceeds the limit only by what was estimated too low."""
    limit = run.options.max_tokens
    if limit is None:
        return
    spent = 0
    for each in run.server.seen:
        if each.texts and each.status in (0, 200):
            estimated = run.client.estimate(each.texts).tokens
            spent += min(estimated, each.tokens) if each.tells_cost else 0
    assert spent <= limit


def the_client_is_as_good_as_before(run: Run) -> None:
    """A healthy server is asked again: each slot is free, and no size was learned from faults."""
    client, plan = run.options, run.plan.server
    if client.max_tokens is not None:
        return  # there may be nothing left to spend
    seen = run.server.seen
    limited = any(each.status == 429 for each in seen)
    refused = any(each.status in (400, 422) or run.server.is_too_large(each.texts) for each in seen)
    timeouts = any(map(is_timeout, seen))
    run.server.heal()
    run.clock.advance(client.max_retry_wait + 6.0)  # until the moment that the server last named
    run.clock.ends = run.clock.now + 1_000.0
    # A bound that was lowered may still be at 1; else all of it is there at once.
    count = (client.max_concurrency or 8) if not (limited or refused) else 1
    outcomes = [Outcome.of(CallPlan(1), f"after.{i}:") for i in range(count)]
    before = run.clock.now
    run.together(outcomes)
    assert all(outcome.result is not None for outcome in outcomes)
    assert run.clock.now - before < 1.5 * run.server.plan.latency
    if plan.max_texts == plan.max_tokens == math.inf and not timeouts:
        outcome = Outcome.of(CallPlan(client.batch_size), "whole:")
        run.together([outcome])
        assert len(requests_of(run, outcome)) == 1
    each_vector_is_that_of_its_text(run)
    nothing_is_left(run)


LAWS: tuple[Callable[[Run], None], ...] = (
    each_vector_is_that_of_its_text,
    every_text_that_is_taken_has_its_vector_and_every_other_is_named,
    what_was_answered_is_kept,
    every_error_has_its_cause,
    usage_is_what_the_server_saw,
    nothing_is_sent_after_the_end_of_a_call,
    the_bound_holds,
    calls_end_in_bounded_time,
    what_the_server_asks_for_is_obeyed,
    repeats_are_spread,
    few_requests_are_wasted,
    a_batch_that_timed_out_twice_is_not_sent_again,
    the_bound_of_a_server_is_found,
    no_call_is_lost_to_a_limit_that_tells_when,
    nothing_is_left,
    the_budget_is_kept,
    the_client_is_as_good_as_before,  # the last one: it sends requests of its own
)

LAWS_OF_THREADS: tuple[Callable[[Observed], None], ...] = (
    each_vector_is_that_of_its_text,
    every_text_that_is_taken_has_its_vector_and_every_other_is_named,
    every_error_has_its_cause,
    usage_counts_late_replies_too,
)
