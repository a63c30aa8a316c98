"""Budgets: what a request may cost, what it counts for, and how a call ends that may not go on."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import pickle
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    APITimeoutError,
    BudgetExceededError,
    ConfigurationError,
    EmbeddingsClient,
    ReplyError,
    Usage,
    emulator,
)
from aimlapi_embeddings._engine.budget import Budget, Limits
from aimlapi_embeddings._engine.steps import Send
from aimlapi_embeddings._protocol.attempt import IdleConnectionClosed
from aimlapi_embeddings._types import Reply
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, Mode, Package
from tests.support.flows import Rig, bad, good

# By our estimate a text of n bytes has n // 3 + 1 tokens.
TEXTS = [f"{i} wordy pieces of a manual." for i in range(8)]
EACH = 10
CREDIT = 5e-7  # US dollars: what each of these texts costs, since credits are whole


def room(budget: Budget) -> int:
    """How many tokens fit now."""
    with pytest.raises(BudgetExceededError) as caught:
        budget.reserve(10**9)
    error = caught.value
    return int(error.limit - error.spent - error.in_flight)


# One request


def test_a_request_leaves_while_spent_in_flight_and_its_own_estimate_fit() -> None:
    budget = Budget(Limits(max_tokens=100))
    with budget.reserve(60) as first, budget.reserve(40):
        assert room(budget) == 0
        with pytest.raises(BudgetExceededError):
            budget.reserve(1)
        first.charge(Usage(total_tokens=50))
        assert room(budget) == 10
    assert room(budget) == 50, "the second was never charged"


@pytest.mark.parametrize(
    ("reported", "tokens", "usd"),
    [
        (Usage(total_tokens=7, usd_spent=3.0), 7, 3.0),
        (Usage(total_tokens=7), 7, 0.7),
        (Usage(usd_spent=3.0), 10, 3.0),
        (Usage(), 10, 1.0),
        (None, 10, 1.0),
    ],
    ids=["both told", "tokens told", "dollars told", "neither told", "no reply"],
)
def test_a_request_costs_what_its_reply_reports_else_tokens_at_the_price(
    reported: Usage | None, tokens: int, usd: float
) -> None:
    price = 100_000.0  # US dollars for a million tokens
    budget = Budget(Limits(4.0, 100, price))
    with budget.reserve(10) as reserved:
        reserved.charge(reported)
    for option, most in (("max_tokens", 100 - tokens), ("max_usd", 4.0 - usd)):
        by = Budget(
            Limits(
                4.0 if option == "max_usd" else math.inf,
                100 if option == "max_tokens" else math.inf,
                price,
            ),
            budget,
        )
        with pytest.raises(BudgetExceededError) as caught:
            by.reserve(10**9)
        assert caught.value.option == option
        assert caught.value.limit - caught.value.spent == pytest.approx(most)


@pytest.mark.parametrize(
    ("price", "tokens", "credits"),
    [(0.026, 5, 1), (0.169, 5, 2), (0.13, 5, 2), (0.156, 6, 2), (0.0325, 11, 1), (0.091, 4, 1)],
)
def test_a_request_costs_whole_credits_as_in_the_published_replies(
    price: float, tokens: int, credits: int
) -> None:
    limits = Limits(usd_per_million_tokens=price, credits_per_usd=2_000_000)
    assert limits.price(tokens) == credits / 2_000_000
    assert limits.price(0) == 0.0


def test_whole_credits_are_not_rounded_up_by_an_error_of_floats() -> None:
    assert 3_075 * 0.02 / 1_000_000 * 2_000_000 > 123, "floats make it a little more"
    limits = Limits(usd_per_million_tokens=0.02, credits_per_usd=2_000_000)
    assert limits.price(3_075) == 123 / 2_000_000


def test_what_is_charged_once_is_not_charged_again() -> None:
    budget = Budget(Limits(max_tokens=100))
    with budget.reserve(10) as reserved:
        reserved.charge(Usage(total_tokens=20))
        reserved.charge()
    assert room(budget) == 80


def test_the_sum_of_many_parts_of_the_limit_fits_exactly() -> None:
    """Else the estimate of a job would be no usable limit for it."""
    limits = Limits(max_usd=math.fsum([3 * 0.1 / 1e6] * 1000), usd_per_million_tokens=0.1)
    budget = Budget(limits)
    for _ in range(1000):
        with budget.reserve(3) as reserved:
            reserved.charge()
    with pytest.raises(BudgetExceededError):
        budget.reserve(1)


def test_the_message_tells_no_rests_of_sums_of_fractions() -> None:
    budget = Budget(Limits(max_usd=1e-5, usd_per_million_tokens=0.1))
    for tokens in (7, 11, 13):
        with budget.reserve(tokens) as first, budget.reserve(tokens + 1) as second:
            second.charge()
            first.charge()
    with pytest.raises(BudgetExceededError) as caught:
        budget.reserve(100)
    assert "0.0000065 US dollars are spent, 0 are the estimate" in str(caught.value)
    assert (caught.value.spent, caught.value.in_flight) == (6.5e-6, 0)


@given(
    limit=st.integers(1, 500),
    requests=st.lists(
        st.tuples(st.integers(1, 100), st.floats(0, 1), st.sampled_from(["told", "lost", "free"])),
        max_size=40,
    ),
)
def test_no_limit_is_exceeded_while_replies_tell_no_more_than_was_estimated(
    limit: int, requests: list[tuple[int, float, str]]
) -> None:
    budget, open_now, spent = Budget(Limits(max_tokens=limit)), [], 0
    for tokens, share, end in requests:
        with suppress(BudgetExceededError):
            open_now.append((budget.reserve(tokens), tokens, share, end))
        if len(open_now) > 3:
            reserved, estimate, part, how = open_now.pop(0)
            with reserved:
                actual = max(1, int(estimate * part))
                if how == "told":
                    reserved.charge(Usage(total_tokens=actual))
                elif how == "lost":
                    reserved.charge()
            spent += {"told": actual, "lost": estimate, "free": 0}[how]
        assert spent + sum(each[1] for each in open_now) <= limit


def test_a_budget_that_goes_on_for_another_counts_both() -> None:
    before = Budget(Limits(max_tokens=100))
    with before.reserve(10) as reserved:
        after = Budget(Limits(max_tokens=50), before)
        assert room(after) == 40
        reserved.charge(Usage(total_tokens=30))
    assert room(after) == 20
    assert room(before) == 70


def test_the_error_has_its_figures_and_pickles() -> None:
    budget = Budget(Limits(max_tokens=100))
    with budget.reserve(60) as reserved:
        reserved.charge()
    with budget.reserve(30), pytest.raises(BudgetExceededError) as caught:
        budget.reserve(20)
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(error, AIMLAPIError)
        assert (error.option, error.limit) == ("max_tokens", 100)
        assert (error.spent, error.in_flight, error.needed) == (60, 30, 20)
        for figure in ("max_tokens=100", "60 tokens", "30 are", "20 would"):
            assert figure in str(error)


# The flow of a request


def spent_after(*replies: Reply | Exception, max_retries: int = 2) -> int:
    """Tokens that count as spent when one text of 10 estimated tokens met these replies."""
    rig = Rig(TEXTS[:1], limits=Limits(max_tokens=10**6), max_retries=max_retries)
    script = iter(replies)
    with suppress(AIMLAPIError):
        rig.run(lambda numbers: next(script, good(numbers)))
    with pytest.raises(BudgetExceededError) as caught:
        rig.runtime.budget.reserve(10**7)
    assert caught.value.in_flight == 0
    return int(caught.value.spent)


def lost(*, sent: bool, kind: type[APIConnectionError] = APIConnectionError) -> APIConnectionError:
    error = kind("lost")
    error.sent = sent
    return error


@pytest.mark.parametrize(
    ("replies", "spent"),
    [
        ([good([0], usage={"total_tokens": 7})], 7),
        ([good([0])], EACH),
        ([bad(429), good([0])], EACH),
        ([bad(500), bad(503), good([0])], EACH),
        ([bad(400)], 0),
        ([bad(401)], 0),
        ([lost(sent=True), good([0])], 2 * EACH),
        ([lost(sent=True, kind=APITimeoutError), good([0])], 2 * EACH),
        ([lost(sent=False), good([0])], EACH),
        ([lost(sent=True, kind=IdleConnectionClosed), good([0])], EACH),
        ([ReplyError("cannot be decompressed")], EACH),
        ([good([0, 1])], EACH),
    ],
    ids=[
        "told",
        "not told",
        "429",
        "5xx",
        "400",
        "401",
        "lost",
        "timeout",
        "never sent",
        "idle connection closed",
        "unreadable",
        "short",
    ],
)
def test_what_each_outcome_counts_for(replies: list[Any], spent: int) -> None:
    assert spent_after(*replies) == spent


@pytest.mark.parametrize(("sent", "spent"), [(True, EACH), (False, 0)])
def test_an_interrupted_request_counts_if_it_was_sent(sent: bool, spent: int) -> None:
    rig = Rig(TEXTS[:1], limits=Limits(max_tokens=100))
    flow = rig.flow()
    step = next(flow)
    assert isinstance(step, Send)
    step.sent = sent
    flow.close()
    assert room(rig.runtime.budget) == 100 - spent


def test_a_request_that_is_dropped_in_flight_counts_and_frees_its_reservation() -> None:
    rig = Rig(TEXTS[:1], limits=Limits(max_tokens=100))
    flow = rig.flow()
    next(flow)
    del flow
    gc.collect()
    assert room(rig.runtime.budget) == 90


def test_a_request_that_gives_up_its_wait_for_leave_counts_for_nothing() -> None:
    rig = Rig(TEXTS[:1], limits=Limits(max_tokens=100))
    rig.pacer.wait_for(10.0)
    flow = rig.flow()
    next(flow)
    assert room(rig.runtime.budget) == 90
    flow.close()
    assert room(rig.runtime.budget) == 100


def test_a_repeat_that_does_not_fit_any_more_is_not_sent() -> None:
    rig = Rig(TEXTS[:1], limits=Limits(max_tokens=15))
    rig.run(lambda numbers: lost(sent=True))
    assert rig.sent == [[0]]
    assert isinstance(rig.call.work.stopped, BudgetExceededError)


# Calls

ONE_EACH: dict[str, Any] = {"batch_size": 1, "max_concurrency": 1}


def tokens_of(entry_point: EntryPoint, texts: Sequence[str]) -> int:
    """What the server counts."""
    before = entry_point.client.usage.total_tokens
    entry_point.documents(texts)
    return entry_point.client.usage.total_tokens - before


def test_a_call_beyond_max_tokens_keeps_what_was_paid_for(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, max_tokens=3 * EACH, **ONE_EACH)
    entry_point.fake_server.answer = untold
    with pytest.raises(BudgetExceededError, match=r"Raise max_tokens") as caught:
        entry_point.documents(TEXTS)
    assert len(entry_point.fake_server.requests) == 3
    assert caught.value.partial is not None
    assert [vector is not None for vector in caught.value.partial.vectors] == [True] * 3 + [
        False
    ] * 5
    assert caught.value.spent == 3 * EACH


def test_a_call_beyond_max_usd_keeps_what_was_paid_for(entry_point: EntryPoint) -> None:
    limit = 3.5 * CREDIT
    entry_point.make(OPENAI, dimensions=4, max_usd=limit, **ONE_EACH)
    entry_point.fake_server.answer = untold
    with pytest.raises(BudgetExceededError, match=r"max_usd=") as caught:
        entry_point.documents(TEXTS)
    assert len(entry_point.fake_server.requests) == 3
    assert (caught.value.option, caught.value.limit) == ("max_usd", limit)
    assert caught.value.needed == pytest.approx(CREDIT)


def untold(request: emulator.Request) -> emulator.Reply:
    """Answer without any word on the cost."""
    reply = emulator.answer(request)
    body = json.loads(reply.body)
    body.pop("usage", None)
    body.pop("meta", None)
    headers = {name: value for name, value in reply.headers.items() if "-spent" not in name}
    headers.pop("x-aimlapi-credits-used", None)
    return reply._replace(headers=headers, body=json.dumps(body).encode())


def test_a_budget_holds_for_all_calls_of_a_client(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, max_tokens=3 * EACH)
    entry_point.fake_server.answer = untold
    for text in TEXTS[:3]:
        entry_point.query(text)
    with pytest.raises(BudgetExceededError) as caught:
        entry_point.query(TEXTS[3])
    assert len(entry_point.fake_server.requests) == 3
    assert caught.value.partial is not None
    assert list(caught.value.partial.vectors) == [None]


def test_what_replies_tell_makes_room_for_more(entry_point: EntryPoint) -> None:
    texts = [text * 10 for text in TEXTS]
    actual = tokens_of(entry_point.make(OPENAI, dimensions=4), texts[:1])
    estimated = entry_point.client.estimate(texts[:1]).tokens
    assert actual < estimated
    entry_point.make(OPENAI, dimensions=4, max_tokens=7 * actual + estimated, **ONE_EACH)
    assert len(entry_point.documents(texts)) == len(texts)


def test_the_estimate_of_a_job_is_a_limit_that_it_keeps(entry_point: EntryPoint) -> None:
    estimate = entry_point.make(OPENAI, **ONE_EACH).client.estimate(TEXTS)
    entry_point.make(OPENAI, max_usd=estimate.usd, max_tokens=estimate.tokens, **ONE_EACH)
    assert len(entry_point.documents(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize("package", ["langchain", "llama_index"])
def test_an_object_whose_options_change_goes_on_with_its_budget(
    package: Package, mode: Mode, fake_server: Any
) -> None:
    entry_point = EntryPoint(package, mode, fake_server)
    entry_point.make(OPENAI, dimensions=4, max_tokens=2 * EACH)
    fake_server.answer = untold
    entry_point.query(TEXTS[0])
    entry_point.embedder.max_retries = 1
    entry_point.query(TEXTS[1])
    with pytest.raises(BudgetExceededError):
        entry_point.query(TEXTS[2])
    entry_point.embedder.max_tokens = 3 * EACH
    entry_point.query(TEXTS[2])
    with pytest.raises(BudgetExceededError):
        entry_point.query(TEXTS[3])


def test_requests_in_flight_come_back_before_the_error(package: Package, mode: Mode) -> None:
    with serving(latency=0.1) as (server, base_url):
        entry_point = connected(
            package, mode, base_url, max_tokens=5 * EACH, batch_size=1, max_concurrency=8
        )
        with pytest.raises(BudgetExceededError) as caught:
            entry_point.documents(TEXTS)
        entry_point.client.close()
    assert len(server.requests) == 5
    assert caught.value.partial is not None
    assert sum(vector is not None for vector in caught.value.partial.vectors) == 5
    assert caught.value.partial.usage == entry_point.client.usage


def test_a_budget_without_room_for_anything_sends_nothing(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, max_tokens=1)
    with pytest.raises(BudgetExceededError, match=r"8 texts from 0 to 7|text 0 of 8"):
        entry_point.documents(TEXTS)
    assert entry_point.fake_server.requests == []


# Streams


def read(client: EmbeddingsClient, mode: Mode, **options: Any) -> tuple[list[Any], Exception]:
    """Read a stream of texts to its error."""
    found: list[Any] = []

    async def tasks() -> None:
        async for vector in client.aembed_iter(TEXTS, **options):
            found.append(vector)

    def go() -> None:
        if mode == "sync":
            for vector in client.embed_iter(TEXTS, **options):
                found.append(vector)
        else:
            asyncio.run(tasks())

    with pytest.raises(BudgetExceededError) as caught:
        go()
    return found, caught.value


@pytest.mark.timeout(30)
@pytest.mark.parametrize("max_concurrency", [1, 8])
def test_a_stream_yields_what_was_paid_for_before_its_budget_ends_it(
    mode: Mode, max_concurrency: int
) -> None:
    with serving(latency=0.05) as (server, base_url):
        client = connected(
            "core",
            mode,
            base_url,
            max_tokens=5 * EACH,
            batch_size=1,
            max_concurrency=max_concurrency,
        ).client
        found, error = read(client, mode)
        client.close()
    assert isinstance(error, BudgetExceededError)
    assert error.partial is not None
    kept = sum(vector is not None for vector in error.partial.vectors)
    assert len(found) + kept == len(server.requests) >= 5
    assert error.partial.usage == client.usage


def test_a_stream_whose_budget_has_no_room_sends_nothing(mode: Mode, fake_server: Any) -> None:
    client = EntryPoint("core", mode, fake_server).make(OPENAI, max_tokens=1).client
    found, error = read(client, mode, batches_of=3)
    assert (found, fake_server.requests) == ([], [])
    assert "max_tokens=1" in str(error)


# Options


def test_max_usd_for_a_model_without_a_price_names_max_tokens(entry_point: EntryPoint) -> None:
    with pytest.raises(ValueError, match=r"max_usd=1.* no price .*max_tokens"):
        entry_point.make("nugen-flash-embed", provider="nugen", max_usd=1)


def test_an_unknown_model_has_no_price_of_its_family() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens"):
        EmbeddingsClient(model="text-embedding-9", api_key=KEY, family="google", max_usd=1.0)


@pytest.mark.parametrize("option", ["max_usd", "max_tokens"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "much"])
def test_a_limit_that_is_no_amount_is_refused_by_name(
    entry_point: EntryPoint, option: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=option):
        entry_point.make(GOOGLE, **{option: value})
