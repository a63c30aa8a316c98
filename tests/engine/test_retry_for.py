"""`retry_for`: jobs that go on when a server is slow, or down, for longer than retries reach."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_embeddings import (
    APIConnectionError,
    EmbeddingsClient,
    InternalServerError,
    RateLimitError,
    emulator,
)
from tests.support.entry_points import OPENAI, Clock, EntryPoint
from tests.support.simulated_run import CallPlan, ClientPlan, Outcome, Run, RunPlan
from tests.support.simulated_server import Rate, ServerPlan


def test_a_job_goes_on_after_an_outage_that_would_end_it_with_max_retries(
    entry_point: EntryPoint, clock: Clock
) -> None:
    def answer(request: emulator.Request) -> emulator.Reply:
        if clock.now < 1_000 + 1_800:  # half an hour
            return emulator.Emulator().reply(request, emulator.Fault(503))
        return emulator.answer(request)

    entry_point.fake_server.answer = answer
    entry_point.make(OPENAI, dimensions=4, retry_for=3600.0)
    assert len(entry_point.documents(["a"])) == 1
    clock.now = 1_000
    with pytest.raises(InternalServerError):
        entry_point.make(OPENAI, dimensions=4).documents(["a"])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (emulator.Fault(503), InternalServerError),
        (emulator.Fault(429), RateLimitError),
        (ConnectionResetError("by peer"), APIConnectionError),
    ],
    ids=["503", "429", "connection"],
)
def test_the_error_names_the_option_that_ended_the_repeats(
    entry_point: EntryPoint, clock: Clock, fault: Any, error: type[Exception]
) -> None:
    entry_point.fake_server.will(*[fault] * 100)
    entry_point.make(OPENAI, retry_for=20)
    with pytest.raises(error, match="retry_for=20 is used up"):
        entry_point.documents(["a"])
    assert clock.now <= 1_000 + 20 + 1


SLOW = ServerPlan(rate=Rate(0.5, 1))
"""One request in two seconds, and no hint when to come again."""


def outcome_of(seed: int, retry_for: float) -> Outcome:
    """Make a call of 40 requests, 8 side by side, against the slow server."""
    plan = RunPlan(SLOW, ClientPlan(batch_size=1, max_concurrency=8), ())
    run = Run(plan)
    kind: Any = type("Client", (EmbeddingsClient,), {"_clock": run.clock})
    run.client = kind(
        model=OPENAI,
        api_key="key",
        base_url="http://127.0.0.1:1",
        dimensions=4,
        encoding_format="float",
        batch_size=1,
        max_concurrency=8,
        max_retries=3,
        retry_for=retry_for,
    )
    outcome = Outcome.of(CallPlan(40), f"{seed}:")
    run.together([outcome])
    return outcome


@pytest.mark.parametrize("seed", range(5))
def test_a_job_is_not_lost_on_a_server_that_grants_one_request_in_two_seconds(seed: int) -> None:
    """Of 60 such jobs with three retries and no time, 44 were lost."""
    outcome = outcome_of(seed, 600.0)
    assert outcome.error is None
    assert outcome.result is not None
    assert len(outcome.result) == 40
