"""What happens next for one batch? Steps of the generator, one at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    InternalServerError,
    RateLimitError,
    ReplyError,
    Usage,
)
from aimlapi_embeddings._engine.flow import Deliver, Send, Sleep
from aimlapi_embeddings._types import Reply
from tests.support.entry_points import OPENAI
from tests.support.flows import Rig, Server, bad, good

RETRIED = [408, 409, 425, 429, 500, 502, 503, 504, 520]
NOT_RETRIED = [301, 400, 401, 402, 403, 404, 405, 410, 413, 418, 422, 501, 505, 511]
PASSING = [
    *map(bad, RETRIED),
    APIConnectionError("reset"),
    APITimeoutError("slow"),
    bad(429, headers={"retry-after": "3"}),
    bad(503, headers={"retry-after": "soon"}),
]
FAILED = Usage(requests=1)

each_passing_failure = pytest.mark.parametrize(
    "failure",
    PASSING,
    ids=[*map(str, RETRIED), "connection", "timeout", "retry-after", "retry-after nonsense"],
)


def scripted(*replies: Reply | Exception | None) -> Server:
    """Make a server that gives these replies in turn, and good ones after them."""
    script: Iterator[Reply | Exception | None] = iter(replies)
    return lambda numbers: next(script, good(numbers))


def always(reply: Reply | Exception) -> Server:
    return lambda numbers: reply


def test_the_rate_limiter_is_asked_for_the_tokens_of_each_request_and_each_retry() -> None:
    rig = Rig(["w" * 8, "x" * 2]).run(scripted(bad(503), APIConnectionError("reset")))
    assert rig.permits == [3 + 1] * 3


def test_the_rate_limiter_is_not_asked_again_for_a_body_that_did_not_leave() -> None:
    assert len(Rig().run(scripted(None, None)).permits) == 1


def test_the_first_step_sends_the_body() -> None:
    step = next(Rig(2).flow())
    assert isinstance(step, Send)
    assert step.body == f'{{"model":"{OPENAI}","input":["text 0","text 1"]}}'.encode()


def test_a_good_reply_is_handed_over_and_ends_the_flow() -> None:
    flow = Rig(4).flow(1, 3)
    next(flow)
    reply = good([1, 3], usage={"prompt_tokens": 5, "total_tokens": 5})
    usage = Usage(prompt_tokens=5, total_tokens=5, requests=1)
    assert flow.send(reply) == Deliver(usage, [1, 3], [[2.0], [4.0]])
    with pytest.raises(StopIteration):
        next(flow)


def test_a_failure_is_counted_before_the_wait() -> None:
    flow = Rig().flow()
    next(flow)
    assert flow.send(bad(503)) == Deliver(FAILED)
    assert isinstance(next(flow), Sleep)
    assert isinstance(next(flow), Send)


@each_passing_failure
def test_a_passing_failure_is_tried_again(failure: Reply | Exception) -> None:
    rig = Rig(2).run(scripted(failure))
    assert rig.sent == [[0, 1], [0, 1]]
    assert rig.vectors == {0: [1.0], 1: [2.0]}


@pytest.mark.parametrize("status", NOT_RETRIED)
def test_a_lasting_failure_is_raised_at_once(status: int) -> None:
    rig = Rig(1)
    with pytest.raises(APIStatusError) as caught:
        rig.run(always(bad(status, headers={"retry-after": "1"})))
    assert caught.value.status == status
    assert (len(rig.sent), rig.clock.waits) == (1, [])


@pytest.mark.parametrize("max_retries", [0, 1, 5])
@each_passing_failure
def test_attempts_are_one_more_than_max_retries(
    failure: Reply | Exception, max_retries: int
) -> None:
    rig = Rig(max_retries=max_retries)
    with pytest.raises(AIMLAPIError):
        rig.run(always(failure))
    assert len(rig.sent) == 1 + max_retries


def test_all_kinds_of_failure_use_up_the_same_retries() -> None:
    rig = Rig(max_retries=3)
    failures = [APIConnectionError("reset"), bad(503), bad(429, headers={"retry-after": "1"})]
    with pytest.raises(InternalServerError):
        rig.run(scripted(*failures, bad(500), bad(500)))
    assert len(rig.sent) == 4


@pytest.mark.parametrize("failure", [bad(503), bad(429), APITimeoutError("slow")])
def test_the_waits_after_failures_grow_and_are_drawn_by_chance(failure: Reply | Exception) -> None:
    waits: list[list[float]] = []
    for _ in range(30):
        rig = Rig(max_retries=4)
        with pytest.raises(AIMLAPIError):
            rig.run(always(failure))
        waits.append(rig.clock.waits)
    for drawn, bound in zip(zip(*waits, strict=True), [0.5, 1.0, 2.0, 4.0], strict=True):
        assert bound / 2 < max(drawn) <= bound
        assert len(set(drawn)) > 20


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_server_names_shuts_the_gate_instead_of_the_own_wait(status: int) -> None:
    rig = Rig().run(scripted(bad(status, headers={"retry-after": "7"})))
    assert len(rig.clock.waits) == 1
    assert 7.0 <= rig.clock.waits[0] <= 7.7


def test_a_shut_gate_holds_every_batch_before_it_sends() -> None:
    rig = Rig()
    first, second = rig.flow(0, 1), rig.flow(2, 3)
    next(first)
    first.send(bad(429, headers={"retry-after": "7"}))
    waits = next(first), next(second)
    assert all(isinstance(wait, Sleep) and 7.0 <= wait.seconds <= 7.7 for wait in waits)


def test_a_gate_that_is_still_shut_after_a_wait_is_waited_for_again() -> None:
    rig = Rig()
    rig.gate.shut_for(5.0)
    flow = rig.flow()
    next(flow)
    assert isinstance(next(flow), Sleep)


def test_a_failure_without_a_word_holds_only_its_own_batch() -> None:
    rig = Rig()
    first, second = rig.flow(0, 1), rig.flow(2, 3)
    next(first)
    first.send(bad(429))
    assert isinstance(next(first), Sleep)
    assert isinstance(next(second), Send)


@pytest.mark.parametrize(("longest", "requests"), [(6.9, 1), (7.0, 2)])
def test_a_wait_above_max_retry_wait_is_raised_at_once(longest: float, requests: int) -> None:
    rig = Rig(max_retries=1, max_retry_wait=longest)
    with pytest.raises(RateLimitError) as caught:
        rig.run(always(bad(429, headers={"retry-after": "7"})))
    assert caught.value.retry_after == 7.0
    assert len(rig.sent) == requests


def test_a_body_may_leave_while_the_gate_is_open() -> None:
    rig = Rig()
    step = next(rig.flow())
    assert isinstance(step, Send)
    assert step.may_leave()
    rig.gate.shut_for(1.0)
    assert not step.may_leave()


def test_a_body_that_did_not_leave_is_sent_again_and_neither_a_request_nor_a_retry() -> None:
    rig = Rig(max_retries=0).run(scripted(None, None, None))
    assert rig.sent == [[0, 1, 2, 3]] * 4
    assert rig.usage == Usage(requests=1)


def test_a_body_that_did_not_leave_waits_for_the_gate() -> None:
    rig = Rig()
    flow = rig.flow()
    next(flow)
    rig.gate.shut_for(5.0)
    assert isinstance(flow.send(None), Sleep)


@pytest.mark.parametrize(
    ("failures", "usage"),
    [
        ([], Usage(requests=1)),
        ([bad(503)], Usage(requests=2, retries=1)),
        ([bad(503), APIConnectionError("reset")], Usage(requests=3, retries=2)),
        ([None, bad(429, headers={"retry-after": "1"}), None], Usage(requests=2, retries=1)),
    ],
)
def test_every_request_and_retry_is_counted_once(
    failures: list[Reply | Exception | None], usage: Usage
) -> None:
    assert Rig().run(scripted(*failures)).usage == usage


def test_what_failed_for_good_is_counted_too() -> None:
    rig = Rig(max_retries=2)
    with pytest.raises(InternalServerError):
        rig.run(always(bad(500)))
    assert rig.usage == Usage(requests=3, retries=2)


def test_a_reply_that_cannot_be_trusted_is_counted_and_not_tried_again() -> None:
    rig = Rig(4)
    with pytest.raises(ReplyError, match=r"\[3 texts from 1 to 3 of 4; model text-") as caught:
        rig.run(lambda numbers: good(numbers[:-1]), 1, 2, 3)
    assert isinstance(caught.value.__cause__, ReplyError)
    assert rig.usage == FAILED


def test_an_error_names_the_texts_and_the_attempts() -> None:
    rig = Rig(5, max_retries=2)
    place = "2 texts from 1 to 3 of 5; model text-embedding-3-small; 3 attempts"
    with pytest.raises(InternalServerError, match=place) as caught:
        rig.run(always(bad(500)), 1, 3)
    assert caught.value.indices == (1, 3)


def test_of_one_text_the_head_is_shown() -> None:
    rig = Rig(["x" * 61, "y" * 60])
    for i, shown in enumerate(["x" * 59 + "…", "y" * 60]):
        with pytest.raises(AuthenticationError, match=f"text {i} of 2, '{shown}'; model"):
            rig.run(always(bad(401)), i)


@pytest.mark.parametrize("kind", [APIConnectionError, APITimeoutError])
def test_a_connection_error_keeps_its_kind_and_cause_and_names_the_texts(
    kind: type[APIConnectionError],
) -> None:
    error, cause = kind("reset"), OSError("by peer")
    error.__cause__ = cause
    place = r"^reset \[4 texts from 0 to 3 of 4; model text-embedding-3-small; 2 attempts\]$"
    with pytest.raises(kind, match=place) as caught:
        Rig(max_retries=1).run(always(error))
    assert caught.value is not error
    assert caught.value.__cause__ is cause
