"""What becomes of rows that get no vector."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    BadRequestError,
    InvalidInputError,
    RateLimitError,
    ReplyError,
    emulator,
)
from aimlapi_embeddings.emulator import Fault, Request, faults
from tests.support.batches import KINDS, TEXTS, expected, inputs, pl, step, table, vectors_of

MIXED = ["red fox", None, "blue sea", "", "grey wolf"]
BAD = [False, True, False, True, False]


def refusing(server: emulator.Emulator, *texts: str) -> None:
    """Let a server refuse each request that holds one of these texts."""

    def judge(request: Request) -> Fault | None:
        found = set(texts) & set(json.loads(request.body)["input"])
        body = json.dumps({"error": {"message": f"no {min(found)} please"}}) if found else ""
        return Fault(status=400, body=body.encode()) if found else None

    server.judge = judge


def reasons_of(result: Any) -> list[Any]:
    column = result["error"] if not isinstance(result, pa.RecordBatch) else result.column("error")
    return [
        reason if isinstance(reason, str) else None
        for reason in (column.to_pylist() if hasattr(column, "to_pylist") else list(column))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_keep_gives_rows_without_text_no_vector_and_a_reason(
    server: emulator.Emulator, kind: str
) -> None:
    with step(on_error="keep") as embed:
        result = embed(KINDS[kind](table(MIXED)))
    np.testing.assert_array_equal(vectors_of(result), expected(MIXED))
    assert reasons_of(result) == [
        None,
        "InvalidInputError: the text is null",
        None,
        "InvalidInputError: the text is empty",
        None,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_raise_names_the_rows_without_text_before_anything_is_sent(
    server: emulator.Emulator, kind: str
) -> None:
    with step() as embed, pytest.raises(InvalidInputError) as caught:
        embed(KINDS[kind](table(MIXED)))
    assert caught.value.indices == (1, 3)
    assert "2 of 5 rows" in str(caught.value)
    assert "row 1 is null; row 3 is empty" in str(caught.value)
    assert caught.value.partial is not None
    assert len(caught.value.partial) == 5
    assert not server.requests


def test_keep_gives_refused_texts_a_reason_of_the_server(server: emulator.Emulator) -> None:
    refusing(server, "blue sea")
    texts = ["red fox", None, "blue sea", "grey wolf"]
    with step(on_error="keep") as embed:
        result = embed(table(texts))
    assert reasons_of(result)[2] == "BadRequestError: 400 no blue sea please"
    server.judge = None
    np.testing.assert_array_equal(
        vectors_of(result), expected(["red fox", None, None, "grey wolf"])
    )


def test_raise_names_refused_rows_and_keeps_what_was_finished(server: emulator.Emulator) -> None:
    refusing(server, "blue sea")
    with step() as embed, pytest.raises(BadRequestError) as caught:
        embed(table())
    assert caught.value.indices == (1,)
    assert caught.value.partial is not None
    assert caught.value.partial.mask.tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=429), "RateLimitError: 429 "),
        (Fault(status=503), "InternalServerError: 503 "),
        (Fault(drop="before_headers"), "APIConnectionError: "),
    ],
)
def test_keep_goes_on_after_a_failure_of_the_service_that_passes(
    server: emulator.Emulator, fault: Fault, reason: str
) -> None:
    options = {"batch_size": 2, "max_concurrency": 1, "max_retries": 0}
    with step(on_error="keep", **options) as embed:
        sent = []

        def judge(request: Request) -> Fault | None:
            sent.append(request)
            return fault if len(sent) > 1 else None

        server.judge = judge
        result = embed(table(["a", "b", "c", "d", "e"]))
        server.judge = None
        found = expected(["a", "b", None, None, None])
        np.testing.assert_array_equal(vectors_of(result), found)
        assert [bool(why) for why in reasons_of(result)] == [False, False, True, True, True]
        assert all(why.startswith(reason) for why in reasons_of(result)[2:])


def test_keep_gives_texts_that_are_too_long_a_reason(server: emulator.Emulator) -> None:
    options = {"model": "voyage-2", "dimensions": None, "too_long": "error"}
    texts = ["red fox", None, "\u6f22" * 7_000, "blue sea"]
    with step(on_error="keep", **options) as embed:
        result = embed(pa.table({"text": texts}))
    assert inputs(server) == [["red fox", "blue sea"]]
    assert result["vector"].is_null().to_pylist() == [False, True, True, False]
    assert reasons_of(result)[2].startswith("InvalidInputError: the text has about ")


@pytest.mark.parametrize("limit", [{"max_tokens": 2}, {"max_usd": 1e-6}])
def test_keep_goes_on_when_the_budget_of_the_worker_is_reached(
    server: emulator.Emulator, limit: dict[str, Any]
) -> None:
    with step(on_error="keep", batch_size=1, max_concurrency=1, **limit) as embed:
        result = embed(table(["one", "two", "three", "four"]))
    reasons = reasons_of(result)
    assert reasons[0] is None
    ((option, value),) = limit.items()
    short = f"BudgetExceededError: not sent, {option}={value} leaves no room for it"
    assert set(reasons) == {None, short}
    assert reasons[-1] == short
    assert np.isfinite(vectors_of(result)[0]).all()
    assert np.isnan(vectors_of(result)[-1]).all()
    assert len(server.requests) < 4


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=401),
        Fault(status=403),
        Fault(status=404),
        Fault(reshape=faults.one_short),
        Fault(reshape=faults.with_nan),
    ],
)
def test_keep_raises_what_every_row_would_meet(server: emulator.Emulator, fault: Fault) -> None:
    server.judge = lambda request: fault
    with step(on_error="keep") as embed, pytest.raises(AIMLAPIError):
        embed(table())


def test_keep_raises_where_the_request_is_at_fault(server: emulator.Emulator) -> None:
    server.judge = lambda request: Fault(status=400)
    with step(on_error="keep") as embed, pytest.raises(BadRequestError) as caught:
        embed(table(["a", "b", "c", "d", "e", "f"]))
    assert not caught.value.refused


def test_keep_raises_where_repeating_cannot_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMLAPI_API_KEY", "any")
    with (
        step(on_error="keep", base_url="https://no-such-host.invalid") as embed,
        pytest.raises(APIConnectionError) as caught,
    ):
        embed(table(["a"]))
    assert caught.value.permanent


def test_a_second_pass_sends_only_what_is_missing(server: emulator.Emulator) -> None:
    refusing(server, "blue sea")
    with step(on_error="keep") as embed:
        first = embed(table())
        before = len(server.requests)
        server.judge = None
        second = embed(first)
        assert inputs(server)[before:] == [["blue sea"]]
        assert embed(second).equals(second)
        assert len(server.requests) == before + 1
    np.testing.assert_array_equal(vectors_of(second), expected(TEXTS))
    assert reasons_of(second) == [None] * len(TEXTS)
    assert second.schema == first.schema


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_pass_works_on_each_kind(server: emulator.Emulator, kind: str) -> None:
    with step(on_error="keep") as embed:
        first = embed(KINDS[kind](table(MIXED)))
        texts = ["is not read", "new text", "nor this", "other text", "nor that"]
        if kind == "pandas" or kind == "pandas with Arrow":
            repaired = first.assign(text=texts)
        elif kind == "polars":
            repaired = first.with_columns(pl.Series("text", texts))
        elif isinstance(first, dict):
            repaired = {**first, "text": texts}
        else:
            repaired = first.set_column(1, "text", pa.array(texts))
        before = len(server.requests)
        second = embed(repaired)
        assert [t for batch in inputs(server)[before:] for t in batch] == ["new text", "other text"]
    right = ["red fox", "new text", "blue sea", "other text", "grey wolf"]
    np.testing.assert_array_equal(vectors_of(second), expected(right))
    assert reasons_of(second) == [None] * len(right)


def test_a_vector_that_is_there_does_not_need_its_text(server: emulator.Emulator) -> None:
    with step() as embed:
        first = embed(table(["red fox", "blue sea"]))
        lost = first.set_column(1, "text", pa.array([None, "blue sea"], pa.string()))
        assert embed(lost)["vector"].equals(first["vector"])


def test_without_keep_existing_all_rows_are_sent(server: emulator.Emulator) -> None:
    with step(keep_existing=False) as embed:
        first = embed(table())
        changed = first.set_column(1, "text", pa.array(TEXTS[::-1]))
        np.testing.assert_array_equal(vectors_of(embed(changed)), expected(TEXTS[::-1]))


def test_errors_of_a_batch_with_unsendable_rows_say_what_positions_count(
    server: emulator.Emulator,
) -> None:
    with step(max_retries=0) as embed:
        first = embed(table(["red fox"]))
        server.judge = lambda request: Fault(status=429)
        lost = first.set_column(1, "text", pa.array([None], pa.string()))
        column = pa.array([None], lost.schema.field("vector").type)
        new = table(["new"], vector=column)
        with pytest.raises(RateLimitError) as caught:
            embed(pa.concat_tables([lost, new]))
    assert caught.value.__notes__ == ["Positions count the 1 rows that have a text."]


def test_vectors_of_another_size_than_announced_are_refused(server: emulator.Emulator) -> None:
    server.strict = False
    options = {"model": "new-model", "family": "voyage", "dimensions": None, "size": 3}
    with step(**options) as embed, pytest.raises(ReplyError, match="size=3 was announced"):
        embed(table())
