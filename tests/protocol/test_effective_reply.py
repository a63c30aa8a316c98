"""A good status whose body is an error counts as that error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import RateLimitError, ReplyError
from aimlapi_embeddings._protocol.error_body import effective_reply
from aimlapi_embeddings._types import Reply
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import OPENAI, Clock, EntryPoint

INSIDE: dict[str, tuple[int, Any]] = {
    "OpenRouter": (429, {"error": {"message": "no", "code": 429, "metadata": {"raw": "soon"}}}),
    "a code in text": (502, {"error": {"message": "no", "code": "502"}}),
    "a code with a fraction": (503, {"error": {"message": "no", "code": 503.0}}),
    "empty data": (503, {"data": [], "error": {"message": "no", "code": 503}}),
    "data null": (404, {"data": None, "error": {"message": "no", "code": 404}}),
    "a balance": (402, {"id": "x" * 900, "error": {"message": "no", "code": 402}}),
    "Google": (503, {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}),
    "Google in a list": (429, [{"error": {"message": "no", "status": "RESOURCE_EXHAUSTED"}}]),
    "the gateway": (429, {"message": "no", "path": "/v1/embeddings", "statusCode": "429"}),
    "problem": (500, {"title": "Internal Server Error", "status": 500, "detail": "no"}),
    "a name": (503, {"message": "no", "error": {"name": "ServiceUnavailableException",
                                                "message": "no"}}),
    "OpenAI": (429, {"error": {"message": "no", "type": "tokens", "code": "rate_limit_exceeded"}}),
    "OpenAI, overloaded": (503, {"error": {"message": "no", "type": "overloaded_error"}}),
    "DashScope": (429, {"code": "Throttling.RateQuota", "message": "no", "request_id": "r"}),
    "JSON in a message": (503, {"message": json.dumps({"error": {"message": "no", "code": 503}})}),
    "in an item": (503, {"data": [{"index": 0, "error": {"message": "no", "code": 503}}]}),
    "in errors": (502, {"errors": [{"status": "502", "title": "no"}]}),
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_an_error_inside_a_200_has_the_status_that_its_body_names(name: str) -> None:
    status, body = INSIDE[name]
    reply = Reply(200, {"x-request-id": "r"}, json.dumps(body).encode())
    assert effective_reply(reply) == reply._replace(status=status)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"embedding": [1.0], "index": 0}], "error": {"code": 503}},
        {"data": [], "model": "m"},
        {"data": [], "code": 0, "status": "ok"},
        {"error": {"message": "no", "code": 1302}},
        {"error": {"message": "no", "code": True, "type": None}},
        {"error": "no"},
        {"name": "internal-gateway", "status": "up"},
        {"status": 200},
        [],
        "down",
        None,
        503,
    ],
)
def test_a_reply_with_vectors_or_without_an_error_status_is_unchanged(body: Any) -> None:
    reply = Reply(200, {}, json.dumps(body).encode())
    assert effective_reply(reply) is reply


@pytest.mark.parametrize("status", [302, 400, 429, 500])
def test_an_error_status_is_kept_whatever_the_body_says(status: int) -> None:
    reply = Reply(status, {}, json.dumps({"error": {"code": 503, "message": "no"}}).encode())
    assert effective_reply(reply) is reply


@given(st.binary() | st.text().map(str.encode))
def test_no_body_raises(body: bytes) -> None:
    effective_reply(Reply(200, {}, body))


@pytest.mark.parametrize("code", [429, 502, 503])
def test_a_temporary_failure_inside_a_200_is_retried(
    entry_point: EntryPoint, clock: Clock, code: int
) -> None:
    body = json.dumps({"data": [], "error": {"message": "starting", "code": code}}).encode()
    entry_point.make(OPENAI, dimensions=4)
    entry_point.fake_server.will(Fault(body=body), None)
    assert len(entry_point.query("q")) == 4
    assert len(entry_point.fake_server.requests) == 2


def test_a_lasting_failure_inside_a_200_is_raised(entry_point: EntryPoint, clock: Clock) -> None:
    body = json.dumps({"error": {"message": "try later", "code": 429}}).encode()
    entry_point.make(OPENAI, max_retries=1)
    entry_point.fake_server.will(Fault(body=body), Fault(body=body))
    with pytest.raises(RateLimitError) as caught:
        entry_point.query("q")
    assert (caught.value.status_code, caught.value.message) == (429, "try later")


def test_an_error_without_a_status_inside_a_200_is_shown_and_not_retried(
    entry_point: EntryPoint,
) -> None:
    body = json.dumps({"data": None, "error": {"message": "no provider answered"}}).encode()
    entry_point.make(OPENAI)
    entry_point.fake_server.will(Fault(body=body))
    with pytest.raises(ReplyError, match="no provider answered"):
        entry_point.query("q")
    assert len(entry_point.fake_server.requests) == 1
