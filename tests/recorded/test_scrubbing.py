"""Ids, times and keys in the replies of a live service do not reach a cassette."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from vcr.request import Request

from tests.support.entry_points import KEY
from tests.support.recording import clean_reply, clean_request

LIVE_HEADERS = {
    "Content-Type": ["application/json"],
    "Content-Encoding": ["gzip"],
    "Content-Length": ["123"],
    "Date": ["Fri, 20 Nov 2026 10:00:00 GMT"],
    "Set-Cookie": ["__cf_bm=secret", "session=secret"],
    "CF-RAY": ["8f2-FRA"],
    "X-Inference-Id": ["inf_9f8e7d"],
    "X-Request-Id": ["5b4f8c0e-8f5e-4b1e-8a2f-0d6c6f3a7b11"],
    "x-aimlapi-credits-used": ["1"],
}
BODIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"id": "5b4f8c0e-8f5e-4b1e-8a2f-0d6c6f3a7b11", "data": [{"embedding": [0.25], "index": 0}]},
        {"id": "00000000-0000-0000-0000-000000000000", "data": [{"embedding": [0.25], "index": 0}]},
    ),
    ({"id": "embd-1f0c", "created": 1768558132}, {"id": "embd-0000", "created": 1767225600}),
    (
        {"id": "nugen-1767000663.25", "created": 1767000663.25},
        {"id": "nugen-0000000000.00", "created": 1767225600.5},
    ),
    (
        {"requestId": "0d6c-6f3a", "timestamp": "2026-11-20T10:00:00.123Z"},
        {"requestId": "0000-0000", "timestamp": "2026-01-01T00:00:00.000Z"},
    ),
    (
        {"message": f"Incorrect API key provided: {KEY}."},
        {"message": "Incorrect API key provided: KEY."},
    ),
    ({"message": "bad key sk-pro*****9f2."}, {"message": "bad key KEY"}),
    ({"message": "not Bearer abc.def"}, {"message": "not KEY"}),
    ({"usage": None, "object": "list"}, {"usage": None, "object": "list"}),
]


@pytest.mark.parametrize(("said", "kept"), BODIES, ids=lambda body: str(body)[:40])
def test_a_live_reply_is_decompressed_and_scrubbed(said: Any, kept: Any) -> None:
    packed = gzip.compress(json.dumps(said).encode())
    status = {"code": 200, "message": "OK"}
    reply = clean_reply(
        "live", {"status": status, "headers": LIVE_HEADERS, "body": {"string": packed}}
    )
    assert json.loads(reply["body"]["string"]) == kept
    assert reply["status"] == status
    assert reply["headers"] == {
        "content-type": ["application/json"],
        "x-aimlapi-credits-used": ["1"],
        "x-inference-id": ["0000000000"],
        "x-recorded-from": ["live"],
        "x-request-id": ["00000000-0000-0000-0000-000000000000"],
    }
    assert clean_reply("cassette", reply) == reply


def test_only_method_url_body_and_content_type_of_a_request_are_kept() -> None:
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Cookie": "a=b",
        "Content-Type": "application/json",
    }
    asked = Request("POST", "http://127.0.0.1:4711/v1/embeddings", b'{"input":"\xc3\xa9"}', headers)
    kept = clean_request("https://api.aimlapi.com", asked)
    assert kept.uri == "https://api.aimlapi.com/v1/embeddings"
    assert kept.body == b'{"input":"\xc3\xa9"}'
    assert dict(kept.headers) == {"Content-Type": "application/json"}
