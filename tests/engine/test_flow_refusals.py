"""Law 8, step by step: too large is not fatal, and one bad text does not take others with it."""

from __future__ import annotations

import pytest

from aimlapi_embeddings import BadRequestError, RequestTooLargeError, Usage
from aimlapi_embeddings._engine.flow import Send
from aimlapi_embeddings._types import Reply
from tests.support.flows import Rig, Server, bad, good

MANY = "input: Array must contain at most 2 element(s)"
TOKENS = "maximum request size is 6 tokens per request"
LONG = "This model's maximum context length is 8192 tokens"
FORMAT = "Unrecognized key(s) in object: 'encoding_format'"


def at_most(count: int, refusal: Reply | None = None) -> Server:
    """Make a server that takes so many texts."""
    refusal = refusal or bad(400, MANY)
    return lambda numbers: refusal if len(numbers) > count else good(numbers)


def dislikes(*numbers: int, status: int = 400, message: str = "no such text") -> Server:
    """Make a server that refuses whatever holds one of these texts."""

    def answer(sent: list[int]) -> Reply:
        found = [number for number in numbers if number in sent]
        place = sent.index(found[0]) if found else 0
        return bad(status, f"input.{place}: {message}") if found else good(sent)

    return answer


def all_but(rig: Rig, *numbers: int) -> dict[int, list[float]]:
    return {i: [i + 1.0] for i in range(len(rig.texts)) if i not in numbers}


@pytest.mark.parametrize(
    "refusal",
    [bad(413, ""), bad(413, MANY), bad(400, MANY), bad(422, MANY), bad(400, TOKENS),
     bad(400, "Request too large")],
)  # fmt: skip
def test_a_batch_that_is_too_large_is_halved_until_it_fits(refusal: Reply) -> None:
    rig = Rig(8).run(at_most(2, refusal))
    assert rig.sent == [[*range(8)], [0, 1, 2, 3], [0, 1], [2, 3], [4, 5], [6, 7]]
    assert rig.vectors == all_but(rig)


def test_halves_of_an_odd_batch_leave_no_text_out() -> None:
    rig = Rig(7).run(at_most(2))
    assert rig.sent == [[*range(7)], [0, 1, 2], [0], [1], [2], [3], [4], [5], [6]]
    assert rig.vectors == all_but(rig)


def test_what_was_learned_about_the_count_holds_for_later_batches() -> None:
    rig = Rig(8).run(at_most(2), 0, 1, 2, 3)
    rig.sent.clear()
    rig.run(at_most(2), 4, 5, 6, 7)
    assert rig.sent == [[4, 5], [6, 7]]


LIGHT, HEAVY = ["a", "b", "c", "d"], ["w" * 9, "x" * 9, "y" * 9, "z" * 9]  # 1 and 4 tokens each


@pytest.mark.parametrize(
    ("said", "first", "then", "sent"),
    [
        (TOKENS, HEAVY, LIGHT, [[4, 5, 6, 7]]),
        (TOKENS, LIGHT, HEAVY, [[4], [5], [6], [7]]),
        (MANY, LIGHT, HEAVY, [[4, 5], [6, 7]]),
        (MANY, HEAVY, LIGHT, [[4, 5], [6, 7]]),
        ("Request too large", LIGHT, HEAVY, [[4], [5], [6], [7]]),
        ("Request too large", HEAVY, LIGHT, [[4, 5], [6, 7]]),
    ],
)
def test_a_size_is_learned_in_the_measure_the_server_speaks_of_or_in_both(
    said: str, first: list[str], then: list[str], sent: list[list[int]]
) -> None:
    rig = Rig([*first, *then])
    rig.run(at_most(2, bad(400, said)), 0, 1, 2, 3)
    rig.sent.clear()
    rig.run(good, 4, 5, 6, 7)
    assert rig.sent == sent


def test_a_size_is_tried_out_by_one_request() -> None:
    rig = Rig(4)
    flow = rig.flow()
    next(flow)
    flow.send(bad(413))
    next(flow)
    assert rig.slots.limit == 1


def test_a_body_may_not_leave_when_others_have_learned_that_it_is_too_large() -> None:
    rig = Rig(4)
    flow = rig.flow()
    step = next(flow)
    assert isinstance(step, Send)
    assert step.may_leave()
    rig.learned.max_texts = 2
    assert not step.may_leave()
    smaller = flow.send(None)
    assert isinstance(smaller, Send)
    assert smaller.body.endswith(b'"input":["text 0","text 1"]}')


def test_a_text_that_is_too_large_alone_is_named_and_the_others_are_embedded() -> None:
    rig = Rig(8)
    with pytest.raises(RequestTooLargeError, match="text 5 of 8, 'text 5'; model") as caught:
        rig.run(dislikes(5, message=LONG))
    assert caught.value.indices == (5,)
    assert rig.vectors == all_but(rig, 5)


def test_of_several_texts_that_are_too_large_alone_the_first_is_named() -> None:
    rig = Rig(8)
    with pytest.raises(RequestTooLargeError, match="text 2 of 8"):
        rig.run(dislikes(2, 6, message=LONG))
    assert rig.vectors == all_but(rig, 2, 6)


def test_a_text_that_is_too_large_alone_does_not_make_later_batches_small() -> None:
    rig = Rig(16)
    with pytest.raises(RequestTooLargeError):
        rig.run(dislikes(5, message=LONG), *range(8))
    rig.sent.clear()
    rig.run(dislikes(5, message=LONG), *range(8, 16))
    assert rig.sent == [[*range(8, 16)]]
    assert rig.slots.limit == rig.slots.most


def test_too_large_texts_of_batches_under_way_together_do_not_make_later_batches_small() -> None:
    rig = Rig(4)
    first, second = rig.flow(0, 1), rig.flow(2, 3)
    next(first)
    next(second)
    for flow in (first, second, first, second):  # both batches, then their first texts alone
        flow.send(bad(413))
        next(flow)
    assert rig.run(good).sent == [[0, 1, 2, 3]]


def test_a_text_that_is_too_large_alone_does_not_unlearn_what_others_have_learned() -> None:
    rig = Rig(9)
    alone = rig.flow(8)
    next(alone)
    rig.run(at_most(2), 0, 1, 2, 3)
    alone.send(bad(413))
    with pytest.raises(RequestTooLargeError):
        next(alone)
    rig.sent.clear()
    rig.run(at_most(2), 4, 5, 6, 7)
    assert rig.sent == [[4, 5], [6, 7]]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("number", [0, 1, 4, 7])
def test_a_bad_text_is_found_and_named_and_the_others_are_embedded(
    number: int, status: int
) -> None:
    rig = Rig(8)
    with pytest.raises(BadRequestError, match=f"text {number} of 8, 'text {number}'; ") as caught:
        rig.run(dislikes(number, status=status))
    assert caught.value.indices == (number,)
    assert rig.vectors == all_but(rig, number)


@pytest.mark.parametrize(
    ("count", "number", "halves"),
    [
        (8, 5, [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [6, 7], [4], [5]]),
        (5, 0, [[0, 1, 2], [3, 4], [0, 1], [2], [0], [1]]),
    ],
)
def test_a_bad_text_is_found_by_halving(count: int, number: int, halves: list[list[int]]) -> None:
    rig = Rig(count)
    with pytest.raises(BadRequestError):
        rig.run(dislikes(number))
    assert rig.sent == [[*range(count)], *halves]


def test_of_several_bad_texts_the_first_is_named_and_all_others_are_embedded() -> None:
    rig = Rig(8)

    def server(numbers: list[int]) -> Reply:
        bad_ones = [number for number in (2, 6) if number in numbers]
        return bad(400, "ab"[bad_ones[0] // 4] + " is not allowed") if bad_ones else good(numbers)

    with pytest.raises(BadRequestError, match="text 2 of 8"):
        rig.run(server)
    assert rig.vectors == all_but(rig, 2, 6)


def test_where_both_halves_are_refused_for_the_same_reason_the_request_is_at_fault() -> None:
    rig = Rig(8)
    with pytest.raises(BadRequestError, match="8 texts from 0 to 7 of 8") as caught:
        rig.run(lambda numbers: bad(400, f"Invalid model (text {numbers[0]})"))
    assert caught.value.indices == tuple(range(8))
    assert rig.sent == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_single_text_that_is_refused_is_not_sent_again() -> None:
    rig = Rig(1)
    with pytest.raises(BadRequestError, match="text 0 of 1"):
        rig.run(dislikes(0))
    assert rig.sent == [[0]]


def test_every_refused_request_is_counted_but_is_no_retry() -> None:
    assert Rig(4).run(at_most(2)).usage == Usage(requests=3)
    rig = Rig(4)
    with pytest.raises(BadRequestError):
        rig.run(dislikes(3))
    assert rig.usage == Usage(requests=5)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_encoding_format_is_left_out_from_then_on(status: int) -> None:
    rig = Rig(8, max_retries=0, encoding_format="base64")
    asked: list[bool] = []

    def server(numbers: list[int]) -> Reply:
        asked.append("encoding_format" in rig.bodies[-1])
        return bad(status, FORMAT) if asked[-1] else good(numbers)

    rig.run(server, 0, 1, 2, 3)
    rig.run(server, 4, 5, 6, 7)
    assert asked == [True, False, False]
    assert rig.sent == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert rig.vectors == all_but(rig)


def test_an_encoding_format_that_we_did_not_ask_for_cannot_be_left_out() -> None:
    rig = Rig(1)
    with pytest.raises(BadRequestError, match="encoding_format"):
        rig.run(lambda numbers: bad(400, FORMAT))
    assert rig.sent == [[0]]


def test_a_text_that_speaks_of_the_encoding_format_is_no_refusal_of_it() -> None:
    rig = Rig(["what does encoding_format do?"], encoding_format="base64")
    with pytest.raises(BadRequestError):
        rig.run(lambda numbers: bad(400, "this text is not allowed"))
    assert len(rig.sent) == 1
    assert rig.learned.encoding_format == "base64"
