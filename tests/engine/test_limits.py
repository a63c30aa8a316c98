"""What replies taught about the size of requests: it is kept, and it grows back."""

from __future__ import annotations

import math

import pytest

from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.planning import Batch


def batch(texts: int, tokens: int = 10) -> Batch:
    return Batch([*range(texts)], ["x"] * texts, [tokens] * texts)


def learned(texts: float = math.inf, tokens: float = math.inf) -> LearnedLimits:
    limits = LearnedLimits(None)
    limits.learn(texts, tokens)
    return limits


def succeed(limits: LearnedLimits, times: int, size: int) -> None:
    """Send requests of the learned size that bring vectors."""
    for _ in range(times):
        fit = limits.fit(batch(100), begin=True)
        assert (len(fit.batch), fit.trial) == (size, False)
        limits.succeeded(fit.batch, trial=False)


def successes_before_a_trial(limits: LearnedLimits) -> int:
    for count in range(1000):
        first, trial = limits.fit(batch(100), begin=True)
        if trial:
            limits.end_trial()
            return count
        limits.succeeded(first, trial=False)
    raise AssertionError("there was no trial")


def test_nothing_is_cut_before_anything_was_learned() -> None:
    whole = batch(5000, 10_000)
    assert LearnedLimits(None).fit(whole, begin=True) == (whole, False)


@pytest.mark.parametrize(
    ("texts", "tokens", "size"), [(10, math.inf, 10), (math.inf, 55, 5), (10, 55, 5), (3, 55, 3)]
)
def test_a_batch_is_cut_to_what_was_learned(texts: float, tokens: float, size: int) -> None:
    limits = learned(texts, tokens)
    first, trial = limits.fit(batch(100), begin=True)
    assert (len(first), trial) == (size, False)
    assert limits.fit(batch(size), begin=True).batch == batch(size)


def test_limits_are_only_lowered_by_what_is_learned_later() -> None:
    limits = learned(10, 500)
    limits.learn(20, 100)
    assert (limits.max_texts, limits.max_tokens) == (10, 100)
    limits.learn(math.inf, math.inf)
    assert (limits.max_texts, limits.max_tokens) == (10, 100)
    limits.learn(5, 999)
    assert (limits.max_texts, limits.max_tokens) == (5, 100)
    limits.learn(9, 50)
    assert (limits.max_texts, limits.max_tokens) == (5, 50)


def test_after_eight_successes_one_request_of_twice_the_size_is_tried() -> None:
    limits = learned(10)
    succeed(limits, 8, size=10)
    first, trial = limits.fit(batch(100), begin=True)
    assert (len(first), trial) == (20, True)
    again = limits.fit(batch(100), begin=True)
    assert (len(again.batch), again.trial) == (10, False), "one trial at a time"


def test_a_batch_that_fits_is_no_trial() -> None:
    limits = learned(10)
    succeed(limits, 8, size=10)
    assert limits.fit(batch(10), begin=True) == (batch(10), False)


def test_an_accepted_trial_doubles_the_limits() -> None:
    limits = learned(10, 1000)
    succeed(limits, 8, size=10)
    first, trial = limits.fit(batch(100), begin=True)
    limits.end_trial()
    limits.succeeded(first, trial=trial)
    assert (limits.max_texts, limits.max_tokens) == (20, 2000)
    succeed(limits, 8, size=20)
    assert limits.fit(batch(100), begin=True).trial


def test_a_refused_trial_doubles_the_patience_up_to_64() -> None:
    limits = learned(10)
    patience = []
    for _ in range(6):
        patience.append(successes_before_a_trial(limits))
        limits.fit(batch(100), begin=True)
        limits.end_trial()
        limits.refused(trial=True)
    assert patience == [8, 16, 32, 64, 64, 64]
    assert limits.max_texts == 10


def test_a_trial_without_an_outcome_is_repeated_at_once() -> None:
    limits = learned(10)
    succeed(limits, 8, size=10)
    for _ in range(3):
        assert limits.fit(batch(100), begin=True).trial
        limits.end_trial()


def test_a_refusal_of_another_request_does_not_end_a_trial() -> None:
    limits = learned(10)
    succeed(limits, 8, size=10)
    assert limits.fit(batch(100), begin=True).trial
    limits.refused(trial=False)
    assert not limits.fit(batch(100), begin=True).trial


def test_a_batch_that_only_waits_to_be_sent_begins_no_trial() -> None:
    limits = learned(10)
    succeed(limits, 8, size=10)
    waiting = limits.fit(batch(100), begin=False)
    assert (len(waiting.batch), waiting.trial) == (20, False)
    assert limits.fit(waiting.batch, begin=True) == (waiting.batch, True)
    late = limits.fit(waiting.batch, begin=True)
    assert (len(late.batch), late.trial) == (10, False)


def test_small_requests_prove_nothing_about_the_size() -> None:
    limits = learned(10, 10_000)
    for _ in range(100):
        limits.succeeded(batch(5), trial=False)
    assert not limits.fit(batch(100), begin=True).trial
    for _ in range(8):
        limits.succeeded(batch(6), trial=False)
    assert limits.fit(batch(100), begin=True).trial


def test_requests_near_either_limit_prove_its_size() -> None:
    limits = learned(10, 30)
    for _ in range(8):
        limits.succeeded(batch(1, 20), trial=False)
    assert limits.fit(batch(100), begin=True).trial


def test_what_is_learned_anew_forgets_the_successes_before_it() -> None:
    limits = learned(10)
    succeed(limits, 7, size=10)
    limits.learn(5, math.inf)
    succeed(limits, 8, size=5)
    assert limits.fit(batch(100), begin=True).trial
