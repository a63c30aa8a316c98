"""Role, task type, prefixes and titles in the bodies that are sent, for each family."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, TaskType
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint

BGE = "BAAI/bge-base-en-v1.5"
BGE_INSTRUCTION = "Represent this sentence for searching relevant passages: "
VOYAGE = "voyage-2"
QWEN = "alibaba/qwen-text-embedding-v3"
M2_BERT = "togethercomputer/m2-bert-80M-32k-retrieval"

pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")


def test_google_documents_and_queries_carry_their_task_type(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE).documents(["a", "b"])
    entry_point.query("q")
    assert [(request.method, request.path) for request in entry_point.fake_server.requests] == [
        ("POST", "/v1/embeddings")
    ] * 2
    assert [request.body for request in entry_point.fake_server.requests] == [
        b'{"model":"%s","input":["a","b"],"task_type":"RETRIEVAL_DOCUMENT"}' % GOOGLE.encode(),
        b'{"model":"%s","input":["q"],"task_type":"RETRIEVAL_QUERY"}' % GOOGLE.encode(),
    ]


@pytest.mark.parametrize(
    ("task_type", "document", "query"),
    [
        (None, "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("RETRIEVAL_DOCUMENT", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY"),
        ("CLASSIFICATION", "CLASSIFICATION", "CLASSIFICATION"),
        ("clustering", "CLUSTERING", "CLUSTERING"),
        (TaskType.QUESTION_ANSWERING, "RETRIEVAL_DOCUMENT", "QUESTION_ANSWERING"),
        ("FACT_VERIFICATION", "RETRIEVAL_DOCUMENT", "FACT_VERIFICATION"),
        ("NONE", None, None),
    ],
)
def test_each_task_type_sends_its_pair_of_values(
    entry_point: EntryPoint, task_type: str | None, document: str | None, query: str | None
) -> None:
    entry_point.make(GOOGLE, task_type=task_type)
    entry_point.documents(["a"])
    entry_point.query("q")
    assert [body.get("task_type") for body in entry_point.fake_server.bodies] == [document, query]


@pytest.mark.parametrize(
    ("model", "document", "query"),
    [
        (OPENAI, {"input": ["a"]}, {"input": ["q"]}),
        (VOYAGE, {"input": ["a"], "input_type": "document"}, {"input": ["q"]}),
        (BGE, {"input": ["a"]}, {"input": [BGE_INSTRUCTION + "q"]}),
        (M2_BERT, {"input": ["a"]}, {"input": ["q"]}),
        (QWEN, {"input": ["a"]}, {"input": ["q"]}),
    ],
)
def test_each_family_gets_its_own_role_fields_and_prefix(
    entry_point: EntryPoint, model: str, document: dict[str, Any], query: dict[str, Any]
) -> None:
    entry_point.make(model).documents(["a"])
    entry_point.query("q")
    encoding = {"encoding_format": "base64"} if model == OPENAI else {}
    assert entry_point.fake_server.bodies == [
        {"model": model, **document, **encoding},
        {"model": model, **query, **encoding},
    ]


def test_nugen_gets_neither_role_nor_prefix_at_its_own_path(entry_point: EntryPoint) -> None:
    entry_point.make("nugen-flash-embed", provider="nugen", dimensions=8).documents(["a"])
    entry_point.query("q")
    assert {request.path for request in entry_point.fake_server.requests} == {
        "/api/v3/inference/embeddings"
    }
    assert entry_point.fake_server.bodies == [
        {"model": "nugen-flash-embed", "input": ["a"], "dimensions": 8},
        {"model": "nugen-flash-embed", "input": ["q"], "dimensions": 8},
    ]


@pytest.mark.parametrize("model", [GOOGLE, BGE])
def test_task_type_none_sends_neither_role_nor_prefix(entry_point: EntryPoint, model: str) -> None:
    entry_point.make(model, task_type="NONE").documents(["a"])
    entry_point.query("q")
    assert entry_point.fake_server.bodies == [
        {"model": model, "input": ["a"]},
        {"model": model, "input": ["q"]},
    ]


def test_prefixes_of_the_user_precede_the_texts(entry_point: EntryPoint) -> None:
    entry_point.make(BGE, query_prefix="query: ", document_prefix="passage: ").documents(["a"])
    entry_point.query("q")
    assert entry_point.fake_server.inputs == [["passage: a"], ["query: q"]]


def test_an_empty_prefix_removes_that_of_the_family(entry_point: EntryPoint) -> None:
    entry_point.make(BGE, query_prefix="").query("q")
    assert entry_point.fake_server.inputs == [["q"]]


def test_prefixes_with_task_type_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="leave out query_prefix"):
        EmbeddingsClient(model=GOOGLE, api_key="k", task_type="NONE", query_prefix="q: ")


@pytest.mark.parametrize("model", [OPENAI, VOYAGE, BGE, QWEN])
def test_a_task_type_is_refused_for_a_family_without_task_types(
    entry_point: EntryPoint, model: str
) -> None:
    with pytest.raises(ValueError, match=r"has no\s+task types; google has"):
        entry_point.make(model, task_type="CLUSTERING")
    assert entry_point.fake_server.requests == []


def test_family_gives_an_unknown_id_its_rules(entry_point: EntryPoint) -> None:
    entry_point.fake_server.answer = lambda request: _lenient(request)
    entry_point.make("text-embedding-005", family="google").documents(["a"])
    entry_point.query("q")
    assert [body["task_type"] for body in entry_point.fake_server.bodies] == [
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
    ]


def _lenient(request: Any) -> Any:
    from aimlapi_embeddings import emulator

    return emulator.answer(request, strict=False)


def test_titles_are_sent_with_their_documents(fake_server: Any, mode: Any) -> None:
    entry_point = EntryPoint("langchain", mode, fake_server).make(GOOGLE)
    vectors = entry_point.documents(["a", "b", "c"], titles=["One", None, "One"])
    assert [(body.get("title"), body["input"]) for body in fake_server.bodies] in (
        [("One", ["a", "c"]), (None, ["b"])],
        [(None, ["b"]), ("One", ["a", "c"])],
    )
    alone = EntryPoint("langchain", mode, fake_server).make(GOOGLE).documents(["c"], titles=["One"])
    assert vectors[2] == alone[0]


@pytest.mark.parametrize(
    ("model", "options", "titles", "said"),
    [
        (OPENAI, {}, ["T"], "family 'openai'"),
        (GOOGLE, {"task_type": "CLUSTERING"}, ["T"], "embedded for retrieval"),
        (GOOGLE, {}, ["T", "U"], "each of the 1 texts"),
        (GOOGLE, {}, "T", "each of the 1 texts"),
        (GOOGLE, {}, [""], "titles\\[0\\] is empty"),
    ],
)
def test_titles_that_cannot_be_sent_are_refused_before_any_request(
    fake_server: Any, mode: Any, model: str, options: dict[str, Any], titles: Any, said: str
) -> None:
    entry_point = EntryPoint("langchain", mode, fake_server).make(model, **options)
    with pytest.raises(ValueError, match=said):
        entry_point.documents(["a"], titles=titles)
    assert fake_server.requests == []


@pytest.mark.parametrize(
    ("too_long", "sent"),
    [(None, {}), ("error", {"auto_truncate": False}), ("truncate", {"auto_truncate": True})],
)
def test_too_long_sets_the_field_of_google(
    entry_point: EntryPoint, too_long: str | None, sent: dict[str, bool]
) -> None:
    entry_point.make(GOOGLE, too_long=too_long).documents(["a"])
    entry_point.query("q")
    for body in entry_point.fake_server.bodies:
        assert {name: value for name, value in body.items() if name == "auto_truncate"} == sent


@pytest.mark.parametrize("model", [OPENAI, VOYAGE, M2_BERT, QWEN, BGE])
@pytest.mark.parametrize("too_long", ["error", "truncate"])
def test_too_long_sends_no_field_to_a_family_that_has_none(
    entry_point: EntryPoint, model: str, too_long: str
) -> None:
    for options in ({}, {"too_long": too_long}):
        entry_point.make(model, **options).documents(["a"])
    first, second = entry_point.fake_server.bodies
    assert first == second


def test_the_task_type_of_a_call_overrides_that_of_the_client(fake_server: Any, mode: Any) -> None:
    entry_point = EntryPoint("core", mode, fake_server).make(GOOGLE, task_type="CLUSTERING")
    entry_point.documents(["a"], task_type="CLASSIFICATION")
    entry_point.documents(["a"])
    assert [body["task_type"] for body in fake_server.bodies] == ["CLASSIFICATION", "CLUSTERING"]
