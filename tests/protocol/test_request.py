"""The JSON body for family, role, options and texts, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, TaskType, supported_models
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.request import build_body, check_titles, length_of, role_fields

GOOGLE, OPENAI, VOYAGE = "text-multilingual-embedding-002", "text-embedding-3-small", "voyage-2"
BGE, QWEN, NUGEN = "BAAI/bge-base-en-v1.5", "alibaba/qwen-text-embedding-v3", "nugen-flash-embed"
M2_2K, M2_32K = (f"togethercomputer/m2-bert-80M-{size}-retrieval" for size in ("2k", "32k"))
INSTRUCTION = "Represent this sentence for searching relevant passages: "


def options(id: str, **changes: Any) -> Options:
    """Make the options of a client for this model."""
    [model] = [model for model in supported_models() if id in (model.id, *model.aliases)]
    defaults: dict[str, Any] = {"extra_body": {}, "batch_size": model.max_texts_per_request}
    provider = PROVIDERS[model.family.provider]
    return Options(id=id, model=model, provider=provider, **{**defaults, **changes})


def body(id: str, texts: list[str], role: Any = "document", **changes: Any) -> str:
    """Write the body that this model gets for texts of a role."""
    title, encoding_format = changes.pop("title", None), changes.pop("encoding_format", None)
    chosen = options(id, **changes)
    fields = role_fields(chosen, role, None).fields
    return build_body(chosen, fields, texts, title, encoding_format).decode()


ROLES: list[tuple[str, str, dict[str, str], str]] = [  # model, role, fields, prefix
    (GOOGLE, "document", {"task_type": "RETRIEVAL_DOCUMENT"}, ""),
    (GOOGLE, "query", {"task_type": "RETRIEVAL_QUERY"}, ""),
    (VOYAGE, "document", {"input_type": "document"}, ""),
    (VOYAGE, "query", {}, ""),
    (BGE, "document", {}, ""),
    (BGE, "query", {}, INSTRUCTION),
    *[(id, role, {}, "") for id in (OPENAI, QWEN, NUGEN, M2_32K) for role in ("document", "query")],
]


@pytest.mark.parametrize(("id", "role", "fields", "prefix"), ROLES)
def test_a_role_becomes_the_fields_and_prefix_of_the_family(
    id: str, role: Any, fields: dict[str, str], prefix: str
) -> None:
    assert role_fields(options(id), role, None) == (fields, prefix)


@pytest.mark.parametrize(("id", "role"), [(id, role) for id, role, _, _ in ROLES])
def test_task_type_none_sends_neither_role_nor_prefix(id: str, role: Any) -> None:
    mine = {"document_prefix": "d: ", "query_prefix": "q: "}
    assert role_fields(options(id, **mine), role, "none") == ({}, "")
    assert role_fields(options(id, task_type=TaskType.NONE), role, None) == ({}, "")


@pytest.mark.parametrize(
    ("of_client", "of_call", "document", "query"),
    [
        ("CLUSTERING", None, "CLUSTERING", "CLUSTERING"),
        (None, "clustering", "CLUSTERING", "CLUSTERING"),
        ("CLUSTERING", "QUESTION_ANSWERING", "RETRIEVAL_DOCUMENT", "QUESTION_ANSWERING"),
        (None, "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("NONE", "RETRIEVAL_DOCUMENT", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ],
)
def test_the_task_type_of_a_call_overrides_that_of_the_client(
    of_client: str | None, of_call: str | None, document: str, query: str
) -> None:
    google = options(GOOGLE, task_type=of_client and TaskType(of_client))
    assert role_fields(google, "document", of_call).fields == {"task_type": document}
    assert role_fields(google, "query", of_call).fields == {"task_type": query}


def test_a_task_type_that_the_family_lacks_is_refused_in_a_call() -> None:
    with pytest.raises(ConfigurationError, match="is not possible for the family 'voyage'"):
        role_fields(options(VOYAGE), "document", "CLUSTERING")


@pytest.mark.parametrize("role", ["documents", "Query", "", None, 1])
def test_an_unknown_role_is_refused(role: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is neither 'document' nor 'query'\."):
        role_fields(options(OPENAI), role, None)


@pytest.mark.parametrize(
    ("id", "role", "prefix"),
    [
        (BGE, "query", "q: "),
        (BGE, "document", "d: "),
        (GOOGLE, "query", "q: "),
        (BGE, "query", ""),
    ],
)
def test_a_prefix_of_the_user_replaces_that_of_the_family(id: str, role: Any, prefix: str) -> None:
    mine = {f"{role}_prefix": prefix}
    assert role_fields(options(id, **mine), role, None).prefix == prefix


BODIES = [
    (GOOGLE, {}, '"input":["a","b"],"task_type":"RETRIEVAL_DOCUMENT"'),
    (GOOGLE, {"role": "query"}, '"input":["a","b"],"task_type":"RETRIEVAL_QUERY"'),
    (
        GOOGLE,
        {"title": "T", "dimensions": 64, "too_long": "error"},
        '"input":["a","b"],"task_type":"RETRIEVAL_DOCUMENT","auto_truncate":false,"title":"T",'
        '"dimensions":64',
    ),
    (GOOGLE, {"task_type": TaskType.NONE, "too_long": "truncate"},
     '"input":["a","b"],"auto_truncate":true'),
    (OPENAI, {}, '"input":["a","b"]'),
    (
        OPENAI,
        {"dimensions": 64, "encoding_format": "base64", "too_long": "error"},
        '"input":["a","b"],"dimensions":64,"encoding_format":"base64"',
    ),
    (VOYAGE, {}, '"input":["a","b"],"input_type":"document"'),
    (VOYAGE, {"role": "query"}, '"input":["a","b"]'),
    (BGE, {"role": "query"}, '"input":["a","b"]'),
    (QWEN, {"dimensions": 1024}, '"input":["a","b"],"dimensions":1024'),
    (NUGEN, {"dimensions": 123}, '"input":["a","b"],"dimensions":123'),
    (OPENAI, {"extra_body": {"user": "u", "x": [1, None]}},
     '"input":["a","b"],"user":"u","x":[1,null]'),
]  # fmt: skip


@pytest.mark.parametrize(("id", "changes", "rest"), BODIES)
def test_a_body_has_only_the_fields_of_the_family_in_a_fixed_order(
    id: str, changes: dict[str, Any], rest: str
) -> None:
    assert body(id, ["a", "b"], **changes) == f'{{"model":"{id}",{rest}}}'


def test_a_field_of_extra_body_replaces_ours_at_its_place() -> None:
    extra = {"dimensions": 7, "encoding_format": "float"}
    changes = {"dimensions": 64, "encoding_format": "base64", "extra_body": extra}
    assert body(OPENAI, ["a"], **changes) == (
        f'{{"model":"{OPENAI}","input":["a"],"dimensions":7,"encoding_format":"float"}}'
    )


def test_the_model_is_sent_as_the_user_spells_it() -> None:
    assert json.loads(body("openai/text-embedding-3-small", ["a"]))["model"] == (
        "openai/text-embedding-3-small"
    )


@pytest.mark.parametrize(
    ("id", "texts", "sent"),
    [
        (OPENAI, ["a"], ["a"]),
        (M2_32K, ["a"], ["a"]),
        (M2_2K, ["a"], "a"),
        (VOYAGE, ["a" * 800], ["a" * 800]),
        (VOYAGE, ["a" * 801], "a" * 801),
        (VOYAGE, ["a", "b"], ["a", "b"]),
    ],
    ids=["openai", "m2 32k", "m2 2k", "voyage at the cap", "voyage above it", "voyage, two texts"],
)
def test_an_input_is_a_string_only_where_an_array_would_be_refused(
    id: str, texts: list[str], sent: list[str] | str
) -> None:
    assert json.loads(body(id, texts))["input"] == sent


@given(st.lists(st.text(min_size=1), min_size=1))
def test_any_text_is_sent_unchanged(texts: list[str]) -> None:
    assert json.loads(body(OPENAI, texts))["input"] == texts


@given(st.text(min_size=1))
def test_a_body_is_utf_8_without_escapes_beyond_ascii(text: str) -> None:
    written = body(OPENAI, [text])
    assert all(character in written for character in text if ord(character) > 127)


def test_titles_are_sent_in_the_field_of_the_family() -> None:
    assert check_titles(options(GOOGLE), role_fields(options(GOOGLE), "document", None)) == "title"


@pytest.mark.parametrize("id", [OPENAI, VOYAGE, BGE, QWEN, NUGEN, M2_32K])
def test_titles_are_refused_for_a_family_without_the_field(id: str) -> None:
    with pytest.raises(ConfigurationError, match=r"to the family '.*'; leave them out"):
        check_titles(options(id), role_fields(options(id), "document", None))


@pytest.mark.parametrize(
    ("role", "task_type"),
    [("query", None), ("document", "CLUSTERING"), ("document", "NONE"), ("query", "NONE")],
)
def test_titles_are_refused_with_another_role_or_task_type(
    role: Any, task_type: str | None
) -> None:
    google = options(GOOGLE)
    with pytest.raises(ConfigurationError, match="documents that are embedded for retrieval"):
        check_titles(google, role_fields(google, role, task_type))


@pytest.mark.parametrize("task_type", ["QUESTION_ANSWERING", "FACT_VERIFICATION"])
def test_titles_are_accepted_for_documents_of_retrieval_tasks(task_type: str) -> None:
    google = options(GOOGLE)
    assert check_titles(google, role_fields(google, "document", task_type)) == "title"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_length_of_a_text_is_counted_in_utf_16_code_units(text: str) -> None:
    assert length_of(text) == sum(1 + (letter > "\uffff") for letter in text)


@pytest.mark.parametrize(
    ("text", "shape"),
    [("a" * 800, list), ("a" * 801, str), ("\U0001f600" * 400, list), ("\U0001f600" * 401, str)],
)
def test_a_text_too_long_for_an_array_is_sent_as_a_string(text: str, shape: type) -> None:
    assert type(json.loads(build_body(options(VOYAGE), {}, [text]))["input"]) is shape


@pytest.mark.parametrize("id", [VOYAGE, OPENAI, GOOGLE])
def test_a_single_text_can_be_sent_as_a_string(id: str) -> None:
    assert json.loads(build_body(options(id), {}, ["a"], alone=True))["input"] == "a"
    assert json.loads(build_body(options(id), {}, ["a", "b"], alone=True))["input"] == ["a", "b"]
