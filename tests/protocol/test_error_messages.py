"""Messages of status errors: what happened, to which texts, and what to do."""

from __future__ import annotations

import pickle

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
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import OPENAI, Clock, EntryPoint, FakeServer

LONG = "a text of which the error shows only the head " * 3


@pytest.mark.parametrize(
    ("status", "kind", "said", "remedy"),
    [
        (400, BadRequestError, "Bad Request", "supported_models()"),
        (401, AuthenticationError, "Unauthorized", "api_key; keys are made at https://"),
        (403, PermissionDeniedError, "run out of", "Top up"),
        (404, NotFoundError, "Not Found", "https://api.aimlapi.com/v1/embeddings"),
        (413, RequestTooLargeError, "Too Large", "Shorten the text"),
        (422, BadRequestError, "Unprocessable", "supported_models()"),
        (429, RateLimitError, "Too Many Requests", "max_concurrency"),
        (500, InternalServerError, "Internal", "request id"),
        (503, InternalServerError, "navailable", "try again later"),
    ],
)
def test_a_message_names_status_reason_texts_and_remedy(
    entry_point: EntryPoint, clock: Clock, status: int, kind: type, said: str, remedy: str
) -> None:
    entry_point.make(OPENAI, max_retries=0)
    entry_point.fake_server.will(Fault(status, headers={"x-inference-id": "inf-42"}))
    with pytest.raises(kind) as caught:
        entry_point.documents([LONG])
    error = caught.value
    assert type(error) is kind
    message = str(error)
    assert message.startswith(f"{status} ")
    for part in (said, remedy, f"model {OPENAI}", "text 0 of 1", LONG[:40], "inf-42"):
        assert part in message
    assert LONG not in message
    assert (error.status, error.request_id, error.indices) == (status, "inf-42", (0,))


def test_a_message_names_a_batch_by_its_range(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, batch_size=3, max_concurrency=1)
    entry_point.fake_server.will(None, Fault(401))
    with pytest.raises(AuthenticationError, match="3 texts from 3 to 5 of 8") as caught:
        entry_point.documents([f"text {i}" for i in range(8)])
    assert caught.value.indices == (3, 4, 5)


def test_a_message_names_the_number_of_attempts(entry_point: EntryPoint, clock: Clock) -> None:
    entry_point.make(OPENAI, max_retries=2)
    entry_point.fake_server.will(*[Fault(503)] * 3)
    with pytest.raises(InternalServerError, match="3 attempts"):
        entry_point.query("q")


def test_a_pickled_error_keeps_all_attributes(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, batch_size=1, max_concurrency=1, dimensions=4)
    entry_point.fake_server.will(None, Fault(403, retry_after="3"))
    with pytest.raises(PermissionDeniedError) as caught:
        entry_point.documents(["a", "b"])
    error: APIStatusError = caught.value
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert copy.partial.vectors[1] is None


def test_the_reason_in_a_reply_of_nugen_is_found() -> None:
    fake_server = FakeServer()
    entry_point = EntryPoint("core", "sync", fake_server).make(
        "nugen-flash-embed", provider="nugen"
    )
    fake_server.will(
        Fault(422, body=b'{"detail": [{"loc": ["body", "input"], "msg": "field required"}]}')
    )
    with pytest.raises(BadRequestError, match=r"422 .*: body\.input: field required"):
        entry_point.query("q")
