"""The error of a reply: its class, attributes and remedy."""

from __future__ import annotations

import pytest

from aimlapi_embeddings import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.error_body import is_success
from aimlapi_embeddings._protocol.status import error_of
from aimlapi_embeddings._protocol.wording import speaks_of_size
from aimlapi_embeddings._types import Reply

URL = "https://api.example/v1/embeddings"


def error(
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    provider: str = "aimlapi",
    retry_after: float | None = None,
) -> APIStatusError:
    return error_of(
        Reply(status, headers or {}, body),
        provider=PROVIDERS[provider],
        key=PROVIDERS[provider].api_key_variable,
        url=URL,
        where="2 texts from 3 to 4 of 9; model m",
        indices=(3, 4),
        retry_after=retry_after,
    )


@pytest.mark.parametrize(("status", "good"), [(200, True), (201, True), (299, True)])
def test_every_2xx_is_a_success(status: int, good: bool) -> None:
    assert is_success(Reply(status, {}, b"")) is good


@pytest.mark.parametrize("status", [100, 199, 300, 302, 400, 429, 500])
def test_no_other_status_is_a_success(status: int) -> None:
    assert not is_success(Reply(status, {}, b""))


TOP_UP = "Top up the balance, or use a key that may embed: https://aimlapi.com/app/keys."
FAILED = "The provider failed; try again later, and quote the request id if it lasts."
COMPARE = "Compare the options with what the model takes: supported_models() lists it."
SHORTEN = "Shorten the text, or split it before it is embedded."
ERRORS = [
    (400, BadRequestError, "Bad Request", COMPARE),
    (401, AuthenticationError, "Unauthorized", "Check AIMLAPI_API_KEY; keys are made at "
     "https://aimlapi.com/app/keys."),
    (403, PermissionDeniedError, "Forbidden", TOP_UP),
    (404, NotFoundError, "Not Found", f"Check model and base_url ({URL}); a model that was "
     "withdrawn answers like this too."),
    (408, APIStatusError, "Request Timeout", "Raise timeout, or lower batch_size."),
    (409, APIStatusError, "Conflict", COMPARE),
    (413, RequestTooLargeError, "", SHORTEN),  # its phrase differs between versions of Python
    (418, APIStatusError, "I'm a Teapot", COMPARE),
    (422, BadRequestError, "Unprocessable", COMPARE),
    (429, RateLimitError, "Too Many Requests", "Lower max_concurrency, or raise max_retries and "
     "max_retry_wait."),
    (499, APIStatusError, "Unknown Status", COMPARE),
    (500, InternalServerError, "Internal Server Error", FAILED),
    (502, InternalServerError, "Bad Gateway", FAILED),
    (503, InternalServerError, "Service Unavailable", FAILED),
    (504, InternalServerError, "Gateway Timeout", FAILED),
    (520, InternalServerError, "Unknown Status", FAILED),
    (302, APIStatusError, "Found", "Redirects are not followed, to protect the key; set base_url "
     "to the target: not told."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "phrase", "step"), ERRORS)
def test_a_status_gives_its_error_class_and_remedy(
    status: int, kind: type[APIStatusError], phrase: str, step: str
) -> None:
    made = error(status, b'{"message": "no"}')
    assert type(made) is kind
    assert str(made).startswith(f"{status} {phrase}")
    context = "2 texts from 3 to 4 of 9; model m; request id not told"
    assert str(made).endswith(f": no [{context}] {step}")


def test_an_error_holds_status_content_indices_and_request_id() -> None:
    made = error(503, b"down", {"x-inference-id": "inf-1", "x-request-id": "req-1"})
    assert (made.status_code, made.content, made.request_id) == (503, b"down", "inf-1")
    assert made.indices == (3, 4)


def test_the_request_id_is_read_from_both_headers() -> None:
    made = error(503, headers={"x-request-id": "req-1"})
    assert made.request_id == "req-1"
    assert "; request id req-1]" in str(made)


def test_an_error_holds_the_wait_that_the_server_asked_for() -> None:
    assert error(429, retry_after=7.0).retry_after == 7.0
    assert error(429).retry_after is None


def test_content_holds_only_the_start_of_a_long_body() -> None:
    assert error(500, b"x" * 1_000_000).content == b"x" * 4096


def test_a_message_says_when_the_server_gave_no_reason() -> None:
    assert str(error(500)).startswith("500 Internal Server Error: the server gave no reason [")


def test_a_redirect_names_its_target() -> None:
    assert str(error(307, headers={"location": "https://new/v2"})).endswith(": https://new/v2.")


def test_the_remedy_names_the_variable_of_the_provider() -> None:
    assert "NUGEN_API_KEY" in str(error(401, provider="nugen"))


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_with_a_message_about_size_is_a_request_too_large(status: int) -> None:
    made = error(status, b'{"message": "input: Array must contain at most 250 element(s)"}')
    assert type(made) is RequestTooLargeError
    assert str(made).endswith(SHORTEN)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 409])
def test_a_message_about_size_with_another_status_is_not_a_request_too_large(status: int) -> None:
    assert not isinstance(error(status, b'{"message": "too many tokens"}'), RequestTooLargeError)


TOO_LARGE = [
    "batch size is invalid, it should not be larger than 10",
    "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not "
    "be larger than 10.: input.contents",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 8192]",
    "This model's maximum context length is 8192 tokens, however you requested 9000 tokens",
    "This model's maximum context length is 512 tokens. However, you requested 513 tokens in the "
    "input for embedding generation. Please reduce the length of the input.",
    "Invalid 'input': maximum request size is 300000 tokens per request.",
    "Invalid 'input': array too long. Expected an array with maximum length 2048, but got an array "
    "with length 2049 instead.",
    "Requested 300001 tokens, max 300000 tokens per request",
    "Request too large", "Request Entity Too Large", "Payload Too Large", "Too many inputs",
    "inputs: Array must contain at most 250 element(s)",
    "Body validation error!\ninput.1: String must contain at most 8000 character(s)",
    "String must contain at most 8000 character(s)",
    "List should have at most 100 items after validation, not 101",
    "250 instance(s) is allowed per prediction. Actual: 251",
    "Unable to submit request because the input token count is 24059 but the model supports up to "
    "20000. Reduce the input token count and try again.",
    "The batch size limit is 1000. Your batch size is 1001.",
    "Request to model 'voyage-2' failed. The max allowed tokens per submitted batch is 120000. "
    "Your batch has 150000 tokens after truncation. Please lower the number of tokens in it.",
    "batch size 64 > maximum allowed batch size 32",
    "batch size must be less than or equal to 10",
    "inputs must have less than 512 tokens. Given: 600",
    "Input is too long for requested model",
]  # fmt: skip
NOT_TOO_LARGE = [
    "", "Bad Request", "Body validation error!",
    "model: Invalid enum value. Expected 'a' | 'b', received 'text-embedding-5'",
    "dimensions must be less than or equal to 1536",
    "dimensions: Number must be less than or equal to 768; 1024 exceeds the maximum size",
    "Number must be less than or equal to 768",
    "Unrecognized key(s) in object: 'encoding_format'",
    "encoding_format: the maximum length of this item is 6 characters",
    "title: String must contain at most 100 character(s)",
    "input.1: String must contain at least 1 character(s)",
    "Array must contain at least 1 element(s)",
    "input: Expected string, received array",
    "str type expected", "field required",
    "input contains text that our policy forbids",
]  # fmt: skip


@pytest.mark.parametrize("message", TOO_LARGE)
def test_a_message_that_asks_for_a_smaller_request_is_about_size(message: str) -> None:
    assert speaks_of_size(message)


@pytest.mark.parametrize("message", NOT_TOO_LARGE)
def test_any_other_message_is_not_about_size(message: str) -> None:
    assert not speaks_of_size(message)


def test_the_remedy_shows_the_url_without_its_query() -> None:
    made = error_of(
        Reply(404, {}, b""),
        provider=PROVIDERS["aimlapi"],
        key="AIMLAPI_API_KEY",
        url=f"{URL}?key=hunter2",
        where="text 0 of 1",
        indices=(0,),
    )
    assert URL in str(made)
    assert "hunter2" not in str(made)


def test_an_error_body_in_an_encoding_that_was_not_requested_names_the_encoding() -> None:
    made = error(502, b"\x0b\x02\x80hello\x03", {"content-encoding": "br"})
    assert "502 Bad Gateway: the message cannot be read, since its content-encoding is 'br'" in str(
        made
    )
    assert "down" in str(error(502, b"down", {"content-encoding": "br"}))
