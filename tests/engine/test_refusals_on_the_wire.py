"""Refusals of a whole call, through every entry point: blame, what is kept, and the cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import httpx
import pytest

from aimlapi_embeddings import (
    APITimeoutError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    RequestTooLargeError,
    emulator,
)
from aimlapi_embeddings.emulator import Fault, Reply, Request
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import OPENAI, Clock, EntryPoint, Mode, Package

LONG = "This model's maximum context length is 8192 tokens; the text is too long"
FILTER = "The text was refused by the content filter"
Judge: TypeAlias = Callable[[list[str]], Fault | None]


def say(message: str, status: int = 400, **more: Any) -> Fault:
    return Fault(status, body=json.dumps({"message": message, **more}).encode())


def texts_of(request: Request) -> list[str]:
    sent = json.loads(request.body)["input"]
    return [sent] if isinstance(sent, str) else sent


def judged(entry_point: EntryPoint, *judges: Judge, **options: Any) -> EntryPoint:
    """Refuse what one of these refuses; `judges` are asked in order."""
    answer = entry_point.fake_server.answer
    server = emulator.Emulator()

    def reply(request: Request) -> Reply:
        texts = texts_of(request)
        fault = next(filter(None, (judge(texts) for judge in judges)), None)
        return answer(request) if fault is None else server.reply(request, fault)

    entry_point.fake_server.answer = reply
    return entry_point.make(OPENAI, dimensions=4, **options)


def holds(bad: Collection[str], fault: Fault) -> Judge:
    bad = set(bad)
    return lambda texts: None if bad.isdisjoint(texts) else fault


def more_than(most: int, fault: Fault) -> Judge:
    return lambda texts: fault if len(texts) > most else None


def numbered(count: int) -> list[str]:
    return [f"text {i}" for i in range(count)]


def refused(entry_point: EntryPoint, texts: list[str]) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        entry_point.documents(texts)
    return caught.value


def assert_kept_all_but(error: BadRequestError, texts: list[str], lost: Collection[int]) -> None:
    """Check that every other text has a vector, and every lost one is named with its reason."""
    assert error.indices == tuple(sorted(lost))
    assert set(error.refused) == set(lost)
    assert error.partial is not None
    missing = {i for i, vector in enumerate(error.partial.vectors) if vector is None}
    assert missing == set(lost)
    assert len(error.partial.vectors) == len(texts)


# The figures


def test_a_bad_text_and_an_undocumented_limit_together(entry_point: EntryPoint) -> None:
    texts = numbered(100)
    judged(entry_point, holds({"text 7"}, say(FILTER)), more_than(10, say("no")))
    error = refused(entry_point, texts)
    assert_kept_all_but(error, texts, {7})
    assert len(entry_point.fake_server.requests) <= 60


@pytest.mark.parametrize("batch_size", [64, 1], ids="{} to a request".format)
@pytest.mark.parametrize("count", [1, 3, 4, 8, 40])
def test_texts_that_are_too_long_alone_cost_only_themselves(
    entry_point: EntryPoint, count: int, batch_size: int
) -> None:
    texts = numbered(64)
    judged(entry_point, holds(texts[:count], say(LONG)), batch_size=batch_size)
    error = refused(entry_point, texts)
    assert_kept_all_but(error, texts, range(count))
    assert type(error) is RequestTooLargeError


def test_texts_that_are_too_long_before_good_ones_whose_vectors_come_later(
    package: Package, mode: Mode
) -> None:
    """Voyage takes 8,000 characters; its refusals are faster than its vectors."""

    def judge(request: Request) -> Fault:
        long = any(len(text) > 8000 for text in texts_of(request))
        return say(LONG) if long else Fault(delay=0.1)

    texts = ["x" * 9000, "y" * 9000, *(f"{i} ".ljust(900, "z") for i in range(18))]
    with serving(judge=judge) as (_, base_url):
        entry_point = connected(
            package, mode, base_url, model="voyage-law-2", dimensions=None, batch_size=None
        )
        error = refused(entry_point, texts)
        entry_point.client.close()
    assert_kept_all_but(error, texts, {0, 1})


def test_a_content_filter_that_gives_one_reason_for_all(entry_point: EntryPoint) -> None:
    texts = numbered(64)
    judged(entry_point, holds({"text 3", "text 30", "text 60"}, say(FILTER)))
    error = refused(entry_point, texts)
    assert_kept_all_but(error, texts, {3, 30, 60})
    assert set(error.refused.values()) == {FILTER}


@pytest.mark.parametrize("batch_size", [None, 1], ids=["together", "one to a request"])
def test_a_request_at_fault_is_blamed_though_the_server_repeats_the_texts(
    entry_point: EntryPoint, batch_size: int | None
) -> None:
    """FastAPI's `detail[].input` holds what was sent, so each refusal reads differently."""

    def refuse(texts: list[str]) -> Fault:
        detail = [{"loc": ["body", "dimensions"], "msg": "Extra inputs are not permitted"}]
        return Fault(422, body=json.dumps({"detail": [{**detail[0], "input": texts}]}).encode())

    texts = [f"{i} ".ljust(5000, "x") for i in range(100)]
    judged(entry_point, refuse, batch_size=batch_size)
    error = refused(entry_point, texts)
    assert len(entry_point.fake_server.requests) <= 40
    assert error.refused == {}
    assert error.status_code == 422
    assert "Extra inputs are not permitted" in error.message
    assert error.partial is not None
    assert error.partial.vectors == [None] * 100


# What the error says


def test_the_error_says_how_many_were_refused_and_shows_the_first(entry_point: EntryPoint) -> None:
    texts = numbered(20)
    judged(
        entry_point, holds({"text 4"}, say("rude", 422)), holds({"text 9", "text 12"}, say(LONG))
    )
    error = refused(entry_point, texts)
    assert str(error).startswith("3 of 20 texts were refused (at 4, 9, 12; ")
    assert "text 4 of 20, 'text 4'" in str(error)
    assert (type(error), error.status_code, error.message) == (BadRequestError, 422, "rude")
    assert dict(error.refused) == {4: "rude", 9: LONG, 12: LONG}


def test_a_refused_text_is_named_at_each_of_its_positions(entry_point: EntryPoint) -> None:
    texts = ["a", "bad", "b", "bad", "a"]
    judged(entry_point, holds({"bad"}, say(FILTER)))
    error = refused(entry_point, texts)
    assert_kept_all_but(error, texts, {1, 3})


@pytest.mark.parametrize("status", [406, 424, 451])
def test_a_text_that_is_refused_by_another_status_costs_only_itself(
    entry_point: EntryPoint, status: int
) -> None:
    """Firewalls, servers of models and moderation have statuses of their own for a text."""
    texts = numbered(40)
    judged(entry_point, holds([texts[7], texts[31]], say("refused", status)), batch_size=10)
    error = refused(entry_point, texts)
    assert (error.status_code, error.indices) == (status, (7, 31))
    assert_kept_all_but(error, texts, {7, 31})


# Size, whatever it is said with


@pytest.mark.parametrize(
    "fault",
    [
        say("input (992 tokens) is too large to process", 500),
        say("Request too large for m on tokens per min (TPM): Limit 400, Requested 1040", 429),
        say("", 413),
        say("batch size is invalid, it should not be larger than 10.", 422),
        say("input\u6570\u7ec4\u6700\u5927\u4e0d\u5f97\u8d85\u8fc764\u6761"),
    ],
    ids=["500", "429", "413", "422", "Chinese"],
)
def test_a_batch_that_is_too_large_is_cut_whatever_the_server_says_it_with(
    entry_point: EntryPoint, clock: Clock, fault: Fault
) -> None:
    judged(entry_point, more_than(64, fault))
    assert len(entry_point.documents(numbered(100))) == 100
    assert len(entry_point.fake_server.requests) <= 5
    assert clock.waits == []


@pytest.mark.parametrize("status", [429, 500])
def test_one_text_that_is_too_large_is_named_with_the_servers_status_after_one_request(
    entry_point: EntryPoint, clock: Clock, status: int
) -> None:
    said = {
        429: "Request too large for m on tokens per min (TPM): Limit 400, Requested 1040",
        500: "input (992 tokens) is too large to process",
    }[status]
    judged(entry_point, lambda texts: say(said, status))
    error = refused(entry_point, ["a"])
    assert type(error) is RequestTooLargeError
    assert (error.status_code, error.indices) == (status, (0,))
    assert len(entry_point.fake_server.requests) == 1


@pytest.mark.parametrize(
    ("message", "status", "kind"),
    [
        ("Rate limit reached for m on tokens: Limit 400, Used 300, Requested 200", 429, None),
        ("The server's limit of concurrent requests is exceeded", 503, InternalServerError),
    ],
)
def test_limits_that_are_not_of_this_requests_size_are_waited_for_and_cut_nothing(
    entry_point: EntryPoint,
    clock: Clock,
    message: str,
    status: int,
    kind: type[Exception] | None,
) -> None:
    judged(entry_point, lambda texts: say(message, status), max_retries=2)
    with pytest.raises(kind or RateLimitError):
        entry_point.documents(numbered(4))
    assert [len(sent) for sent in entry_point.fake_server.inputs] == [4, 4, 4]
    assert len(clock.waits) == 2


# Timeouts


def slow_above(entry_point: EntryPoint, most: int) -> None:
    """Answer requests of more texts too late."""
    answer = entry_point.fake_server.answer

    def reply(request: Request) -> Reply:
        if len(texts_of(request)) > most:
            raise httpx.ReadTimeout("slow")
        return answer(request)

    entry_point.fake_server.answer = reply


def test_a_batch_that_timed_out_twice_is_never_sent_a_third_time_at_that_size(
    entry_point: EntryPoint, clock: Clock
) -> None:
    slow_above(entry_point, 16)
    entry_point.make(OPENAI, dimensions=4)
    assert len(entry_point.documents(numbered(64))) == 64
    sizes = [len(sent) for sent in entry_point.fake_server.inputs]
    assert sizes[:2] == [64, 64]
    assert sizes.count(64) == 2
    entry_point.fake_server.requests.clear()
    assert len(entry_point.documents(numbered(16))) == 16
    assert [len(sent) for sent in entry_point.fake_server.inputs] == [16]


def test_without_retries_the_first_timeout_raises(entry_point: EntryPoint) -> None:
    slow_above(entry_point, 16)
    entry_point.make(OPENAI, max_retries=0)
    with pytest.raises(APITimeoutError):
        entry_point.documents(numbered(64))
    assert len(entry_point.fake_server.requests) == 1


# What is learned


def test_one_odd_refusal_does_not_halve_batches_for_the_life_of_a_client(
    entry_point: EntryPoint,
) -> None:
    odd = threading.Event()

    def once(texts: list[str]) -> Fault | None:
        if odd.is_set():
            return None
        odd.set()
        return say("the batch is too large")

    judged(entry_point, once)
    texts = numbered(64)
    for _ in range(20):
        assert len(entry_point.documents(texts)) == 64
    assert [len(sent) for sent in entry_point.fake_server.inputs][-1] == 64


def test_a_text_at_fault_does_not_unlearn_a_limit(entry_point: EntryPoint) -> None:
    limit = more_than(10, say("the batch is too large"))
    judged(entry_point, holds({"text 1000"}, say(LONG)), limit)
    entry_point.documents(numbered(40))
    learned = max(len(sent) for sent in entry_point.fake_server.inputs[3:])
    assert refused(entry_point, ["text 1000", *numbered(4)]).indices == (0,)
    entry_point.fake_server.requests.clear()
    entry_point.documents(numbered(3 * learned))
    assert [len(sent) for sent in entry_point.fake_server.inputs] == [learned] * 3


@pytest.mark.parametrize("bad", [2, 4, 12])
def test_bad_texts_after_a_success_do_not_end_a_call(entry_point: EntryPoint, bad: int) -> None:
    texts = numbered(4 + bad)
    judged(entry_point, holds(texts[4:], say(FILTER)), batch_size=1, max_concurrency=1)
    error = refused(entry_point, texts)
    assert_kept_all_but(error, texts, range(4, 4 + bad))


def test_a_text_at_which_the_server_fails_is_named_and_all_others_are_embedded(
    package: Package, mode: Mode
) -> None:
    """It is never refused: each request that carries it gets a 500."""

    def judge(request: Request) -> Fault | None:
        return Fault(500, delay=0.05) if "text 7" in texts_of(request) else None

    with serving(judge=judge) as (_, base_url):
        entry_point = connected(
            package, mode, base_url, batch_size=4, max_concurrency=3, max_retries=1
        )
        error = refused(entry_point, numbered(12))
        entry_point.client.close()
    assert "text 7 of 12" in str(error)
    assert "others got through meanwhile" in str(error)
    assert (error.status_code, error.indices) == (500, (7,))
    assert list(error.refused) == [7]
    assert error.partial is not None
    assert [i for i, vector in enumerate(error.partial.vectors) if vector is None] == [7]
