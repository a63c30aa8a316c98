"""Which error replies are retried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimlapi_embeddings import APIStatusError, RateLimitError, RequestTooLargeError
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.status import error_of, is_quota_exhausted, is_repeated
from aimlapi_embeddings._types import Reply


def error(status: int, body: Any = None, retry_after: float | None = None) -> APIStatusError:
    return error_of(
        Reply(status, {}, json.dumps(body).encode()),
        provider=PROVIDERS["aimlapi"],
        key="AIMLAPI_API_KEY",
        url="https://api.example/v1/embeddings",
        where="text 0 of 1",
        indices=(0,),
        retry_after=retry_after,
    )


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529, 599])
def test_a_temporary_status_is_retried(status: int) -> None:
    assert is_repeated(error(status))


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 407, 413, 422, 501, 505, 511])
def test_a_permanent_status_is_not_retried(status: int) -> None:
    assert not is_repeated(error(status))


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "input (992 tokens) is too large to process"), (429, "Limit 400, Requested 1040")],
)
def test_a_refusal_for_size_keeps_its_status_and_is_not_retried(status: int, message: str) -> None:
    made = error(status, {"error": {"message": message}})
    assert type(made) is RequestTooLargeError
    assert made.status_code == status
    assert str(made).endswith("Shorten the text, or split it before it is embedded.")
    assert not is_repeated(made)


CURRENT = "You exceeded your current quota, please check your plan and billing details."
USED_UP = {
    "OpenAI's code": {"error": {"message": CURRENT, "code": "insufficient_quota"}},
    "OpenAI's type": {"error": {"message": "no", "type": "insufficient_quota"}},
    "the code at the top": {"message": "no", "code": "insufficient_quota"},
    "OpenAI's hard limit": {"error": {"message": "no", "code": "billing_hard_limit_reached"}},
    "the code in the message": {"error": {"message": "429: insufficient_quota"}},
    "words alone": {"error": {"message": CURRENT}},
    "hard limit in words": {"error": {"message": "Billing hard limit has been reached"}},
    "one-api": {"error": {"message": "no", "code": "insufficient_user_quota"}},
    "funds": {"message": "You've run out of funds. Please top up your balance"},
    "balance": {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}},
    "a free quota": {"message": "Your free quota is used up."},
    "a free tier": {"message": "The free tier of the model has been exhausted."},
    "a free hour": {"message": "You exceeded the free tier's 10 requests per hour"},
    "the other way": {"message": "You have reached the limit of the free plan."},
    "DashScope": {"code": "AllocationQuota.FreeTierOnly", "message": "no"},
    "billing": {"error": {"message": "Your account is not active", "code": "billing_not_active"}},
}


@pytest.mark.parametrize("name", USED_UP)
@pytest.mark.parametrize("status", [402, 403, 429])
def test_a_used_up_quota_is_not_retried_and_the_balance_is_named(status: int, name: str) -> None:
    made = error(status, USED_UP[name])
    assert is_quota_exhausted(made)
    assert not is_repeated(made)
    assert "top up the balance" in str(made).lower()
    assert "https://aimlapi.com/app/keys" in str(made)
    assert isinstance(made, RateLimitError) is (status == 429)


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
GOOGLE = {"error": {"code": 429, "message": CURRENT, "status": "RESOURCE_EXHAUSTED"}}
PASSING = {
    "no message": {},
    "per minute": {"message": "Rate limit exceeded: free tier, 10 requests per minute"},
    "a free tier's rate": {"message": "Rate limit exceeded for the free tier."},
    "Google's words": {"error": {"message": f"{CURRENT} Please retry in 34.07s."}},
    "Google's details": {"error": {**GOOGLE["error"], "details": [RETRY_INFO]}},
    "OpenAI's minute": {
        "error": {
            "message": "Rate limit reached for m (TPM): Limit 40, Used 30, Requested 20.",
            "type": "tokens",
            "code": "rate_limit_exceeded",
        }
    },
}


@pytest.mark.parametrize("name", PASSING)
def test_a_rate_limit_is_retried(name: str) -> None:
    assert is_repeated(error(429, PASSING[name]))


def test_a_quota_message_with_a_wait_is_retried() -> None:
    assert is_repeated(error(429, {"message": CURRENT}, retry_after=20.0))
    assert not is_repeated(error(429, USED_UP["OpenAI's code"], retry_after=20.0))


def test_a_quota_message_with_another_status_is_not_a_used_up_quota() -> None:
    assert is_repeated(error(503, USED_UP["OpenAI's code"]))
