"""Whose fault is a refusal, and what is sent next? The worklist of one call, driven by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import BadRequestError, RequestTooLargeError
from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.refusals import Worklist
from tests.support.worklists import (
    Calls,
    at_most,
    batches_of,
    dislikes,
    first_of,
    refusal,
    takes_all,
    too_large,
)

MANY = "input: Array must contain at most 2 element(s)"
TOKENS = "maximum request size is 6 tokens per request"
IN_FLIGHT = pytest.mark.parametrize("in_flight", [1, 8], ids="{} in flight".format)


def everything_but(texts: int, *bad: int) -> set[int]:
    return set(range(texts)) - set(bad)


# What is cut, and in which order


@pytest.mark.parametrize(
    "error", [too_large(), too_large(MANY), too_large("", 413), refusal("\u6570\u7ec4\u592a\u5927")]
)
def test_a_batch_that_is_refused_is_halved_until_it_fits(error: BadRequestError) -> None:
    calls = Calls(at_most(2, error)).run(8)
    assert calls.sent[:3] == [[*range(8)], [0, 1, 2, 3], [0, 1]]
    assert calls.embedded == everything_but(8)
    assert not calls.work.refused


def test_halves_of_an_odd_batch_leave_no_text_out() -> None:
    calls = Calls(at_most(2)).run(7)
    assert calls.embedded == everything_but(7)
    assert max(map(len, calls.sent[3:])) <= 2


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_a_text_at_fault_is_found_by_halving_and_all_others_are_embedded(bad: int) -> None:
    calls = Calls(dislikes(bad)).run(8)
    assert calls.refused == [bad]
    assert calls.embedded == everything_but(8, bad)
    assert len(calls.sent) == 7


def test_the_search_goes_deep_before_it_goes_on() -> None:
    calls = Calls(dislikes(0)).run(8)
    assert calls.sent[:4] == [[*range(8)], [0, 1, 2, 3], [0, 1], [0]]


def test_after_a_text_at_fault_the_largest_remaining_part_is_next() -> None:
    calls = Calls(dislikes(0)).run(8)
    assert calls.sent[4] == [4, 5, 6, 7]


def test_after_a_text_at_fault_a_new_batch_is_next_where_it_is_larger() -> None:
    calls = Calls(dislikes(0)).run(12, batch_size=4)
    assert calls.sent[:4] == [[0, 1, 2, 3], [0, 1], [0], [4, 5, 6, 7]]


def test_texts_at_fault_for_different_reasons_are_all_named() -> None:
    server = first_of(dislikes(2, error=refusal("rude")), dislikes(6, error=refusal("odd")))
    calls = Calls(server).run(8)
    assert {i: error.message for i, error in calls.work.refused.items()} == {2: "rude", 6: "odd"}
    assert calls.embedded == everything_but(8, 2, 6)


# The figures


@IN_FLIGHT
def test_a_bad_text_and_an_undocumented_limit_of_10_texts_cost_at_most_60_requests(
    in_flight: int,
) -> None:
    server = first_of(dislikes(7), at_most(10, refusal("no")))
    calls = Calls(server).run(100, in_flight=in_flight)
    assert calls.refused == [7]
    assert calls.embedded == everything_but(100, 7)
    assert len(calls.sent) <= 60


@IN_FLIGHT
@pytest.mark.parametrize("count", [1, 3, 4, 8, 40, 63, 64])
def test_texts_that_are_too_long_alone_never_end_a_call(count: int, in_flight: int) -> None:
    calls = Calls(dislikes(*range(count), error=too_large())).run(64, in_flight=in_flight)
    assert calls.refused == [*range(count)]
    assert calls.embedded == everything_but(64, *range(count))
    assert all(isinstance(error, RequestTooLargeError) for error in calls.work.refused.values())


@IN_FLIGHT
def test_three_texts_of_64_in_a_content_filter_are_named_for_one_reason(in_flight: int) -> None:
    calls = Calls(dislikes(3, 30, 60)).run(64, in_flight=in_flight)
    assert calls.refused == [3, 30, 60]
    assert calls.embedded == everything_but(64, 3, 30, 60)


@IN_FLIGHT
@pytest.mark.parametrize("batch_size", [100, 1], ids="{} to a request".format)
def test_a_request_that_is_refused_for_every_text_is_blamed_after_few_requests(
    in_flight: int, batch_size: int
) -> None:
    calls = Calls(lambda numbers: refusal("body.dimensions: no such field"))
    with pytest.raises(BadRequestError, match="no such field"):
        calls.run(100, batch_size=batch_size, in_flight=in_flight)
    assert len(calls.sent) <= 40


@IN_FLIGHT
def test_two_long_texts_before_18_good_ones_cost_only_themselves(in_flight: int) -> None:
    server = dislikes(0, 1, error=too_large())
    calls = Calls(server).run(20, batch_size=1, in_flight=in_flight)
    assert calls.refused == [0, 1]
    assert calls.embedded == everything_but(20, 0, 1)


# When is the request at fault?


def blamed_after(texts: int, message: Callable[[int], str], good: int | None = None) -> int | None:
    """Send texts one by one, all but one refused; return how many were refused before the blame."""

    def server(numbers: list[int]) -> BadRequestError | None:
        return None if good in numbers else refusal(message(numbers[0]))

    calls = Calls(server)
    blamed: BadRequestError | None = None
    try:
        calls.run(texts, batch_size=1)
    except BadRequestError as error:
        blamed = error
    if blamed is None:
        return None
    assert blamed.message == message(0), "the first refusal is raised"
    return len(calls.work.refused)


def test_the_request_is_at_fault_after_four_single_texts_refused_in_the_same_words() -> None:
    assert blamed_after(20, lambda i: "no such model option") == 4


def test_the_request_is_at_fault_after_eight_single_texts_refused_in_any_words() -> None:
    assert blamed_after(20, "abcdefghijklmnopqrst".__getitem__) == 8


@pytest.mark.parametrize("texts", [2, 3])
def test_the_request_is_at_fault_when_all_texts_of_a_small_call_are_refused_alike(
    texts: int,
) -> None:
    assert blamed_after(texts, lambda i: "no") == texts


def test_all_texts_of_a_small_call_refused_in_different_words_are_each_at_fault() -> None:
    assert blamed_after(3, "abc".__getitem__) is None


def test_one_text_that_is_refused_is_at_fault_itself() -> None:
    assert Calls(dislikes(0)).run(1).refused == [0]


@pytest.mark.parametrize(
    "message",
    [
        lambda i: f"input {i} is not allowed",
        lambda i: f"the text 'text number {'x' * i}' is not allowed",
        lambda i: f'the text "{"y" * i}" is not allowed',
        lambda i: f"not allowed (request id 8f3a9c{i:02}deadbeef)",
    ],
)
def test_words_are_compared_without_digits_ids_and_quotations(
    message: Callable[[int], str],
) -> None:
    assert blamed_after(20, message) == 4


@pytest.mark.parametrize("good", [0, 3])
def test_one_accepted_text_shows_that_the_request_is_not_at_fault(good: int) -> None:
    """Four bad texts after a success, and three before it: all of them are at fault themselves."""
    assert blamed_after(20, lambda i: "no", good=good) is None


def test_two_bad_texts_after_successes_do_not_end_a_call() -> None:
    calls = Calls(dislikes(2, 3)).run(4, batch_size=1)
    assert calls.refused == [2, 3]
    assert calls.embedded == {0, 1}


def test_four_bad_texts_after_a_success_do_not_end_a_call() -> None:
    calls = Calls(dislikes(4, 5, 6, 7)).run(8, batch_size=4)
    assert calls.refused == [4, 5, 6, 7]
    assert calls.embedded == {0, 1, 2, 3}


def test_refusals_for_size_do_not_count_toward_the_blame() -> None:
    long = dislikes(*range(10), error=too_large())
    calls = Calls(first_of(long, dislikes(10, 11, 12))).run(14, batch_size=1)
    assert calls.refused == [*range(13)]
    assert calls.embedded == {13}


def test_nothing_is_blamed_while_a_request_in_flight_may_still_be_accepted() -> None:
    calls = Calls(dislikes(*range(1, 9)))
    calls.work = Worklist(batches_of([f"text {i}" for i in range(9)], 1), calls.limits)
    slow, *refused = [calls.start(part) for part in iter(calls.work.take, None)]
    for part in refused:
        calls.answer(part)
    calls.answer(slow)
    assert calls.refused == [*range(1, 9)]
    assert calls.embedded == {0}


def test_the_blame_follows_when_the_last_request_in_flight_is_refused_too() -> None:
    calls = Calls(lambda numbers: refusal("no"))
    calls.work = Worklist(batches_of([f"text {i}" for i in range(9)], 1), calls.limits)
    *parts, last = [calls.start(part) for part in iter(calls.work.take, None)]
    for part in parts:
        calls.answer(part)
    with pytest.raises(BadRequestError):
        calls.answer(last)


# What is learned about size


LIGHT, HEAVY = ["a", "b", "c", "d"], ["w" * 9, "x" * 9, "y" * 9, "z" * 9]  # 1 and 4 tokens each


@pytest.mark.parametrize(
    ("said", "first", "then", "sizes"),
    [
        (TOKENS, HEAVY, LIGHT, [4]),
        (TOKENS, LIGHT, HEAVY, [1, 1, 1, 1]),
        (MANY, LIGHT, HEAVY, [2, 2]),
        (MANY, HEAVY, LIGHT, [2, 2]),
        ("Request too large", LIGHT, HEAVY, [1, 1, 1, 1]),
        ("Request too large", HEAVY, LIGHT, [2, 2]),
    ],
)
def test_a_size_is_learned_in_the_measure_the_server_names_or_in_both(
    said: str, first: list[str], then: list[str], sizes: list[int]
) -> None:
    calls = Calls(at_most(2, too_large(said))).run(first)
    calls.server = takes_all
    calls.run(then)
    assert [len(numbers) for numbers in calls.sent] == sizes


def test_what_was_learned_holds_for_later_calls() -> None:
    calls = Calls(at_most(10)).run(100)
    calls.run(40)
    assert sum(len(numbers) > 10 for numbers in calls.sent) <= 1, "one trial of twice the size"
    assert len(calls.sent) <= 9


def test_a_size_grows_back_when_the_server_takes_more() -> None:
    calls = Calls(at_most(10)).run(100)
    calls.server = takes_all
    calls.run(20_000)
    calls.run(512)
    assert calls.sent == [[*range(512)]]


def test_in_the_long_run_a_limit_costs_one_refusal_in_64_requests() -> None:
    calls = Calls(at_most(10))
    calls.run(100)
    calls.run(20_000)
    refused = sum(len(numbers) > 10 for numbers in calls.sent)
    assert 1 <= refused <= len(calls.sent) / 50


@pytest.mark.parametrize("error", [refusal("odd"), too_large()])
def test_a_text_at_fault_teaches_nothing_about_batches(error: BadRequestError) -> None:
    calls = Calls(dislikes(5, error=error)).run(16)
    calls.run(16)
    assert calls.sent[0] == [*range(16)]


@pytest.mark.parametrize("error", [refusal("odd"), too_large()])
def test_a_text_at_fault_does_not_unlearn_what_was_learned_before(error: BadRequestError) -> None:
    calls = Calls(at_most(4)).run(16)
    calls.server = first_of(dislikes(1, error=error), at_most(4))
    calls.run(4)
    assert calls.refused == [1]
    calls.server = at_most(4)
    calls.run(12)
    assert calls.sent == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_one_odd_refusal_does_not_halve_batches_for_the_life_of_a_client() -> None:
    once = iter([too_large()])
    calls = Calls(lambda numbers: next(once, None))
    for _ in range(20):
        calls.run(64)
    assert calls.sent == [[*range(64)]]


def test_others_are_cut_before_they_are_sent_once_a_size_was_refused() -> None:
    """The server's message is believed for this call, before there is proof."""
    calls = Calls(at_most(4)).run(24, batch_size=8)
    assert sum(len(numbers) > 4 for numbers in calls.sent) == 1


def test_the_belief_ends_with_a_text_at_fault() -> None:
    calls = Calls(dislikes(0, error=too_large())).run(24, batch_size=8)
    assert [*range(8, 16)] in calls.sent
    assert [*range(16, 24)] in calls.sent


def test_a_part_is_cut_once_more_to_what_was_learned_while_it_waited() -> None:
    calls = Calls(takes_all)
    calls.work = Worklist(batches_of([f"text {i}" for i in range(8)], 8), calls.limits)
    part = calls.work.take()
    assert part is not None
    calls.limits.learn(3, math.inf)
    assert calls.start(part).batch.indices == [0, 1, 2]
    rest = calls.work.take()
    assert rest is not None
    assert rest.batch.indices == [3, 4, 5]


# Who waits for whom


@pytest.mark.parametrize(
    ("error", "accepted", "probes"),
    [
        (too_large(), False, True),
        (too_large(), True, True),
        (refusal("odd"), False, True),
        (refusal("odd"), True, False),
    ],
)
def test_others_wait_while_nothing_is_known_about_the_size_or_the_request(
    error: BadRequestError, accepted: bool, probes: bool
) -> None:
    work = Worklist(batches_of(["a", "b"], 2), LearnedLimits(None))
    part = work.take()
    assert part is not None
    if accepted:
        work.accept()
    assert work.refuse(part, error) is probes


def test_nobody_waits_for_a_single_text() -> None:
    work = Worklist(batches_of(["a", "b"], 1), LearnedLimits(None))
    part = work.take()
    assert part is not None
    assert not work.refuse(part, too_large())


def test_a_batch_that_got_no_reply_twice_is_cut_and_teaches_its_size_by_proof_alone() -> None:
    calls = Calls(takes_all)
    calls.work = Worklist(batches_of([f"text {i}" for i in range(8)], 8), calls.limits)
    whole = calls.work.take()
    assert whole is not None
    calls.work.cut(whole)
    halves = [*iter(calls.work.take, None)]
    assert [half.batch.indices for half in halves] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert calls.limits.max_texts == math.inf
    for half in halves:
        calls.work.embedded(half)
    assert calls.limits.max_texts == 4


# All of it together


@given(data=st.data())
def test_every_text_is_embedded_or_named_in_any_order_of_replies(data: st.DataObject) -> None:
    texts = data.draw(st.integers(1, 200), label="texts")
    numbers = st.integers(0, texts - 1)
    long = data.draw(st.sets(numbers, max_size=10), label="too long alone")
    bad = data.draw(st.sets(numbers, max_size=3), label="bad")
    limit = data.draw(st.integers(1, 250), label="most texts")
    says_why = data.draw(st.booleans(), label="says why")
    calls = Calls(
        first_of(
            dislikes(*long, error=too_large()),
            dislikes(*bad, error=refusal("odd")),
            at_most(limit, too_large() if says_why else refusal("no")),
        ),
        seed=data.draw(st.integers(0, 99), label="seed"),
    )
    at_fault = long | bad
    if len(bad) == texts > 1:
        return  # then the request is at fault, as it seems
    calls.run(
        texts,
        batch_size=data.draw(st.integers(1, 200), label="batch size"),
        in_flight=data.draw(st.integers(1, 9), label="in flight"),
    )
    assert set(calls.refused) == at_fault
    assert calls.embedded == everything_but(texts, *at_fault)
