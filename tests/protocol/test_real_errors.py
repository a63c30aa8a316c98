"""Error replies of the real services, from probes, captures and the documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimlapi_embeddings import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from aimlapi_embeddings.emulator import Reply
from tests.support.entry_points import Clock, EntryPoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:of-tomorrow is not a model:UserWarning"),
]

UUID = "5b4f8c0e-8f5e-9b1e-8a2f-0d6c6f3a7b11"
TRACE = {"x-inference-id": "inf-1", "x-request-id": UUID}


def problem(status: int, title: str, message: str) -> dict[str, Any]:
    """The error body of the gateway in 2026."""
    return {
        "title": title,
        "status": status,
        "message": message,
        "instance": "/v1/embeddings",
        "requestId": UUID,
        "timestamp": "2026-08-30T18:23:01.734Z",
        "error": {"name": f"{title.replace(' ', '')}Exception", "message": message},
    }


def documented(status: int | str, message: str) -> dict[str, Any]:
    """The gateway's five fields; the status is a text on one page and a number on another."""
    return {
        "message": message,
        "path": "/v1/embeddings",
        "requestId": UUID,
        "statusCode": status,
        "timestamp": "2025-06-01T10:00:00.000Z",
    }


FUNDS = "You've run out of funds. Please top up your balance: https://aimlapi.com/app/billing"
KEYLESS = "This request requires a valid API key. You can create a new API key on the Billing page"
CLOUDFLARE = (
    "<!DOCTYPE html>\n<html><head><title>api.nugen.in | 502: Bad gateway</title></head>"
    "<body><h1>Bad gateway</h1><p>Cloudflare</p></body></html>"
)
PROBLEM = "application/problem+json; charset=utf-8"
# status, content type, body, error, message that must be found
ERRORS: dict[str, tuple[int, str, Any, type[APIStatusError], str]] = {
    "problem+json": (
        401,
        PROBLEM,
        problem(401, "Unauthorized", KEYLESS),
        AuthenticationError,
        KEYLESS,
    ),
    "out of funds": (
        403,
        PROBLEM,
        problem(403, "Forbidden", FUNDS),
        PermissionDeniedError,
        "out of funds",
    ),
    "five fields": (
        400,
        "application/json",
        documented("400", "Body validation error!\ninput: Required"),
        BadRequestError,
        "Body validation error! input: Required",
    ),
    "five fields with a number": (
        429,
        "application/json",
        documented(429, "Too many requests"),
        RateLimitError,
        "Too many requests",
    ),
    "a vendor's JSON inside the message": (
        400,
        PROBLEM,
        problem(400, "Bad Request", json.dumps({"error": {"message": "the vendor's message"}})),
        BadRequestError,
        "the vendor's message",
    ),
    "as OpenAI": (
        500,
        "application/json",
        {"error": {"message": "The server had an error", "type": "server_error"}},
        InternalServerError,
        "The server had an error",
    ),
    "a page of HTML": (
        502,
        "text/html; charset=UTF-8",
        CLOUDFLARE,
        InternalServerError,
        "api.nugen.in | 502: Bad gateway",
    ),
    "a detail": (
        403,
        "application/json",
        {"detail": "Could not validate credentials. Reason: API key not found"},
        PermissionDeniedError,
        "Could not validate credentials. Reason: API key not found",
    ),
    "details as FastAPI lists them": (
        422,
        "application/json",
        {"detail": [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}]},
        BadRequestError,
        "body.model: field required",
    ),
    "no message at all": (404, "application/json", "", NotFoundError, "gave no reason"),
}
MODELS = {  # one model of each family, with its provider
    "google": ("text-multilingual-embedding-002", "aimlapi"),
    "openai": ("text-embedding-3-small", "aimlapi"),
    "voyage": ("voyage-2", "aimlapi"),
    "bge": ("BAAI/bge-base-en-v1.5", "aimlapi"),
    "m2-bert": ("togethercomputer/m2-bert-80M-32k-retrieval", "aimlapi"),
    "qwen": ("alibaba/qwen-text-embedding-v3", "aimlapi"),
    "nugen": ("nugen-flash-embed", "nugen"),
    "unknown": ("of-tomorrow", "aimlapi"),
}


def made(entry_point: EntryPoint, family: str) -> EntryPoint:
    model, provider = MODELS[family]
    return entry_point.make(model, provider=provider, max_retries=0)


@pytest.mark.parametrize("shape", ERRORS)
@pytest.mark.parametrize("family", MODELS)
def test_an_error_of_any_shape_is_read_by_every_family(
    entry_point: EntryPoint, clock: Clock, family: str, shape: str
) -> None:
    status, content_type, body, error, words = ERRORS[shape]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"content-type": content_type, **TRACE}
    entry_point.fake_server.answer = lambda _: Reply(status, headers, content)
    with pytest.raises(error, match="request id inf-1") as caught:
        made(entry_point, family).documents(["a text"])
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert (caught.value.status, caught.value.request_id) == (status, "inf-1")
    assert caught.value.content == content
    assert clock.waits == []


def test_an_error_without_tracing_headers_has_no_request_id(entry_point: EntryPoint) -> None:
    entry_point.fake_server.answer = lambda _: Reply(401, {}, b"{}")
    with pytest.raises(AuthenticationError, match="request id not told") as caught:
        made(entry_point, "voyage").documents(["a text"])
    assert caught.value.request_id is None
