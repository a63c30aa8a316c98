"""The tokens and cost of a reply, in every place and shape in which services state them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import Usage
from aimlapi_embeddings._protocol.response import parse_reply, read_usage
from aimlapi_embeddings._types import Reply

NONSENSE: list[Any] = [
    None, True, "", "many", "nan", "inf", "-1", -1, -0.5, [], {}, [5], 10**400,
    float("nan"), float("inf"),
]  # fmt: skip


def tokens(usage: Any) -> tuple[int, int]:
    read = read_usage(usage, None, {}, None)
    return read.prompt_tokens, read.total_tokens


def money(meta: Any = None, headers: Any = None, per_usd: int | None = None) -> tuple[int, float]:
    read = read_usage(None, meta, headers or {}, per_usd)
    return read.credits_used, read.usd_spent


@pytest.mark.parametrize(
    ("usage", "prompt_and_total"),
    [
        ({"prompt_tokens": 5, "total_tokens": 6}, (5, 6)),
        ({"prompt_tokens": None, "total_tokens": 6}, (6, 6)),
        ({"total_tokens": 6}, (6, 6)),
        ({"prompt_tokens": 5}, (5, 5)),
        ({"prompt_tokens": 0, "total_tokens": 6}, (0, 6)),
        ({"prompt_tokens": "5", "total_tokens": "6"}, (5, 6)),
        ({"prompt_tokens": 5.0, "total_tokens": 6.0}, (5, 6)),
        ({"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0, "details": None}, (4, 4)),
        (None, (0, 0)),
        ({}, (0, 0)),
        ([], (0, 0)),
        ("6", (0, 0)),
        (6, (0, 0)),
    ],
)
def test_tokens_are_read_in_every_known_shape(
    usage: Any, prompt_and_total: tuple[int, int]
) -> None:
    assert tokens(usage) == prompt_and_total


@pytest.mark.parametrize("value", NONSENSE)
def test_an_invalid_figure_counts_as_missing(value: Any) -> None:
    assert tokens({"prompt_tokens": 5, "total_tokens": value}) == (5, 5)
    assert tokens({"prompt_tokens": value}) == (0, 0)
    assert money({"usage": {"credits_used": value, "usd_spent": value}}) == (0, 0.0)


@pytest.mark.parametrize(
    ("meta", "headers", "credits_and_usd"),
    [
        ({"usage": {"credits_used": 2, "usd_spent": 0.000001}}, {}, (2, 0.000001)),
        ({"usage": {"credits_used": 2}}, {}, (2, 0.000001)),
        (None, {"x-aimlapi-credits-used": "4", "x-aimlapi-usd-spent": "0.000002000"}, (4, 2e-6)),
        (None, {"x-aimlapi-credits-used": "4"}, (4, 2e-6)),
        ({"usage": {"credits_used": 2}}, {"x-aimlapi-usd-spent": "0.5"}, (2, 0.5)),
        ({"usage": None}, {"x-aimlapi-credits-used": "many"}, (0, 0.0)),
        ({}, {}, (0, 0.0)),
        ([], {}, (0, 0.0)),
        ("meta", {}, (0, 0.0)),
        ({"usage": []}, {}, (0, 0.0)),
    ],
)
def test_the_cost_is_read_from_meta_else_from_the_headers(
    meta: Any, headers: dict[str, str], credits_and_usd: tuple[int, float]
) -> None:
    assert money(meta, headers, 2_000_000) == credits_and_usd


def test_dollars_stay_zero_where_credits_have_no_price() -> None:
    assert money({"usage": {"credits_used": 2}}) == (2, 0.0)


def test_the_usage_of_a_reply_does_not_count_the_request() -> None:
    body = (
        b'{"data":[{"embedding":[1.0]}],"usage":{"prompt_tokens":null,"total_tokens":6},'
        b'"meta":{"usage":{"credits_used":2}}}'
    )
    usage = parse_reply(Reply(200, {}, body), 1, credits_per_usd=2_000_000).usage
    assert usage == Usage(prompt_tokens=6, total_tokens=6, credits_used=2, usd_spent=1e-6)


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400)


@settings(max_examples=150)
@given(
    ANYTHING | st.dictionaries(st.sampled_from(["prompt_tokens", "total_tokens"]), ANYTHING),
    ANYTHING
    | st.fixed_dictionaries(
        {"usage": st.dictionaries(st.sampled_from(["credits_used", "usd_spent"]), ANYTHING)}
    ),
)
def test_any_cost_gives_a_usage_without_negative_figures(usage: Any, meta: Any) -> None:
    read = read_usage(usage, meta, {}, 2_000_000)
    figures = (read.prompt_tokens, read.total_tokens, read.credits_used, read.usd_spent)
    assert all(0 <= figure < float("inf") for figure in figures)
