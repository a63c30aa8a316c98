"""Error replies, in the shape that each provider gives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from http import HTTPStatus
from uuid import UUID

from aimlapi_embeddings.emulator._types import ErrorShape, Provider, Refusal, Reply, Request

TIMESTAMP = "2026-08-30T18:23:01.734Z"
"""The time of the live probe that the error shape comes from; `answer` reads no clock."""

_KEYS_PAGE = "You can create a new API key on the Billing page: https://aimlapi.com/app/keys"
NO_KEY = f"This request requires a valid API key. {_KEYS_PAGE}"
EMPTY_KEY = f"You provided an empty string instead of valid API key. {_KEYS_PAGE}"

# github aimlapi/api-docs, docs/errors-and-messages (2026-08-21); 403 as the gateway sent it in
# 2026. The messages for 404 and 413 are documented nowhere and are guesses.
_MESSAGES = {
    400: "Body validation error!",
    401: NO_KEY,
    403: "You've run out of funds. Please top up your balance or update your payment method to "
    "continue: https://aimlapi.com/app/billing",
    404: "Not Found",
    413: "Request entity too large",
    429: "Too Many Requests",
    500: "Something wrong with the server. Please, try again later.",
    502: "Bad Gateway",
    503: "Service unavailable",
    504: "Generation timeout",
}

# github nugen-in/nugen-cookbook, notebook 07 @ feed92f (2026-01-29), captured on the older path.
_NUGEN_MESSAGES = {403: "Could not validate credentials. Reason: API key not found"}

# github nugen-in/nugen-cookbook (2024-11): a 502 of Nugen is a page of Cloudflare.
_CLOUDFLARE = (
    b"<!DOCTYPE html>\n<html><head><title>api.nugen.in | 502: Bad gateway</title></head>"
    b"<body><h1>Bad gateway</h1><p>Cloudflare</p></body></html>\n"
)


def request_id(request: Request, purpose: str = "request") -> str:
    """Derive an id from a request; equal requests get equal ids."""
    text = f"{purpose} {request.method} {request.path}\n".encode()
    return str(UUID(blake2b(text + request.body, digest_size=16).hexdigest()))


def error_reply(
    provider: Provider, request: Request, refusal: Refusal, shape: ErrorShape = "problem"
) -> Reply:
    """Build the error reply of a provider."""
    if provider == "nugen":
        return _nugen(refusal)
    return (_problem if shape == "problem" else _documented)(request, refusal)


def phrase(status: int) -> str:
    """Return the standard reason phrase of a status, or "Unknown"."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def _message(refusal: Refusal) -> str:
    usual = _MESSAGES.get(refusal.status, phrase(refusal.status))
    if refusal.field is not None:
        return f"{usual}\n{refusal.field}: {refusal.text}"
    return refusal.text or usual


def _problem(request: Request, refusal: Refusal) -> Reply:
    """Use the shape of a live probe (github api-evangelist/aimlapi @ 79b781f5, 2026-08-30)."""
    title, message = phrase(refusal.status), _message(refusal)
    body = {
        "title": title,
        "status": refusal.status,
        "message": message,
        "instance": request.path,
        "requestId": request_id(request),
        "timestamp": TIMESTAMP,
        # UnauthorizedException and NotFoundException were seen; the others follow the pattern.
        "error": {"name": f"{title.replace(' ', '')}Exception", "message": message},
    }
    return _reply(refusal.status, body, "application/problem+json; charset=utf-8")


def _documented(request: Request, refusal: Refusal) -> Reply:
    """Use the shape of docs/errors-and-messages/general-info.md, whose status is a string."""
    body = {
        "message": _message(refusal),
        "path": request.path,
        "requestId": request_id(request),
        "statusCode": str(refusal.status),
        "timestamp": TIMESTAMP,
    }
    return _reply(refusal.status, body, "application/json; charset=utf-8")


def _reply(status: int, body: Mapping[str, object], content_type: str) -> Reply:
    return Reply(status, {"content-type": content_type}, json.dumps(body).encode())


def _nugen(refusal: Refusal) -> Reply:
    """Use the shape of FastAPI (https://api.nugen.in/openapi-public.json v25.4.20)."""
    if refusal.status == 502:
        return Reply(502, {"content-type": "text/html; charset=UTF-8"}, _CLOUDFLARE)
    usual = _NUGEN_MESSAGES.get(refusal.status, phrase(refusal.status))
    detail: object = refusal.text or usual
    if refusal.status == 422:
        where = [
            int(part) if part.isdigit() else part for part in (refusal.field or "input").split(".")
        ]
        detail = [{"loc": ["body", *where], "msg": refusal.text, "type": "value_error"}]
    headers = {"content-type": "application/json"}
    return Reply(refusal.status, headers, json.dumps({"detail": detail}).encode())
