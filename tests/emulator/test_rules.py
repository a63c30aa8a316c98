"""Requests that the emulator accepts and refuses, without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from aimlapi_embeddings.emulator import Reply, Request, answer

SMALL, LARGE, ADA = (
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
)
GOOGLE, GECKO = "text-multilingual-embedding-002", "textembedding-gecko@001"
VOYAGE, BGE = "voyage-law-2", "BAAI/bge-base-en-v1.5"
M2, M2_OLD = (f"togethercomputer/m2-bert-80M-{size}-retrieval" for size in ("32k", "2k"))
QWEN, QWEN_V4 = "alibaba/qwen-text-embedding-v3", "alibaba/qwen-text-embedding-v4"
FLASH, QWEN3 = "nugen-flash-embed", "qwen3-embedding-8b"
GATEWAY, NUGEN = "/v1/embeddings", "/api/v3/inference/embeddings"

STRICTNESSES = ("listed", True, False)

SENTENCE = "Laura is a DJ."


def post(
    model: str, text: object = SENTENCE, *, path: str = "", key: str = "k", **options: object
) -> Request:
    """Build a request to the provider of the model."""
    body = json.dumps({"model": model, "input": text, **options}).encode()
    path = path or (NUGEN if model in (FLASH, QWEN3) else GATEWAY)
    return Request("POST", path, {"authorization": f"Bearer {key}"}, body)


def decoded(reply: Reply) -> Any:
    """Decode the JSON body of a reply."""
    return json.loads(reply.body)


def vectors(request: Request) -> list[Any]:
    """Return the vectors of a request that must succeed."""
    reply = answer(request)
    assert reply.status == 200, reply.body
    return [item["embedding"] for item in decoded(reply)["data"]]


TAKEN = [
    (SMALL, {"dimensions": 1536}, 1536),
    (SMALL, {"dimensions": None}, 1536),
    (LARGE, {}, 3072),
    (ADA, {"encoding_format": "float"}, 1536),
    ("openai/text-embedding-3-large", {"dimensions": 3072}, 3072),
    ("voyage-code-2", {"input_type": "document"}, 1536),
    ("anthropic/voyage-law-2", {}, 1024),
    (GOOGLE, {"dimensions": 1, "task_type": "CLUSTERING", "title": ""}, 1),
    ("google/text-multilingual-embedding-002", {"auto_truncate": False}, 768),
    (GECKO, {"dimensions": None, "title": "t"}, 768),
    (BGE, {}, 768),
    (M2, {}, 768),
    (QWEN, {"dimensions": 64}, 64),
    ("text-embedding-v4", {"dimensions": 2048}, 2048),
    (QWEN_V4, {}, 1024),
    ("test/dummy-embeddings", {"test": {"delay": 5}, "dimensions": 7}, 7),
    ("emulated/of-tomorrow", {}, 64),
    (FLASH, {"dimensions": 123}, 123),
    (QWEN3, {"dimensions": None}, 4096),
    (SMALL, {"dimensions": 5.0}, 5),
    (SMALL, {"dimensions": 1e2}, 100),
    (QWEN, {"dimensions": 64.0}, 64),
    (FLASH, {"dimensions": 5.0}, 5),
    (SMALL, {"encoding_format": None}, 1536),
]


@pytest.mark.parametrize(("model", "options", "size"), TAKEN)
def test_every_listed_field_is_accepted_and_dimensions_sets_the_size(
    model: str, options: Mapping[str, Any], size: int
) -> None:
    """All fields that the schema lists for a model are accepted."""
    assert [len(vector) for vector in vectors(post(model, **options))] == [size]


REFUSED = [
    (SMALL, {"dimensions": 1537}, "dimensions: Number must be less than or equal to 1536"),
    (SMALL, {"dimensions": 0}, "dimensions: Number must be greater than or equal to 1"),
    (SMALL, {"dimensions": "3"}, "dimensions: Expected integer, received string"),
    (SMALL, {"dimensions": True}, "dimensions: Expected integer, received boolean"),
    (SMALL, {"dimensions": 5.5}, "dimensions: Expected integer, received float"),
    (SMALL, {"dimensions": 1e300}, "dimensions: Number must be less than or equal to 1536"),
    (SMALL, {"encoding_format": 1}, "encoding_format: Invalid enum value"),
    (SMALL, {"encoding_format": "hex"}, "encoding_format: Invalid enum value. Expected 'float'"),
    (VOYAGE, {"input_type": "query"}, "input_type: Invalid enum value. Expected 'document', rec"),
    (GOOGLE, {"dimensions": 769}, "dimensions: Number must be less"),
    (GOOGLE, {"task_type": "QUERY"}, "task_type: Invalid enum value"),
    (GOOGLE, {"task_type": None}, "task_type: Invalid enum value"),
    (GOOGLE, {"title": 1}, "title: Expected string, received number"),
    (GOOGLE, {"auto_truncate": 1}, "auto_truncate: Expected boolean, received number"),
    (QWEN, {"dimensions": None}, "dimensions: Invalid enum value"),
    (QWEN, {"dimensions": 2048}, "dimensions: Invalid enum value"),
    (QWEN_V4, {"dimensions": 100}, "dimensions: Invalid enum value"),
    ("test/dummy-embeddings", {"test": {"errorStatus": 200}}, "test: errorStatus: Number must"),
]


@pytest.mark.parametrize("strict", STRICTNESSES)
@pytest.mark.parametrize(("model", "options", "hint"), REFUSED)
def test_an_invalid_value_is_refused_with_the_expected_ones(
    model: str, options: Mapping[str, Any], hint: str, strict: Any
) -> None:
    """A 400 names the field and the expected values."""
    reply = answer(post(model, path=GATEWAY, **options), strict=strict)
    first, second = decoded(reply)["message"].split("\n")
    assert (reply.status, first) == (400, "Body validation error!")
    assert second.startswith(hint)


@pytest.mark.parametrize("strict", ["listed", True])
@pytest.mark.parametrize("model", [FLASH, "no-such-model"])
def test_an_unknown_model_is_refused_with_the_known_ones(model: str, strict: Any) -> None:
    reply = answer(post(model, path=GATEWAY), strict=strict)
    hint = "model: Invalid enum value. Expected 'text-embedding-3-small' | "
    assert reply.status == 400
    assert decoded(reply)["message"].split("\n")[1].startswith(hint)


# Keys that the newest schema of the model does not list; OpenAI's clients send some of them.
UNLISTED = [
    (SMALL, {"user": "u"}),
    (SMALL, {"task_type": "CLUSTERING"}),
    (ADA, {"dimensions": 512}),
    (VOYAGE, {"dimensions": 0}),
    (VOYAGE, {"encoding_format": "float"}),
    (VOYAGE, {"encoding_format": None}),
    (VOYAGE, {"title": "t", "auto_truncate": False}),
    (GOOGLE, {"input_type": "document"}),
    (GOOGLE, {"encoding_format": "hex"}),
    (BGE, {"encoding_format": "float"}),
    (M2, {"dimensions": 768}),
    (QWEN, {"user": None}),
    (FLASH, {"encoding_format": "base64"}),
    (QWEN3, {"task_type": "CLUSTERING"}),
]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("model", "options"), UNLISTED)
def test_an_unlisted_key_is_ignored(model: str, options: Mapping[str, Any], strict: bool) -> None:
    bare, more = (
        answer(request, strict=strict) for request in (post(model), post(model, **options))
    )
    assert (bare.status, more.status) == (200, 200)
    assert decoded(bare)["data"] == decoded(more)["data"]


@pytest.mark.parametrize(("model", "options"), UNLISTED)
def test_strictness_listed_refuses_every_unlisted_key(
    model: str, options: Mapping[str, Any]
) -> None:
    reply = answer(post(model, **options), strict="listed")
    assert reply.status == (422 if model in (FLASH, QWEN3) else 400)
    assert f"Unrecognized key(s) in object: {next(iter(options))!r}" in reply.body.decode()


@pytest.mark.parametrize(("model", "options", "size"), TAKEN)
def test_listed_keys_are_answered_alike_in_every_strictness(
    model: str, options: Mapping[str, Any], size: int
) -> None:
    replies = [answer(post(model, **options), strict=strict) for strict in STRICTNESSES]
    assert replies == [replies[0]] * 3


ENCODED = [
    (SMALL, True),
    (LARGE, True),
    (VOYAGE, True),
    (GOOGLE, True),
    (BGE, True),
    (QWEN, True),
    ("emulated/of-tomorrow", True),
    ("voyage-2", False),
    ("anthropic/voyage-code-2", False),
    (M2, False),
    (M2_OLD, False),
    (FLASH, False),
    (QWEN3, False),
]


@pytest.mark.parametrize(("model", "as_base64"), ENCODED)
def test_base64_is_returned_on_request_except_by_some_models(model: str, as_base64: bool) -> None:
    """The published vectors of those cannot have come as base64."""
    [vector] = vectors(post(model, encoding_format="base64"))
    assert isinstance(vector, str) is as_base64
    for numbers in ("float", None):
        assert isinstance(vectors(post(model, encoding_format=numbers))[0], list)


def test_nan_and_infinity_in_a_body_are_refused() -> None:
    for word in (b"NaN", b"Infinity", b"1e999"):
        # No other check looks at a field that is not listed, such as this one.
        name = b"dimensions" if word == b"1e999" else b"user"
        body = b'{"model": "text-embedding-3-small", "input": "a", "%b": %b}' % (name, word)
        assert answer(post(SMALL)._replace(body=body)).status == 400


BAD_INPUTS = [
    (SMALL, "", "input: String must contain at least 1"),
    (SMALL, [], "input: Array must contain at least 1"),
    (SMALL, ["a", ""], "input.1: String must contain at least 1"),
    (SMALL, [1, 2], "input.0: Expected string, received number"),
    (SMALL, None, "input: Expected string, received null"),
    (VOYAGE, [], "input: Array must contain at least 1"),
    (VOYAGE, "x" * 8001, "input: String must contain at most 8000"),
    (VOYAGE, ["a", "x" * 801], "input.1: String must contain at most 800"),
    (M2_OLD, ["a"], "input: Expected string, received array"),
    (M2_OLD, "x" * 3001, "input: String must contain at most 3000"),
    (SMALL, ["a"] * 2049, "Invalid 'input': array too long."),
    (SMALL, "word " * 8193, "This model's maximum context length is 8192 tokens"),
    (SMALL, ["word " * 8000] * 38, "Invalid 'input': maximum request size is 300000 tokens"),
    (VOYAGE, ["a"] * 1001, "The batch size limit is 1000."),
    (VOYAGE, ["a " * 400] * 301, "Request to the model failed. The max allowed tokens"),
    (GOOGLE, ["a"] * 251, "250 instance(s) is allowed per prediction. Actual: 251"),
    (GOOGLE, ["word " * 1000] * 21, "Unable to submit request because the input token count"),
    (GECKO, ["a"] * 6, "5 instance(s) is allowed per prediction."),
    (QWEN, ["a"] * 11, "<400> InternalError.Algo.InvalidParameter: Value error, batch size"),
    (QWEN, "word " * 8193, "<400> InternalError.Algo.InvalidParameter: Range of input length"),
    (BGE, ["word " * 513], "This model's maximum context length is 512 tokens. However, you"),
]


@pytest.mark.parametrize(("model", "text", "message"), BAD_INPUTS)
def test_inputs_beyond_a_limit_are_refused_with_the_message_of_its_owner(
    model: str, text: object, message: str
) -> None:
    """The gateway's messages name the field; those of vendors are passed on."""
    reply = answer(post(model, text))
    assert reply.status == 400
    assert decoded(reply)["message"].removeprefix("Body validation error!\n").startswith(message)


@pytest.mark.parametrize("model", [GOOGLE, M2])
def test_some_vendors_truncate_long_texts_silently(model: str) -> None:
    """Text after the last token that fits does not change the vector."""
    limit = 2048 if model == GOOGLE else 32_768
    fits = "some " * limit
    assert vectors(post(model, fits + "more")) == vectors(post(model, fits + "else"))


def test_google_refuses_long_texts_with_auto_truncate_false() -> None:
    """`auto_truncate` false turns the truncation into a 400."""
    assert answer(post(GOOGLE, "word " * 2049, auto_truncate=False)).status == 400


def test_lenient_serves_unknown_models_and_checks_everything_else() -> None:
    assert answer(post("of-tomorrow"), strict=False).status == 200
    assert answer(post("of-tomorrow", dimensions=0), strict=False).status == 400
    assert answer(post(SMALL, dimensions=0), strict=False).status == 400
    assert answer(post(QWEN, ["a"] * 11), strict=False).status == 400


def test_withdrawn_models_are_not_found_by_any_name() -> None:
    """An alias of the model gets the same 404."""
    for name in (QWEN, "text-embedding-v3"):
        assert answer(post(name), withdrawn={QWEN}).status == 404


UNAUTHORIZED = [
    ({}, "This request requires a valid API key."),
    ({"authorization": "Basic abc"}, "This request requires a valid API key."),
    ({"authorization": "Bearer k-revoked"}, "This request requires a valid API key."),
    ({"authorization": "Bearer "}, "You provided an empty string instead of valid API key."),
]


@pytest.mark.parametrize(("headers", "message"), UNAUTHORIZED)
def test_a_bad_key_is_refused(headers: Mapping[str, str], message: str) -> None:
    """The gateway answers 401 with two messages, Nugen 403 with one."""
    reply = answer(post(SMALL)._replace(headers=headers))
    assert reply.status == 401
    assert decoded(reply)["message"].startswith(message)
    nugen = answer(post(FLASH)._replace(headers=headers))
    detail = "Could not validate credentials. Reason: API key not found"
    assert (nugen.status, decoded(nugen)) == (403, {"detail": detail})


def test_error_bodies_have_the_newest_or_the_documented_shape() -> None:
    """Both shapes carry the same message and request id."""
    broke = post(SMALL, key="k-broke")
    newest, documented = answer(broke), answer(broke, error_shape="documented")
    assert newest.headers["content-type"] == "application/problem+json; charset=utf-8"
    body = decoded(newest)
    assert body["requestId"] == newest.headers["x-request-id"]
    assert (body["status"], body["title"]) == (403, "Forbidden")
    assert body["error"] == {"name": "ForbiddenException", "message": body["message"]}
    assert decoded(documented) == {
        "message": body["message"],
        "path": GATEWAY,
        "requestId": body["requestId"],
        "statusCode": "403",
        "timestamp": body["timestamp"],
    }


def test_nugen_names_the_wrong_part_of_a_body() -> None:
    """A 422 has FastAPI's list of details."""
    reply = answer(post(FLASH, ["a", 3]))
    [problem] = decoded(reply)["detail"]
    assert (reply.status, problem["loc"]) == (422, ["body", "input", 1])
    assert answer(post(SMALL, path=NUGEN)).status == 422


PATHS = [(GATEWAY, 200), ("/embeddings", 200), ("/v2/embeddings", 200), ("/v1/chat", 404)]


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_each_documented_path_is_served(path: str, status: int) -> None:
    """Any other path is not found; the body is that of the provider whose path is similar."""
    assert answer(post(SMALL, path=path)).status == status


def test_unknown_paths_and_methods_are_not_found() -> None:
    """The 404 below Nugen's path has Nugen's body."""
    assert decoded(answer(post(FLASH, path="/api/v3/other"))) == {"detail": "Not Found"}
    assert answer(post(SMALL)._replace(method="GET")).status == 404


@pytest.mark.parametrize(("body", "field"), [(b"{", "body"), (b"[]", "body"), (b"{}", "model")])
def test_a_body_without_model_and_input_is_refused(body: bytes, field: str) -> None:
    """Invalid JSON, another type and missing fields get a 400."""
    reply = answer(post(SMALL)._replace(body=body))
    assert reply.status == 400
    assert decoded(reply)["message"].split("\n")[1].startswith(field)
