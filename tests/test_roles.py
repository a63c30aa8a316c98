"""Law 3: the role reaches the wire, as each family wants it."""

from __future__ import annotations

from typing import Any

import pytest
from surfaces import GOOGLE, OPENAI, Surface

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, TaskType

BGE = "BAAI/bge-base-en-v1.5"
BGE_INSTRUCTION = "Represent this sentence for searching relevant passages: "
VOYAGE = "voyage-2"
QWEN = "alibaba/qwen-text-embedding-v3"
M2_BERT = "togethercomputer/m2-bert-80M-32k-retrieval"

pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")


def test_google_documents_and_queries_carry_their_task_type(surface: Surface) -> None:
    surface.make(GOOGLE).documents(["a", "b"])
    surface.query("q")
    assert [(request.method, request.path) for request in surface.wire.requests] == [
        ("POST", "/v1/embeddings")
    ] * 2
    assert [request.body for request in surface.wire.requests] == [
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
def test_each_task_type_picks_its_pair(
    surface: Surface, task_type: str | None, document: str | None, query: str | None
) -> None:
    surface.make(GOOGLE, task_type=task_type)
    surface.documents(["a"])
    surface.query("q")
    assert [body.get("task_type") for body in surface.wire.bodies] == [document, query]


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
def test_each_family_gets_its_own_conditioning(
    surface: Surface, model: str, document: dict[str, Any], query: dict[str, Any]
) -> None:
    surface.make(model).documents(["a"])
    surface.query("q")
    encoding = {"encoding_format": "base64"} if model == OPENAI else {}
    assert surface.wire.bodies == [
        {"model": model, **document, **encoding},
        {"model": model, **query, **encoding},
    ]


def test_nugen_gets_neither_role_nor_prefix_at_its_own_path(surface: Surface) -> None:
    surface.make("nugen-flash-embed", provider="nugen", dimensions=8).documents(["a"])
    surface.query("q")
    assert {request.path for request in surface.wire.requests} == {"/api/v3/inference/embeddings"}
    assert surface.wire.bodies == [
        {"model": "nugen-flash-embed", "input": ["a"], "dimensions": 8},
        {"model": "nugen-flash-embed", "input": ["q"], "dimensions": 8},
    ]


@pytest.mark.parametrize("model", [GOOGLE, BGE])
def test_none_sends_neither_role_nor_prefix(surface: Surface, model: str) -> None:
    surface.make(model, task_type="NONE").documents(["a"])
    surface.query("q")
    assert surface.wire.bodies == [
        {"model": model, "input": ["a"]},
        {"model": model, "input": ["q"]},
    ]


def test_prefixes_of_the_users_own_stand_in_front(surface: Surface) -> None:
    surface.make(BGE, query_prefix="query: ", document_prefix="passage: ").documents(["a"])
    surface.query("q")
    assert surface.wire.inputs == [["passage: a"], ["query: q"]]


def test_an_empty_prefix_takes_the_familys_prefix_away(surface: Surface) -> None:
    surface.make(BGE, query_prefix="").query("q")
    assert surface.wire.inputs == [["q"]]


def test_prefixes_beside_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="leave out query_prefix"):
        EmbeddingsClient(model=GOOGLE, api_key="k", task_type="NONE", query_prefix="q: ")


@pytest.mark.parametrize("model", [OPENAI, VOYAGE, BGE, QWEN])
def test_a_task_type_asked_of_a_family_without_is_refused(surface: Surface, model: str) -> None:
    with pytest.raises(ValueError, match=r"has no\s+task types; google has"):
        surface.make(model, task_type="CLUSTERING")
    assert surface.wire.requests == []


def test_a_family_named_for_an_unknown_id_lends_its_rules(surface: Surface) -> None:
    surface.wire.answer = lambda request: _lenient(request)
    surface.make("text-embedding-005", family="google").documents(["a"])
    surface.query("q")
    assert [body["task_type"] for body in surface.wire.bodies] == [
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
    ]


def _lenient(request: Any) -> Any:
    from aimlapi_embeddings import emulator

    return emulator.answer(request, strict=False)


def test_titles_travel_with_their_documents(wire: Any, colour: Any) -> None:
    surface = Surface("langchain", colour, wire).make(GOOGLE)
    vectors = surface.documents(["a", "b", "c"], titles=["One", None, "One"])
    assert [(body.get("title"), body["input"]) for body in wire.bodies] in (
        [("One", ["a", "c"]), (None, ["b"])],
        [(None, ["b"]), ("One", ["a", "c"])],
    )
    alone = Surface("langchain", colour, wire).make(GOOGLE).documents(["c"], titles=["One"])
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
    wire: Any, colour: Any, model: str, options: dict[str, Any], titles: Any, said: str
) -> None:
    surface = Surface("langchain", colour, wire).make(model, **options)
    with pytest.raises(ValueError, match=said):
        surface.documents(["a"], titles=titles)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("too_long", "sent"),
    [(None, {}), ("error", {"auto_truncate": False}), ("truncate", {"auto_truncate": True})],
)
def test_google_is_told_what_to_do_with_too_long_texts(
    surface: Surface, too_long: str | None, sent: dict[str, bool]
) -> None:
    surface.make(GOOGLE, too_long=too_long).documents(["a"])
    surface.query("q")
    for body in surface.wire.bodies:
        assert {name: value for name, value in body.items() if name == "auto_truncate"} == sent


@pytest.mark.parametrize("model", [OPENAI, VOYAGE, M2_BERT, QWEN, BGE])
def test_truncation_is_not_promised_where_it_cannot_be_asked_for(
    surface: Surface, model: str
) -> None:
    with pytest.raises(ValueError, match="too_long='truncate' cannot be asked"):
        surface.make(model, too_long="truncate")


def test_a_call_may_ask_for_another_task_type(wire: Any, colour: Any) -> None:
    surface = Surface("core", colour, wire).make(GOOGLE, task_type="CLUSTERING")
    surface.documents(["a"], task_type="CLASSIFICATION")
    surface.documents(["a"])
    assert [body["task_type"] for body in wire.bodies] == ["CLASSIFICATION", "CLUSTERING"]
