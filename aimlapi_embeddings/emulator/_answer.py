"""One request in, one reply out: a pure function, which reads no clock and keeps no state."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from zlib import crc32

from aimlapi_embeddings.emulator._catalogue import catalogue
from aimlapi_embeddings.emulator._errors import EMPTY_KEY, error_reply, request_id
from aimlapi_embeddings.emulator._numbers import ROUNDING, to_base64
from aimlapi_embeddings.emulator._request_body import ParsedBody, parse_body
from aimlapi_embeddings.emulator._rules import Rule, credits_to_usd
from aimlapi_embeddings.emulator._types import (
    ErrorShape,
    Provider,
    Refusal,
    Reply,
    Request,
    Strictness,
)
from aimlapi_embeddings.emulator._vectors import lexical_vector

# The gateway's path has been /v1 since 2025-02-19 (3c8a3e1d); the other two stand in older pages.
# Nugen's shorter path is the one that its cookbook used until 2026-01.
_ROUTES: Mapping[str, Provider] = {
    "/v1/embeddings": "aimlapi",
    "/v2/embeddings": "aimlapi",
    "/embeddings": "aimlapi",
    "/api/v3/inference/embeddings": "nugen",
    "/inference/embeddings": "nugen",
}
_CATALOGUE = "/v1/models"
_NUGEN_PATHS = ("/api/", "/inference")

# docs/capabilities/request-tracing-and-cost.md (2026-08-19): other values are ignored silently.
_CLIENT_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# By how much a role and a title change a vector: enough to be seen, too little to change a ranking.
_ROLE_SHARE = 0.1
_TITLE_SHARE = 0.3


def answer(
    request: Request,
    *,
    strict: Strictness = True,
    error_shape: ErrorShape = "problem",
    withdrawn: Collection[str] = (),
) -> Reply:
    """Answer one request as the provider at its path would.

    Args:
        request: The request; its path decides between the AI/ML API and Nugen.
        strict: Which requests are refused. True: those that the provider refuses, such as an
            unknown model. Keys that its newest schema does not list are ignored, except
            `encoding_format`, which every family of the gateway takes. "listed": keys that the
            model's published schema does not list are refused as well, to test that a client sends
            none. False: nothing is refused for its model; unknown models are served as plain ones.
            Values, limits and keys for access are checked in any case.
        error_shape: The gateway's error body: "problem" as it was seen to answer (2026-08-30), or
            "documented" as its documentation has it.
        withdrawn: Model ids that get 404, as withdrawn models do.
    """
    provider = _provider(request)
    path, _, query = request.path.partition("?")
    try:
        if path == _CATALOGUE and request.method in ("GET", "HEAD"):
            reply = catalogue(query, withdrawn)
            return reply._replace(headers={**reply.headers, **_request_ids(provider, request)})
        if request.method != "POST" or path not in _ROUTES:
            raise Refusal(404)
        _check_key(provider, request.headers)
        parsed = parse_body(provider, request.body, strict=strict, withdrawn=withdrawn)
        return _embed(provider, request, parsed)
    except Refusal as refusal:
        return refuse(request, refusal, error_shape)


def refuse(request: Request, refusal: Refusal, error_shape: ErrorShape = "problem") -> Reply:
    """Build the error reply of the provider that the request went to."""
    provider = _provider(request)
    reply = error_reply(provider, request, refusal, error_shape)
    return reply._replace(headers={**reply.headers, **_tracing(provider, request)})


def _provider(request: Request) -> Provider:
    path = request.path.partition("?")[0]
    return _ROUTES.get(path, "nugen" if path.startswith(_NUGEN_PATHS) else "aimlapi")


def _check_key(provider: Provider, headers: Mapping[str, str]) -> None:
    """Refuse invalid keys; tests use keys that end in "-revoked" or "-broke"."""
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


def _embed(provider: Provider, request: Request, parsed: ParsedBody) -> Reply:
    model, rule, texts, options = parsed
    test: Mapping[str, int] = options.get("test", {})
    if status := test.get("errorStatus"):
        raise Refusal(status)
    count = sum(map(rule.counts, texts))
    credits_used = test.get("credits", rule.credits(count))
    usd_spent = credits_to_usd(credits_used)
    # The sample of a chat reply (github aimlapi/api-docs, Liquid-AI/d1-router.md @ 42154be3) has
    # the canonical id in `meta.model`. That the provider is the id's prefix is an inference.
    canonical = rule.canonical_id(model)
    maker = canonical.partition("/")[0]
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
        body["meta"] = {
            "model": canonical,
            "provider": maker,
            "usage": {"credits_used": credits_used, "usd_spent": usd_spent},
        }
    headers = {"content-type": "application/json; charset=utf-8", **_tracing(provider, request)}
    if provider == "aimlapi":
        headers["x-aimlapi-model"] = canonical
        headers["x-aimlapi-provider"] = maker
        headers["x-aimlapi-credits-used"] = str(credits_used)
        headers["x-aimlapi-usd-spent"] = f"{usd_spent:.9f}"
    return Reply(200, headers, json.dumps(body, separators=(",", ":")).encode())


def _embedding(model: str, rule: Rule, text: str, options: Mapping[str, Any]) -> list[float] | str:
    """Compute the lexical vector of a text, with the size, norm and encoding of the model."""
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
    vector = ROUNDING[rule.number_format]([length * x for x in vector])
    as_base64 = rule.base64 and options.get("encoding_format") == "base64"
    return to_base64(vector) if as_base64 else vector


def _tracing(provider: Provider, request: Request) -> Mapping[str, str]:
    """Build the headers that identify an inference."""
    if provider == "nugen":
        return {}
    ids = {"x-inference-id": request_id(request, "inference"), **_request_ids(provider, request)}
    chosen = request.headers.get("x-client-request-id", "")
    return {**ids, "x-client-request-id": chosen} if _CLIENT_REQUEST_ID.fullmatch(chosen) else ids


def _request_ids(provider: Provider, request: Request) -> Mapping[str, str]:
    return {} if provider == "nugen" else {"x-request-id": request_id(request)}
