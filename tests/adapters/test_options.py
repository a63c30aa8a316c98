"""What each option does, through the core and both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_embeddings import APITimeoutError, InternalServerError, RateLimitError, emulator
from tests.support.entry_points import (
    GOOGLE,
    KEY,
    OPENAI,
    Clock,
    EntryPoint,
    FakeServer,
    Mode,
    Package,
)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"dimensions": 8}, {"dimensions": 8}),
        ({"extra_body": {"auto_truncate": False}}, {"auto_truncate": False}),
        ({"too_long": "error"}, {"auto_truncate": False}),
        ({"task_type": "CLUSTERING"}, {"task_type": "CLUSTERING"}),
        ({"model": OPENAI, "encoding_format": "float"}, {"encoding_format": "float"}),
        ({"document_prefix": "passage: "}, {"input": ["passage: a"]}),
        ({"model": "text-embedding-005", "family": "google"}, {"task_type": "RETRIEVAL_DOCUMENT"}),
    ],
)
def test_an_option_sets_its_field_of_the_body(
    entry_point: EntryPoint, options: dict[str, Any], sent: dict[str, Any]
) -> None:
    fake_server = entry_point.fake_server
    fake_server.answer = lambda request: emulator.answer(request, strict=False)
    entry_point.make(**options).documents(["a"])
    assert {name: fake_server.bodies[0][name] for name in sent} == sent


def test_max_retries_and_max_retry_wait_bound_the_attempts(
    entry_point: EntryPoint, clock: Clock
) -> None:
    fake_server = entry_point.fake_server
    fake_server.will(*[emulator.Fault(500)] * 2, emulator.Fault(429, retry_after="9"))
    entry_point.make(max_retries=1, max_retry_wait=8)
    with pytest.raises(InternalServerError):
        entry_point.documents(["a"])
    with pytest.raises(RateLimitError):
        entry_point.documents(["a"])
    assert len(fake_server.requests) == 3
    assert len(clock.waits) == 1


@pytest.mark.timeout(10)
def test_timeout_bounds_the_wait_for_a_reply(package: Package, mode: Mode) -> None:
    entry_point = EntryPoint(package, mode, FakeServer())
    with emulator.running(emulator.Emulator(faults=[emulator.Fault(hang=True)])) as base_url:
        entry_point.make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, timeout=0.1, max_retries=0
        )
        with pytest.raises(APITimeoutError):
            entry_point.query("q")
        entry_point.client.close()
