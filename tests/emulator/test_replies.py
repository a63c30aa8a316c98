"""Replies of the emulator: their shape, cost and vectors."""

from __future__ import annotations

import base64
import inspect
import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings.emulator import Reply, Request, answer, faults

SMALL, LARGE, ADA = (
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
)
GOOGLE, VOYAGE, BGE = "text-multilingual-embedding-002", "voyage-law-2", "BAAI/bge-base-en-v1.5"
M2 = "togethercomputer/m2-bert-80M-32k-retrieval"
QWEN, QWEN_V4 = "alibaba/qwen-text-embedding-v3", "alibaba/qwen-text-embedding-v4"
FLASH, QWEN3 = "nugen-flash-embed", "qwen3-embedding-8b"

SENTENCE = "Laura is a DJ."


def post(model: str, text: object = SENTENCE, **options: object) -> Request:
    """Build a request to the provider of the model."""
    path = "/api/v3/inference/embeddings" if model in (FLASH, QWEN3) else "/v1/embeddings"
    body = json.dumps({"model": model, "input": text, **options}).encode()
    return Request("POST", path, {"authorization": "Bearer k"}, body)


def decoded(reply: Reply) -> Any:
    """Decode the JSON body of a reply."""
    return json.loads(reply.body)


def vectors(request: Request) -> list[Any]:
    """Return the vectors of a request that must succeed."""
    reply = answer(request)
    assert reply.status == 200, reply.body
    return [item["embedding"] for item in decoded(reply)["data"]]


USAGE = [
    (SMALL, SMALL, {"prompt_tokens": 5, "total_tokens": 5}),
    (ADA, "text-embedding-ada-002-v2", {"prompt_tokens": 5, "total_tokens": 5}),
    (VOYAGE, VOYAGE, {"prompt_tokens": None, "total_tokens": 5}),
    (GOOGLE, GOOGLE, {"prompt_tokens": 11, "total_tokens": 11}),
    (QWEN, "text-embedding-v3", {"prompt_tokens": 5, "total_tokens": 5}),
    (QWEN_V4, "text-embedding-v4", {"prompt_tokens": 5, "total_tokens": 5}),
    (M2, M2, None),
    (FLASH, FLASH, {"total_tokens": 5}),
]


@pytest.mark.parametrize(("model", "echo", "usage"), USAGE)
def test_each_model_echoes_its_name_and_usage_like_its_sample(
    model: str, echo: str, usage: Mapping[str, object] | None
) -> None:
    """The echoed names and usage are those of the published samples."""
    body = decoded(answer(post(model)))
    assert (body["model"], body["usage"]) == (echo, usage)


def test_each_model_has_the_extra_fields_of_its_sample() -> None:
    """Ids, `meta` and other fields appear exactly where the samples have them."""
    plain = {"object", "data", "model", "usage"}
    fields = {model: set(decoded(answer(post(model)))) - plain for model in (SMALL, "voyage-2")}
    assert fields == {SMALL: {"meta"}, "voyage-2": set()}
    bge = decoded(answer(post(BGE)))
    assert bge["id"].startswith("embd-")
    assert isinstance(bge["created"], int)
    assert bge["usage"]["prompt_tokens_details"] is None
    assert len(decoded(answer(post(QWEN)))["id"]) == 36
    flash, qwen3 = (decoded(answer(post(model))) for model in (FLASH, QWEN3))
    assert (flash["object"], qwen3["object"]) == ("embedding", "list")
    assert isinstance(flash["created"], float)
    assert qwen3["data"][0]["raw_output"] is None


def test_cost_comes_in_meta_and_in_headers_of_the_gateway_only() -> None:
    """Both give the same figures; Nugen gives none."""
    reply = answer(post(LARGE))
    assert decoded(reply)["meta"]["usage"] == {"credits_used": 2, "usd_spent": 0.000001}
    assert reply.headers["x-aimlapi-credits-used"] == "2"
    assert reply.headers["x-aimlapi-usd-spent"] == "0.000001000"
    assert list(answer(post(FLASH)).headers) == ["content-type"]


# Credits of the published samples, and tokens of ours for the same sentence.
CREDITS = [(SMALL, 1), (LARGE, 2), (ADA, 2), (VOYAGE, 2), (GOOGLE, 1), (QWEN, 1), (BGE, 1), (M2, 1)]


@pytest.mark.parametrize(("model", "used"), CREDITS)
def test_a_short_sentence_costs_the_credits_of_its_sample(model: str, used: int) -> None:
    assert decoded(answer(post(model)))["meta"]["usage"]["credits_used"] == used


def test_the_cost_grows_with_the_tokens_as_the_price_says() -> None:
    reply = answer(post(SMALL, ["word " * 1000] * 10))
    assert decoded(reply)["usage"]["total_tokens"] == 10_000
    assert decoded(reply)["meta"]["usage"] == {"credits_used": 520, "usd_spent": 0.00026}


ANSWERED = [
    (SMALL, "openai/text-embedding-3-small", "openai"),
    ("openai/text-embedding-3-small", "openai/text-embedding-3-small", "openai"),
    (VOYAGE, "anthropic/voyage-law-2", "anthropic"),
    (GOOGLE, "google/text-multilingual-embedding-002", "google"),
    ("textembedding-gecko@003", "google/textembedding-gecko@003", "google"),
    ("text-embedding-v4", QWEN_V4, "alibaba"),
    (BGE, BGE, "BAAI"),
    (M2, M2, "togethercomputer"),
]


@pytest.mark.parametrize(("asked", "model", "provider"), ANSWERED)
def test_meta_and_headers_name_the_model_and_the_provider_that_answered(
    asked: str, model: str, provider: str
) -> None:
    reply = answer(post(asked))
    meta = decoded(reply)["meta"]
    assert list(meta) == ["model", "provider", "usage"]
    assert (meta["model"], meta["provider"]) == (model, provider)
    assert reply.headers["x-aimlapi-model"] == model
    assert reply.headers["x-aimlapi-provider"] == provider


def test_headers_name_the_model_where_the_reply_has_no_meta() -> None:
    reply = answer(post("voyage-2"))
    assert "meta" not in decoded(reply)
    assert reply.headers["x-aimlapi-model"] == "anthropic/voyage-2"


def test_the_test_model_answers_with_the_requested_credits_or_status() -> None:
    """A request can set credits and error status."""
    model = "test/dummy-embeddings"
    paid = answer(post(model, test={"credits": 7}))
    assert paid.headers["x-aimlapi-credits-used"] == "7"
    assert answer(post(model, test={"errorStatus": 503})).status == 503


NORMS = [(SMALL, 1, 1e-6), (M2, 1.471446861, 1e-6), (FLASH, 1, 1e-3), (QWEN3, 26.3, 1)]


@pytest.mark.parametrize(("model", "norm", "tolerance"), NORMS)
def test_vectors_have_the_norms_of_the_samples(model: str, norm: float, tolerance: float) -> None:
    """Not every model gives unit vectors."""
    assert math.hypot(*vectors(post(model))[0]) == pytest.approx(norm, abs=tolerance)


def test_base64_carries_the_same_float32_numbers() -> None:
    """Both encodings decode to the same vector."""
    [numbers], [text] = (vectors(post(SMALL, encoding_format=f)) for f in ("float", "base64"))
    assert list(struct.unpack("<1536f", base64.b64decode(text))) == numbers


def test_only_a_valid_client_request_id_is_echoed() -> None:
    """An invalid one is ignored."""
    for sent, echoed in (("job-7:a", True), ("no spaces", False), ("x" * 129, False)):
        request = post(SMALL)
        headers = {**request.headers, "x-client-request-id": sent}
        reply = answer(request._replace(headers=headers))
        assert (reply.headers.get("x-client-request-id") == sent) is echoed


def cosine(a: list[float], b: list[float]) -> float:
    """Return the cosine of two unit vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True))


PLACES = [
    "The Eiffel Tower stands in Paris and was finished in 1889.",
    "Bread is baked from flour, water, salt and yeast in a hot oven.",
    "A heap queue pops the smallest item first and keeps the rest in order.",
    "Whales are mammals, though they live in the sea and look like fish.",
]


@pytest.mark.parametrize(
    ("question", "best"),
    [("Where is the Eiffel tower?", 0), ("how to bake a bread", 1), ("popping the smallest", 2)],
)
def test_the_text_that_shares_words_with_the_question_is_nearest(question: str, best: int) -> None:
    """Role, case and endings of words do not prevent it."""
    documents = vectors(post(GOOGLE, PLACES, task_type="RETRIEVAL_DOCUMENT"))
    [query] = vectors(post(GOOGLE, question, task_type="RETRIEVAL_QUERY"))
    scores = [cosine(query, document) for document in documents]
    assert scores.index(max(scores)) == best


ASIDES = [
    (GOOGLE, {"task_type": "RETRIEVAL_DOCUMENT"}),
    (GOOGLE, {"title": "Disc jockeys"}),
    (VOYAGE, {"input_type": "document"}),
]


@pytest.mark.parametrize(("model", "options"), ASIDES)
def test_role_and_title_change_a_vector_slightly(model: str, options: Mapping[str, object]) -> None:
    """The change is measurable, and texts keep their order."""
    [plain], [turned] = vectors(post(model)), vectors(post(model, **options))
    assert 0.9 < cosine(plain, turned) < 0.999


def test_the_instruction_of_bge_is_not_embedded_as_content() -> None:
    """A query with the instruction is near the bare text, but not equal."""
    instruction = "Represent this sentence for searching relevant passages: "
    bare, instructed = vectors(post(BGE, [SENTENCE, instruction + SENTENCE]))
    assert 0.99 < cosine(bare, instructed) < 0.999


@given(st.text(min_size=1, max_size=40), st.integers(1, 64))
def test_every_text_has_one_reproducible_unit_vector(text: str, dimensions: int) -> None:
    """This holds for emoji, spaces and lone surrogates too; no vector is all zeros."""
    request = post(SMALL, text, dimensions=dimensions)
    assert math.hypot(*vectors(request)[0]) == pytest.approx(1)
    assert answer(request) == answer(request)


def test_each_model_has_its_own_vectors() -> None:
    """The same text has another vector for another model."""
    [one], [other] = vectors(post("voyage-law-2")), vectors(post("voyage-finance-2"))
    assert abs(cosine(one, other)) < 0.5


def indexes(body: Any) -> list[int | None]:
    """Return the index of each vector."""
    return [item.get("index") for item in body["data"]]


RESHAPED: list[tuple[Callable[[Reply], Reply], Callable[[Any], bool]]] = [
    (faults.shuffled, lambda body: indexes(body) == [1, 0]),
    (faults.one_short, lambda body: indexes(body) == [0]),
    (faults.one_long, lambda body: indexes(body) == [0, 1, 2]),
    (faults.doubled_index, lambda body: indexes(body) == [0, 0]),
    (faults.without_index, lambda body: indexes(body) == [None, None]),
    (faults.without_usage, lambda body: body.keys() == {"object", "data", "model"}),
    (faults.null_embedding, lambda body: body["data"][1]["embedding"] is None),
    (faults.ragged, lambda body: len(body["data"][1]["embedding"]) == 2),
    (faults.with_nan, lambda body: math.isnan(body["data"][1]["embedding"][0])),
]


PAIR = post("emulated/x", ["a", "b"], dimensions=3)


@pytest.mark.parametrize(("reshape", "spoiled"), RESHAPED)
def test_each_fault_function_changes_a_valid_reply(
    reshape: Callable[[Reply], Reply], spoiled: Callable[[Any], bool]
) -> None:
    """Each function does what its name says."""
    assert spoiled(decoded(reshape(answer(PAIR))))


def test_fault_functions_keep_the_encoding_of_base64_replies() -> None:
    """The encoding stays, unless the fault changes it."""
    reply = answer(post("emulated/x", ["a", "b"], dimensions=3, encoding_format="base64"))
    short, nan, floats = (
        decoded(reshape(reply))["data"][1]["embedding"]
        for reshape in (faults.ragged, faults.with_nan, faults.as_floats)
    )
    assert (len(short), len(nan), len(floats)) == (12, 16, 3)
    assert nan.startswith("AADAfw")


def test_the_module_of_faults_lists_each_of_its_functions() -> None:
    functions = [
        name
        for name, value in vars(faults).items()
        if inspect.isfunction(value) and value.__module__ == faults.__name__ and name[0] != "_"
    ]
    assert faults.__all__ == sorted(functions)
