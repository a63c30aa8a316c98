"""What the log holds: waits, retries, limits, requests; never a text or a key."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aimlapi_embeddings import emulator
from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.pacing import Pacer
from aimlapi_embeddings._engine.retries import Retries, RetryPolicy
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import KEY, OPENAI, Clock, EntryPoint, FakeServer
from tests.support.fault_rows import at_most

TEXT = "a text that nobody else may see"
ROOT = "aimlapi_embeddings"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG, ROOT)
    yield caplog
    for secret in (TEXT, KEY):
        assert secret not in caplog.text


def said(log: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno == level]


def test_each_request_is_logged_at_debug(
    entry_point: EntryPoint, log: pytest.LogCaptureFixture
) -> None:
    entry_point.make(OPENAI, batch_size=2).documents([TEXT, "b", "c"])
    requests = said(log, logging.DEBUG)
    assert len(requests) == 2
    for line in requests:
        assert line.startswith(f"request: model {OPENAI}, ")
        assert "status 200" in line
        assert "request id " in line
        assert "not told" not in line
    assert {r.name for r in log.records} == {"aimlapi_embeddings.engine"}
    assert said(log, logging.INFO) == said(log, logging.WARNING) == []


def test_a_short_retry_is_logged_at_info(
    entry_point: EntryPoint, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    entry_point.fake_server.will(Fault(503), Fault(429, retry_after="2"))
    entry_point.make(OPENAI).query(TEXT)
    retries = [line for line in said(log, logging.INFO) if "before a retry" in line]
    assert len(retries) == 2
    assert retries[0].startswith("503: waiting ")
    assert "(1 of 5 used); requests waiting: 1" in retries[0]
    assert retries[1].startswith("429: waiting 2.0 s before a retry")
    assert said(log, logging.WARNING) == []


def test_a_wait_of_more_than_five_seconds_is_a_warning(
    entry_point: EntryPoint, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    entry_point.fake_server.will(Fault(429, retry_after="30"))
    entry_point.make(OPENAI, batch_size=1, max_concurrency=1).documents([TEXT, "b", "c"])
    (warning,) = said(log, logging.WARNING)
    assert warning.startswith("429: waiting 30.0 s before a retry (")
    assert warning.endswith("requests waiting: 3")


@pytest.mark.parametrize(
    ("closed_for", "level"), [(0.0, logging.WARNING), (29.9, logging.INFO), (4.0, logging.WARNING)]
)
def test_requests_that_wait_together_share_one_warning(
    log: pytest.LogCaptureFixture, closed_for: float, level: int
) -> None:
    pacer = Pacer(None, Clock().monotonic, None)
    retries = Retries(RetryPolicy(5, 60.0), pacer, Clock().monotonic)
    report.wait(None, "429", retries, 30.0, closed_for, 2)
    assert [record.levelno for record in log.records] == [level]


def test_a_long_wait_for_the_own_rate_is_one_warning_for_all_that_wait(
    entry_point: EntryPoint, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    entry_point.make(OPENAI, batch_size=1, requests_per_minute=8).documents([TEXT, "b", "c"])
    warnings = said(log, logging.WARNING)
    assert len(warnings) == 2  # the second and the third request each left after a silence
    for warning in warnings:
        assert re.match(r"waiting [67]\.\d s before the next request, to keep to the req", warning)


def test_a_short_wait_for_the_own_rate_is_not_logged(
    entry_point: EntryPoint, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    texts = [TEXT, *"bcdef"]  # the last one waits for 15 s, but one leaves every 3 s
    entry_point.make(OPENAI, batch_size=1, requests_per_minute=20).documents(texts)
    assert said(log, logging.WARNING) == []


def test_the_pacer_tells_for_how_long_no_request_may_leave() -> None:
    clock = Clock()
    pacer = Pacer(None, clock.monotonic, None)
    assert pacer.closed_for == 0.0
    pacer.wait_for(30.0)
    assert pacer.closed_for == 30.0
    clock.now += 31.0
    assert pacer.closed_for == 0.0


def test_a_lowered_bound_is_logged_at_info(
    entry_point: EntryPoint, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    entry_point.fake_server.will(Fault(429))
    entry_point.make(OPENAI, batch_size=1, max_concurrency=2).documents([TEXT, "b", "c"])
    assert "429: at most 1 requests in flight from now on" in said(log, logging.INFO)


def test_a_learned_limit_is_logged_at_info(
    entry_point: EntryPoint, log: pytest.LogCaptureFixture
) -> None:
    judge = at_most(2)
    entry_point.fake_server.answer = lambda request: emulator.Emulator().reply(
        request, judge(request) or Fault()
    )
    entry_point.make(OPENAI, max_concurrency=1).documents([TEXT, "b", "c", "d"])
    assert any(
        line.startswith("learned limit: at most 2 texts") for line in said(log, logging.INFO)
    )


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("textembedding-gecko@003", "left the list of aimlapi on 2026-01-14"),
        ("text-embedding-of-tomorrow", "does not know for aimlapi"),
    ],
)
def test_the_first_request_for_a_model_that_may_not_be_served_is_a_warning(
    entry_point: EntryPoint, log: pytest.LogCaptureFixture, model: str, what: str
) -> None:
    with pytest.warns(UserWarning, match=model):
        entry_point.make(model, max_retries=0)
    entry_point.fake_server.answer = lambda request: emulator.Emulator().reply(request, Fault(503))
    for _ in range(2):
        with pytest.raises(Exception, match="503"):
            entry_point.query(TEXT)
    (warning,) = said(log, logging.WARNING)
    assert warning.startswith(f"first request for {model}, which ")
    assert what in warning


def test_a_known_model_and_one_with_a_family_of_the_users_are_no_news(
    entry_point: EntryPoint, log: pytest.LogCaptureFixture
) -> None:
    entry_point.fake_server.answer = lambda request: emulator.Emulator().reply(request, Fault(503))
    for options in ({"model": OPENAI}, {"model": "of-tomorrow", "family": "openai"}):
        entry_point.make(**options, max_retries=0)
        with pytest.raises(Exception, match="503"):
            entry_point.query(TEXT)
    assert said(log, logging.WARNING) == []


def test_nothing_is_printed_unless_the_user_asks_for_it(fake_server: FakeServer) -> None:
    code = (
        "import logging, httpx;"
        "from aimlapi_embeddings import EmbeddingsClient;"
        "from aimlapi_embeddings._log import CATALOG;"
        "CATALOG.warning('heard by nobody');"
        "assert not logging.getLogger('aimlapi_embeddings.engine').isEnabledFor(logging.DEBUG);"
        "assert isinstance(logging.getLogger('aimlapi_embeddings').handlers[0],"
        " logging.NullHandler)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""
