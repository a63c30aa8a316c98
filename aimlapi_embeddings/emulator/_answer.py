"""The heart: one request in, one reply out. No clock, no chance, no memory."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from zlib import crc32

from aimlapi_embeddings.emulator._errors import EMPTY_KEY, error_reply, request_id
from aimlapi_embeddings.emulator._numbers import GRIDS, to_base64
from aimlapi_embeddings.emulator._order import Order, read_order
from aimlapi_embeddings.emulator._rules import Rule
from aimlapi_embeddings.emulator._types import ErrorShape, Provider, Refusal, Reply, Request
from aimlapi_embeddings.emulator._vectors import lexical_vector

_CREDITS_PER_USD = 2_000_000  # github:aimlapi/api-docs docs/faq/how-can-i-track-my-funds.md

# The path has been /v1 since 2025-02-19 (3c8a3e1d); the others stand in older pages. Nugen's short
# path is the one its cookbook used until 2026-01.
_ROUTES: Mapping[str, Provider] = {
    "/v1/embeddings": "aimlapi",
    "/v2/embeddings": "aimlapi",
    "/embeddings": "aimlapi",
    "/api/v3/inference/embeddings": "nugen",
    "/inference/embeddings": "nugen",
}
_NUGEN_PATHS = ("/api/", "/inference")

# docs/capabilities/request-tracing-and-cost.md (2026-08-19): another value is dropped silently.
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# How far a role and a title turn a vector: enough to be seen, too little to change a ranking.
_ROLE_SHARE = 0.1
_TITLE_SHARE = 0.3


def answer(
    request: Request,
    *,
    strict: bool = True,
    error_shape: ErrorShape = "problem",
    withdrawn: Collection[str] = (),
) -> Reply:
    """Answer one request as the provider at its path would.

    Args:
        request: The request; its path decides between the AI/ML API and Nugen.
        strict: Refuse keys and models that the provider does not list. Otherwise such keys are
            ignored and such models served as plain ones. Values and counts are always checked.
        error_shape: "problem" as the gateway was seen to answer (2026-08-30), or "documented".
        withdrawn: Ids that get 404, as retired models do.
    """
    provider = _provider(request)
    try:
        if request.method != "POST" or _path(request) not in _ROUTES:
            raise Refusal(404)
        _check_key(provider, request.headers)
        order = read_order(provider, request.body, strict=strict, withdrawn=withdrawn)
        return _embed(provider, request, order)
    except Refusal as refusal:
        return refuse(request, refusal, error_shape)


def refuse(request: Request, refusal: Refusal, error_shape: ErrorShape = "problem") -> Reply:
    """Give the error reply of the provider that the request went to."""
    provider = _provider(request)
    reply = error_reply(provider, request, refusal, error_shape)
    return reply._replace(headers={**reply.headers, **_tracing(provider, request)})


def _provider(request: Request) -> Provider:
    path = _path(request)
    return _ROUTES.get(path, "nugen" if path.startswith(_NUGEN_PATHS) else "aimlapi")


def _path(request: Request) -> str:
    return request.path.partition("?")[0]


def _check_key(provider: Provider, headers: Mapping[str, str]) -> None:
    """Refuse bad keys; the ends "-revoked" and "-broke" are there for tests."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    bearer, key = scheme.lower() == "bearer", key.strip()
    good = bearer and key and not key.endswith("-revoked")
    if provider == "nugen":
        if not good:
            raise Refusal(403)
    elif not good:
        raise Refusal(401, EMPTY_KEY if bearer and not key else "")
    elif key.endswith("-broke"):
        raise Refusal(403)


def _embed(provider: Provider, request: Request, order: Order) -> Reply:
    model, rule, texts, options = order
    test: Mapping[str, int] = options.get("test", {})
    if status := test.get("errorStatus"):
        raise Refusal(status)
    count = sum(map(rule.counts, texts))
    # Invented: prices of embeddings are not published, only what a sample of five tokens cost.
    cost = test.get("credits", max(rule.credits, count // 20))
    usd = cost / _CREDITS_PER_USD
    body: dict[str, object] = {
        **rule.reply_extra(request_id(request, "id")),
        "object": rule.object,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _embedding(model, rule, text, options),
                **rule.item_extra,
            }
            for index, text in enumerate(texts)
        ],
        "model": rule.echo or model,
        "usage": rule.usage(count),
    }
    if rule.meta:
        body["meta"] = {"usage": {"credits_used": cost, "usd_spent": usd}}
    headers = {"content-type": "application/json; charset=utf-8", **_tracing(provider, request)}
    if provider == "aimlapi":
        headers["x-aimlapi-credits-used"] = str(cost)
        headers["x-aimlapi-usd-spent"] = f"{usd:.9f}"
    return Reply(200, headers, json.dumps(body, separators=(",", ":")).encode())


def _embedding(model: str, rule: Rule, text: str, options: Mapping[str, Any]) -> list[float] | str:
    """The lexical vector of a text, as long and as coarse as the model's are."""
    role = options.get("task_type") or options.get("input_type")
    if rule.instruction and text.startswith(rule.instruction):
        role, text = "query", text.removeprefix(rule.instruction)
    asides = ((f"role {role}", _ROLE_SHARE if role else 0.0), (options.get("title"), _TITLE_SHARE))
    vector = lexical_vector(
        text,
        options.get("dimensions") or rule.native,
        space=model,
        blend=tuple((aside, share) for aside, share in asides if aside and share),
    )
    shortest, longest = rule.lengths
    length = shortest + (longest - shortest) * crc32(text.encode(errors="replace")) / 2**32
    vector = GRIDS[rule.grid]([length * x for x in vector])
    return to_base64(vector) if options.get("encoding_format") == "base64" else vector


def _tracing(provider: Provider, request: Request) -> Mapping[str, str]:
    """The headers by which a request can be found again."""
    if provider == "nugen":
        return {}
    ids = {
        "x-inference-id": request_id(request, "inference"),
        "x-request-id": request_id(request),
    }
    chosen = request.headers.get("x-client-request-id", "")
    return {**ids, "x-client-request-id": chosen} if _CLIENT_REQUEST_ID.fullmatch(chosen) else ids
