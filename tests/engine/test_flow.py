"""The way of one part of a call: permit, request, reply, and what follows. Driven by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    InternalServerError,
    RateLimitError,
    ReplyError,
    RequestTooLargeError,
    Usage,
)
from aimlapi_embeddings._engine.budget import Limits
from aimlapi_embeddings._engine.flow import embed_part
from aimlapi_embeddings._engine.steps import Deliver, Send, Sleep, Wait
from aimlapi_embeddings._protocol.attempt import IdleConnectionClosed
from aimlapi_embeddings._types import Reply
from tests.support.entry_points import OPENAI
from tests.support.flows import Rig, Server, bad, good
from tests.support.waiting import Request

FORMAT = "Unrecognized key(s) in object: 'encoding_format'"
# Of gateways and servers of models.
FORMATS = (
    FORMAT,
    "gemini does not support parameters: {'encoding_format': 'base64'}",
    "Setting user/encoding format is not supported by gemini.",
    "encodingFormat must be one of: float",
    "base64 is not supported",
    "Unsupported embedding type: BASE64",
)
REPEATED = [408, 409, 425, 429, 500, 502, 503, 504, 520]
NOT_REPEATED = [301, 401, 402, 403, 404, 405, 410, 418, 501, 505, 511]


def lost(kind: type[APIConnectionError] = APIConnectionError, *, sent: bool = True) -> Exception:
    """A failure to get a reply, after sending began or before."""
    error = kind("reset")
    error.sent = sent
    return error


def scripted(*replies: Reply | Exception) -> Server:
    """Give these replies in turn, and good ones after them."""
    script: Iterator[Reply | Exception] = iter(replies)
    return lambda numbers: next(script, good(numbers))


def always(reply: Reply | Exception) -> Server:
    return lambda numbers: reply


def free(rig: Rig) -> int:
    """How many more requests may leave now."""
    requests = []
    while (request := Request(rig.pacer)).permit:
        requests.append(request)
    request.give_up()
    for request in requests:
        request.release()
    return len(requests)


# One request


def test_the_first_step_sends_the_body() -> None:
    step = next(Rig(2).flow())
    body = f'{{"model":"{OPENAI}","input":["text 0","text 1"]}}'.encode()
    assert step == Send(body, "request-1")


def test_a_good_reply_is_returned_and_ends_the_flow() -> None:
    flow = Rig(2).flow()
    next(flow)
    reply = good([0, 1], usage={"prompt_tokens": 5, "total_tokens": 5})
    usage = Usage(prompt_tokens=5, total_tokens=5, requests=1)
    assert flow.send(reply) == Deliver(usage, [0, 1], [[1.0], [2.0]])
    with pytest.raises(StopIteration):
        next(flow)


def test_leave_is_held_from_sending_until_the_reply() -> None:
    rig = Rig()
    flow = rig.flow()
    assert free(rig) == 8
    next(flow)
    assert free(rig) == 7
    flow.send(good([0, 1, 2, 3]))
    assert free(rig) == 8


@pytest.mark.parametrize("failure", [bad(503), bad(401), lost(), ReplyError("no gzip")])
def test_leave_is_given_back_after_every_failure(failure: Reply | Exception) -> None:
    rig = Rig()
    flow = rig.flow()
    next(flow)
    flow.throw(failure) if isinstance(failure, Exception) else flow.send(failure)
    assert free(rig) == 8


def test_leave_is_given_back_when_a_flow_is_closed_in_flight() -> None:
    rig = Rig()
    flow = rig.flow()
    next(flow)
    flow.close()
    assert free(rig) == 8


def test_a_part_that_waits_for_leave_sends_nothing() -> None:
    rig = Rig()
    requests = [Request(rig.pacer) for _ in range(8)]
    flow = rig.flow()
    assert isinstance(next(flow), Wait)
    requests[0].release()
    assert isinstance(next(flow), Send)


def test_a_part_is_cut_to_what_was_learned_while_it_waited_for_leave() -> None:
    rig = Rig()
    requests = [Request(rig.pacer) for _ in range(8)]
    flow = rig.flow()
    next(flow)
    rig.limits.learn(3, 999)
    requests[0].release()
    step = next(flow)
    assert isinstance(step, Send)
    assert step.body.endswith(b'"input":["text 0","text 1","text 2"]}')


# Repeats


@pytest.mark.parametrize("failure", [*map(bad, REPEATED), lost(), lost(APITimeoutError)], ids=str)
def test_a_temporary_failure_is_repeated(failure: Reply | Exception) -> None:
    rig = Rig(2).run(scripted(failure))
    assert rig.sent == [[0, 1], [0, 1]]
    assert rig.vectors == {0: [1.0], 1: [2.0]}


@pytest.mark.parametrize("status", NOT_REPEATED)
def test_a_lasting_failure_is_raised_at_once(status: int) -> None:
    rig = Rig(1)
    with pytest.raises(APIStatusError) as caught:
        rig.run(always(bad(status, headers={"retry-after": "1"})))
    assert caught.value.status_code == status
    assert (len(rig.sent), rig.clock.waits) == (1, [])


def test_a_failure_is_counted_before_the_wait() -> None:
    flow = Rig().flow()
    next(flow)
    assert flow.send(bad(503)) == Deliver(Usage(requests=1))
    assert isinstance(next(flow), Sleep)
    assert isinstance(next(flow), Send)


def test_nothing_is_held_during_the_wait() -> None:
    rig = Rig()
    flow = rig.flow()
    next(flow)
    flow.send(bad(503))
    assert isinstance(next(flow), Sleep)
    assert free(rig) == 8


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_the_server_asks_for_holds_every_part(status: int) -> None:
    rig = Rig(8)
    rig.new_call(batch_size=4)
    first, second = rig.flow(), rig.flow()
    next(first)
    first.send(bad(status, headers={"retry-after": "8"}))
    for flow in (first, second):
        step = next(flow)
        assert isinstance(step, Sleep)
        assert 8.0 <= step.seconds <= 10.0


@pytest.mark.parametrize(("longest", "requests"), [(6.9, 1), (7.0, 2)])
def test_a_wait_above_max_retry_wait_is_raised_at_once(longest: float, requests: int) -> None:
    rig = Rig(max_retries=1, max_retry_wait=longest)
    with pytest.raises(RateLimitError) as caught:
        rig.run(always(bad(429, headers={"retry-after": "7"})))
    assert caught.value.retry_after == 7.0
    assert len(rig.sent) == requests
    assert ("max_retry_wait=6.9" in str(caught.value)) == (requests == 1)


def test_every_429_lowers_the_bound() -> None:
    rig = Rig(max_retries=5)
    requests = [Request(rig.pacer) for _ in range(7)]
    flow = rig.flow()
    next(flow)
    flow.send(bad(429, headers={"retry-after": "0"}))
    for request in requests:
        request.release()
    assert free(rig) == 4


def test_a_429_of_size_leaves_the_bound_as_it_is() -> None:
    rig = Rig(4)
    said = "Request too large for model: Limit 400, Requested 1040"
    rig.run(lambda numbers: bad(429, said) if len(numbers) > 2 else good(numbers))
    assert sorted(rig.vectors) == [0, 1, 2, 3]
    rig.run(good)  # two requests, of the learned size
    assert free(rig) == 8


def test_a_429_costs_no_retry_while_others_get_through() -> None:
    rig = Rig(1, max_retries=1)
    other = Request(rig.pacer)
    assert other.permit
    other.release()

    def server(numbers: list[int]) -> Reply:
        assert other.permit
        rig.pacer.succeeded(other.permit)
        return bad(429) if len(rig.sent) < 20 else good(numbers)

    rig.run(server)
    assert rig.vectors == {0: [1.0]}
    with pytest.raises(RateLimitError):
        rig.run(always(bad(429)))
    assert len(rig.sent) == 3, "the first one after a success, then those of an outage"


def test_an_idle_connection_that_was_closed_is_replaced_at_once_and_costs_no_retry() -> None:
    rig = Rig(2, max_retries=0)
    rig.run(scripted(*[lost(IdleConnectionClosed)] * 3))
    assert rig.vectors == {0: [1.0], 1: [2.0]}
    assert rig.clock.waits == []


# Timeouts


def test_a_batch_that_times_out_twice_is_cut_and_its_parts_have_all_retries() -> None:
    rig = Rig(4, max_retries=2)
    rig.run(lambda numbers: lost(APITimeoutError) if len(numbers) > 2 else good(numbers))
    assert rig.sent == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1], [2, 3]]
    assert sorted(rig.vectors) == [0, 1, 2, 3]
    rig = Rig(4, max_retries=2)
    slow = scripted(*[lost(APITimeoutError)] * 4)
    assert sorted(rig.run(slow).vectors) == [0, 1, 2, 3]
    assert [len(numbers) for numbers in rig.sent] == [4, 4, 2, 2, 1, 1, 1, 1]


def test_a_size_that_timed_out_is_learned_by_proof() -> None:
    rig = Rig(4)

    def slow(numbers: list[int]) -> Reply | Exception:
        return lost(APITimeoutError) if len(numbers) > 2 else good(numbers)

    rig.run(slow).run(slow)
    assert rig.sent == [[0, 1], [2, 3]]


def test_a_timeout_of_connecting_cuts_nothing() -> None:
    rig = Rig(4, max_retries=3)
    rig.run(scripted(*[lost(APITimeoutError, sent=False)] * 3))
    assert rig.sent == [[0, 1, 2, 3]] * 4


def test_one_text_that_times_out_uses_up_its_retries() -> None:
    rig = Rig(1, max_retries=3)
    with pytest.raises(APITimeoutError, match="4 attempts"):
        rig.run(always(lost(APITimeoutError)))
    assert len(rig.sent) == 4


def test_without_retries_the_first_timeout_raises() -> None:
    rig = Rig(4, max_retries=0)
    with pytest.raises(APITimeoutError):
        rig.run(always(lost(APITimeoutError)))
    assert rig.sent == [[0, 1, 2, 3]]


# What is counted


@pytest.mark.parametrize(
    ("failures", "usage"),
    [
        ([], Usage(requests=1)),
        ([bad(503)], Usage(requests=2, retries=1)),
        ([bad(503), lost()], Usage(requests=3, retries=2)),
        ([lost(sent=False)], Usage(requests=1, retries=1)),
        ([lost(sent=False), lost(APITimeoutError, sent=False)], Usage(requests=1, retries=1)),
        ([lost(IdleConnectionClosed)], Usage(requests=2, retries=1)),
    ],
)
def test_requests_are_those_whose_sending_began(
    failures: list[Reply | Exception], usage: Usage
) -> None:
    assert Rig().run(scripted(*failures)).usage == usage


@pytest.mark.parametrize("failure", [bad(500), bad(401), lost(), ReplyError("no gzip")], ids=str)
def test_what_failed_for_good_is_counted_too(failure: Reply | Exception) -> None:
    rig = Rig(max_retries=0)
    with pytest.raises(AIMLAPIError):
        rig.run(always(failure))
    assert rig.usage == Usage(requests=1)


def test_a_reply_that_cannot_be_trusted_is_counted_and_not_repeated() -> None:
    rig = Rig(4)
    with pytest.raises(ReplyError, match=r"\[4 texts from 0 to 3 of 4; model text-"):
        rig.run(lambda numbers: good(numbers[:-1]))
    assert rig.usage == Usage(requests=1)


class _InterruptedWhenRead(dict[str, str]):
    """Headers at which Ctrl-C strikes once, while the reply is parsed."""

    struck = False

    def get(self, name: str, default: Any = None, /) -> Any:
        if name == "x-aimlapi-model" and not self.struck:
            self.struck = True
            raise KeyboardInterrupt
        return super().get(name, default)


def test_a_reply_that_was_being_parsed_at_ctrl_c_is_counted() -> None:
    rig = Rig(4, limits=Limits(max_tokens=1000))
    usage = {"prompt_tokens": 990, "total_tokens": 990}
    with pytest.raises(KeyboardInterrupt):
        rig.run(lambda numbers: good(numbers, usage=usage)._replace(headers=_InterruptedWhenRead()))
    assert rig.usage == Usage(requests=1, prompt_tokens=990, total_tokens=990)
    assert rig.run(good).sent == []
    assert isinstance(rig.call.work.stopped, BudgetExceededError)


# Refusals


def test_a_refused_part_ends_its_flow_and_its_pieces_are_sent_next() -> None:
    rig = Rig(4)
    flow = rig.flow()
    next(flow)
    assert flow.send(bad(400, "odd")) == Deliver(Usage(requests=1))
    with pytest.raises(StopIteration):
        next(flow)
    assert len(rig.call.work) == 2


def test_a_refusal_of_several_texts_holds_the_others_back_until_it_is_understood() -> None:
    rig = Rig(4)
    flow = rig.flow()
    next(flow)
    flow.send(bad(413))
    with pytest.raises(StopIteration):
        next(flow)
    assert free(rig) == 1


@pytest.mark.parametrize("status", [500, 429, 413, 400])
def test_one_text_that_is_too_large_is_not_repeated_whatever_the_status(status: int) -> None:
    said = {429: "Request too large: Limit 4, Requested 9"}
    rig = Rig(1).run(always(bad(status, said.get(status, "input (9 tokens) is too large"))))
    assert rig.sent == [[0]]
    assert isinstance(rig.call.work.refused[0], RequestTooLargeError)
    assert rig.call.work.refused[0].status_code == status


def test_a_5xx_that_does_not_speak_of_size_is_repeated_and_not_cut() -> None:
    rig = Rig(4).run(scripted(bad(500, "the model is overloaded")))
    assert rig.sent == [[0, 1, 2, 3]] * 2


class Failing:
    """A server that answers some texts with a status, whatever they share a request with.

    With `beside`, all other parts of the call are sent while it works at one of these texts, the
    first so many times.
    """

    def __init__(self, rig: Rig, *texts: int, status: int = 500, beside: int = 99) -> None:
        self.rig, self.texts, self.status, self.beside = rig, texts, status, beside

    def __call__(self, numbers: list[int]) -> Reply:
        if set(self.texts).isdisjoint(numbers):
            return good(numbers)
        if self.beside > 0:
            self.beside -= 1
            while (part := self.rig.call.work.take()) is not None:
                self.rig.drive(embed_part(part, self.rig.call), self)
        return bad(self.status, "failed to encode response: json: unsupported value: NaN")


@pytest.mark.parametrize("status", [500, 502, 504])
@pytest.mark.parametrize("texts", [(5,), (0,), (0, 3), (4, 5), (1, 9), (4, 6), (3, 4)])
def test_texts_at_which_the_server_fails_while_others_get_through_are_at_fault(
    status: int, texts: tuple[int, ...]
) -> None:
    rig = Rig(16)
    rig.run(Failing(rig, *texts, status=status), batch_size=4)
    refused = rig.call.work.refused
    assert tuple(sorted(refused)) == texts
    for place, error in refused.items():
        assert type(error) is BadRequestError
        assert (error.status_code, error.indices) == (status, (place,))
        assert "others got through meanwhile" in str(error)
    assert sorted(rig.vectors) == sorted(set(range(16)) - set(texts))


def test_a_piece_of_what_the_server_failed_at_waits_for_the_others_and_is_then_cut_soon() -> None:
    rig = Rig(8, max_retries=3)
    rig.run(Failing(rig, 0, beside=1), batch_size=4)
    whole, left, alone = [0, 1, 2, 3], [0, 1], [0]
    assert rig.sent == [
        whole, [4, 5, 6, 7], whole, whole, whole,
        left, left,  # what got through beside the whole counts for its halves
        alone, alone, [2, 3],  # put off until others have got through
        alone, alone, alone, alone, [1],
    ]  # fmt: skip
    assert list(rig.call.work.refused) == [0]


@pytest.mark.parametrize("max_retries", [0, 2])
def test_a_server_that_fails_at_everything_is_repeated_and_its_batches_are_not_cut(
    max_retries: int,
) -> None:
    rig = Rig(8, max_retries=max_retries)
    with pytest.raises(InternalServerError, match=f"max_retries={max_retries} is used up"):
        rig.run(always(bad(500)), batch_size=4)
    assert rig.sent == [[0, 1, 2, 3]] * (1 + max_retries)


def test_a_server_that_begins_to_fail_at_everything_ends_the_call_after_a_few_requests() -> None:
    rig = Rig(64, max_retries=2)
    failing = Failing(rig, 0, beside=1)

    def server(numbers: list[int]) -> Reply:
        return bad(500) if len(rig.sent) > 4 else failing(numbers)

    with pytest.raises(InternalServerError, match="max_retries=2 is used up"):
        rig.run(server, batch_size=32)
    halves, quarters, last = 2 * 2, 4 * 2, 3
    assert len(rig.sent) <= 4 + halves + quarters + last


@pytest.mark.parametrize("status", [503, 529, 408])
def test_a_server_that_speaks_of_itself_is_not_held_to_fail_at_texts(status: int) -> None:
    rig = Rig(8, max_retries=1)
    with pytest.raises(APIStatusError, match="max_retries=1 is used up"):
        rig.run(Failing(rig, 0, status=status), batch_size=4)


def test_without_retries_the_first_500_ends_the_call() -> None:
    rig = Rig(8, max_retries=0)
    with pytest.raises(InternalServerError, match="max_retries=0 is used up"):
        rig.run(Failing(rig, 0), batch_size=4)


def test_the_text_of_a_call_of_one_is_not_held_to_be_at_fault() -> None:
    rig = Rig(1, max_retries=1)

    def server(numbers: list[int]) -> Reply:
        other = Request(rig.pacer)  # of another call
        assert other.permit is not None
        rig.pacer.succeeded(other.permit)
        other.release()
        return bad(500)

    with pytest.raises(InternalServerError, match="max_retries=1 is used up"):
        rig.run(server)


def test_the_error_of_several_texts_says_that_one_may_be_the_cause() -> None:
    with pytest.raises(InternalServerError, match="batch_size=1 names it"):
        Rig(4).run(always(bad(500)))
    with pytest.raises(InternalServerError, match=r"if it lasts\.$"):
        Rig(1).run(always(bad(500)))


def test_a_text_that_is_refused_in_an_array_is_sent_once_more_as_a_string() -> None:
    """Voyage's schema allows 800 characters in an array and 8,000 in a string."""
    rig = Rig(["a"], model="voyage-law-2")
    rig.run(lambda numbers: bad(400, "input too long") if len(rig.bodies) == 1 else good(numbers))
    assert [body["input"] for body in rig.bodies] == [["a"], "a"]
    assert rig.vectors == {0: [1.0]}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("message", FORMATS)
def test_a_refused_encoding_format_is_left_out_from_then_on(status: int, message: str) -> None:
    rig = Rig(4, max_retries=0, encoding_format="base64")
    asked: list[bool] = []

    def server(numbers: list[int]) -> Reply:
        asked.append("encoding_format" in rig.bodies[-1])
        return bad(status, message) if asked[-1] else good(numbers)

    rig.run(server).run(server)
    assert asked == [True, False, False]


def test_an_encoding_format_that_we_did_not_ask_for_cannot_be_left_out() -> None:
    rig = Rig(1).run(always(bad(400, FORMAT)))
    assert rig.sent == [[0]]
    assert "encoding_format" in rig.call.work.refused[0].message


def test_a_text_that_speaks_of_the_encoding_format_is_no_refusal_of_it() -> None:
    rig = Rig(["what does encoding_format do?"], encoding_format="base64")
    rig.run(always(bad(400, "this text is not allowed")))
    assert len(rig.sent) == 1
    assert rig.limits.encoding_format == "base64"


def test_a_trial_that_fails_otherwise_is_tried_again() -> None:
    rig = Rig(40)
    rig.limits.learn(2, 999)
    failed: list[list[int]] = []

    def server(numbers: list[int]) -> Reply:
        if len(numbers) > 2 and not failed:
            failed.append(numbers)
            return bad(503)
        return good(numbers)

    rig.run(server)
    assert rig.sent.count(failed[0]) == 2
    assert rig.limits.max_texts > 2


# Errors


def test_an_error_names_the_texts_and_the_attempts() -> None:
    rig = Rig(5, max_retries=2)
    place = "3 texts from 1 to 3 of 5; model text-embedding-3-small; 3 attempts"
    with pytest.raises(InternalServerError, match=place) as caught:
        rig.drive(embed_part(rig.part(1, 2, 3), rig.call), always(bad(500)))
    assert caught.value.indices == (1, 2, 3)


def test_of_one_text_the_head_is_shown() -> None:
    rig = Rig(["x" * 61, "y" * 60])
    for i, shown in enumerate(["x" * 59 + "\u2026", "y" * 60]):
        with pytest.raises(AuthenticationError, match=f"text {i} of 2, '{shown}'; model"):
            rig.drive(embed_part(rig.part(i), rig.call), always(bad(401)))


def test_the_one_text_of_a_query_is_called_the_query() -> None:
    with pytest.raises(AuthenticationError, match="the query, 'text 0'; model"):
        Rig(1, query=True).run(always(bad(401)))


@pytest.mark.parametrize("kind", [APIConnectionError, APITimeoutError])
@pytest.mark.parametrize("sent", [True, False])
def test_a_connection_error_keeps_its_kind_and_cause_and_names_the_texts(
    kind: type[APIConnectionError], sent: bool
) -> None:
    error, cause = lost(kind, sent=sent), OSError("by peer")
    error.__cause__ = cause
    place = (
        r"^reset \[text 0 of 1, 'text 0'; model text-embedding-3-small; 2 attempts; "
        r"max_retries=1 is used up\]$"
    )
    with pytest.raises(kind, match=place) as caught:
        Rig(1, max_retries=1).run(always(error))
    assert caught.value is not error
    assert caught.value.__cause__ is cause
    assert (caught.value.sent, caught.value.permanent) == (sent, False)


def test_a_permanent_connection_error_is_raised_at_once() -> None:
    error = APIConnectionError("no such host")
    error.permanent = True
    rig = Rig(1)
    with pytest.raises(APIConnectionError) as caught:
        rig.run(always(error))
    assert caught.value.permanent
    assert len(rig.sent) == 1
    assert rig.usage == Usage()


def test_the_request_at_fault_is_raised_by_the_flow_that_met_it() -> None:
    with pytest.raises(BadRequestError, match="no such field"):
        Rig(8).run(always(bad(400, "no such field")), batch_size=1)
