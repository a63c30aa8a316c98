"""What a call will cost, before it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import Estimate, InvalidInputError, Usage
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer

TEXTS = ["a text", "another text", "a text", "the last"]


def estimate(entry_point: EntryPoint, texts: Any, **options: Any) -> Estimate:
    """Ask through the method of this package and mode."""
    embedder = entry_point.embedder
    ask = embedder.estimate if entry_point.mode == "sync" else embedder.aestimate
    found: Estimate = entry_point.wait(ask(texts, **options))
    return found


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"requests_per_minute": 6000}])
@pytest.mark.parametrize("texts", [TEXTS, [f"row {i}" for i in range(500)]], ids=len)
def test_an_estimate_has_the_number_of_requests_that_follow(
    entry_point: EntryPoint, options: dict[str, Any], texts: list[str]
) -> None:
    told = estimate(entry_point.make(OPENAI, dimensions=4, **options), texts)
    assert entry_point.fake_server.requests == []
    assert entry_point.client.usage == Usage()
    entry_point.documents(texts)
    assert told.texts == len(texts)
    assert told.to_send == len(set(texts))
    assert told.requests == len(entry_point.fake_server.requests)


@pytest.mark.parametrize("model", [OPENAI, GOOGLE])
def test_an_estimate_of_prose_errs_to_the_high_side(entry_point: EntryPoint, model: str) -> None:
    prose = [f"The ship {i} left the harbour before the fog had risen." for i in range(300)]
    told = estimate(entry_point.make(model), prose)
    entry_point.documents(prose)
    usage = entry_point.client.usage
    assert usage.total_tokens <= told.tokens <= 2 * usage.total_tokens
    assert told.usd is not None
    assert usage.usd_spent <= told.usd <= 2 * usage.usd_spent


def test_tokens_of_models_that_count_characters_are_characters(entry_point: EntryPoint) -> None:
    assert estimate(entry_point.make(GOOGLE), ["Laura is a DJ."]).tokens == len("Laura is a DJ.")
    entry_point.documents(["Laura is a DJ."])
    assert entry_point.client.usage.total_tokens == 11, "without the spaces"


def test_an_estimate_without_a_price_has_no_dollars(entry_point: EntryPoint) -> None:
    entry_point.make("nugen-flash-embed", provider="nugen")
    assert estimate(entry_point, TEXTS).usd is None
    assert estimate(entry_point, []).usd is None


def test_nothing_costs_nothing(entry_point: EntryPoint) -> None:
    told = estimate(entry_point.make(OPENAI), [])
    assert told == Estimate(texts=0, to_send=0, tokens=0, requests=0, usd=0.0)


def test_an_estimate_leaves_out_what_the_cache_holds(
    package: str, mode: Any, fake_server: FakeServer, tmp_path: Path
) -> None:
    entry_point = EntryPoint("core", mode, fake_server)
    entry_point.make(OPENAI, cache=tmp_path / "vectors.sqlite")
    assert estimate(entry_point, TEXTS).to_send == 3
    entry_point.documents(TEXTS[:1])
    told = estimate(entry_point, TEXTS)
    assert (told.texts, told.to_send, told.requests) == (4, 2, 1)
    entry_point.documents(TEXTS)
    assert estimate(entry_point, TEXTS) == Estimate(4, 0, 0, 0, 0.0)
    assert estimate(entry_point, TEXTS, role="query").to_send in (0, 3)


def test_an_estimate_takes_role_task_type_and_titles(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE, query_prefix="query: ")
    plain = estimate(entry_point, TEXTS)
    assert estimate(entry_point, TEXTS, titles=["x", None, "y", None]).requests == 3
    assert estimate(entry_point, TEXTS, role="query").tokens == plain.tokens + 3 * len("query: ")
    assert estimate(entry_point, TEXTS, task_type="CLUSTERING") == plain


@pytest.mark.parametrize("texts", ["a text", ["a", ""], [None]])
def test_bad_texts_are_refused_as_by_the_call(entry_point: EntryPoint, texts: Any) -> None:
    with pytest.raises(InvalidInputError):
        estimate(entry_point.make(OPENAI), texts)


def test_bad_options_are_refused_as_by_the_call(entry_point: EntryPoint) -> None:
    with pytest.raises(ValueError, match="task_type"):
        estimate(entry_point.make(OPENAI), TEXTS, task_type="CLUSTERING")
    with pytest.raises(ValueError, match="titles"):
        estimate(entry_point.make(GOOGLE), TEXTS, titles=["one"])
