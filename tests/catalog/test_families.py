"""The tables of families and models are complete, consistent, and match their sources."""

from __future__ import annotations

from datetime import date
from itertools import chain

import pytest

from aimlapi_embeddings import TaskType
from aimlapi_embeddings._catalog.families import FAMILIES, MODELS, Family, Model
from aimlapi_embeddings._catalog.providers import PROVIDERS

M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
ANY = range(1, 2**31)
QWEN_V3 = (64, 128, 256, 512, 768, 1024)

# Every model that was ever served: id, family, size of its vectors, sizes that can be requested,
# texts and tokens per request, tokens per text, aliases.
SERVED = [
    ("text-embedding-3-small", "openai", 1536, range(1, 1537), 2048, 300_000, 8192),
    ("text-embedding-3-large", "openai", 3072, range(1, 3073), 2048, 300_000, 8192),
    ("text-embedding-ada-002", "openai", 1536, (), 2048, 300_000, 8192),
    ("voyage-2", "voyage", 1024, (), 1000, 320_000, 4_000),
    ("voyage-code-2", "voyage", 1536, (), 1000, 120_000, 16_000),
    ("voyage-large-2", "voyage", 1536, (), 1000, 120_000, 16_000),
    ("voyage-large-2-instruct", "voyage", 1024, (), 1000, 120_000, 16_000),
    ("voyage-law-2", "voyage", 1024, (), 1000, 120_000, 16_000),
    ("voyage-finance-2", "voyage", 1024, (), 1000, 120_000, 32_000),
    ("voyage-multilingual-2", "voyage", 1024, (), 1000, 120_000, 32_000),
    ("text-multilingual-embedding-002", "google", 768, range(1, 769), 250, 20_000, 2048),
    ("textembedding-gecko@001", "google", 768, range(1, 769), 5, None, 3072),
    ("textembedding-gecko@003", "google", 768, range(1, 769), 5, 20_000, 2048),
    ("textembedding-gecko-multilingual@001", "google", 768, range(1, 769), 5, 20_000, 2048),
    ("text-embedding-004", "google", 768, range(1, 769), 250, 20_000, 2048),
    ("BAAI/bge-base-en-v1.5", "bge", 768, (), 100, None, 512),
    ("BAAI/bge-large-en-v1.5", "bge", 1024, (), 100, None, 512),
    (M2.format("2k"), "m2-bert", 768, (), 1, None, 2048),
    (M2.format("8k"), "m2-bert", 768, (), 1, None, 8192),
    (M2.format("32k"), "m2-bert", 768, (), 100, None, 32_768),
    ("alibaba/qwen-text-embedding-v3", "qwen", 1024, QWEN_V3, 10, None, 8192),
    ("alibaba/qwen-text-embedding-v4", "qwen", 1024, (*QWEN_V3, 1536, 2048), 10, None, 8192),
    ("test/dummy-embeddings", "generic", None, range(1, 3073), 100, None, None),
    ("nugen-flash-embed", "nugen", 768, ANY, 100, None, None),
    ("qwen3-embedding-8b", "nugen", None, ANY, 100, None, None),
]
ALIASES = [
    ("openai/text-embedding-3-small", "text-embedding-3-small"),
    ("openai/text-embedding-3-large", "text-embedding-3-large"),
    ("openai/text-embedding-ada-002", "text-embedding-ada-002"),
    ("anthropic/voyage-2", "voyage-2"),
    ("anthropic/voyage-code-2", "voyage-code-2"),
    ("anthropic/voyage-large-2", "voyage-large-2"),
    ("anthropic/voyage-large-2-instruct", "voyage-large-2-instruct"),
    ("anthropic/voyage-law-2", "voyage-law-2"),
    ("anthropic/voyage-finance-2", "voyage-finance-2"),
    ("anthropic/voyage-multilingual-2", "voyage-multilingual-2"),
    ("google/text-multilingual-embedding-002", "text-multilingual-embedding-002"),
    ("alibaba/text-embedding-v3", "alibaba/qwen-text-embedding-v3"),
    ("text-embedding-v3", "alibaba/qwen-text-embedding-v3"),
    ("alibaba/text-embedding-v4", "alibaba/qwen-text-embedding-v4"),
    ("text-embedding-v4", "alibaba/qwen-text-embedding-v4"),
]
RETIRED = [
    ("textembedding-gecko@001", "2025-04-29"),
    (M2.format("2k"), "2025-06-23"),
    (M2.format("8k"), "2025-06-23"),
    ("textembedding-gecko@003", "2026-01-14"),
    ("textembedding-gecko-multilingual@001", "2026-01-14"),
    ("BAAI/bge-large-en-v1.5", "2026-02-12"),
    ("BAAI/bge-base-en-v1.5", "2026-03-30"),
    (M2.format("32k"), "2026-03-30"),
    ("text-embedding-004", "2026-09-16"),
]

PRICES = {  # US dollars per million tokens
    "text-embedding-3-small": 0.026,
    "text-embedding-3-large": 0.169,
    "text-embedding-ada-002": 0.13,
    "voyage-2": 0.13,
    "voyage-code-2": 0.156,
    "voyage-large-2": 0.156,
    "voyage-large-2-instruct": 0.156,
    "voyage-law-2": 0.156,
    "voyage-finance-2": 0.156,
    "voyage-multilingual-2": 0.156,
    "text-multilingual-embedding-002": 0.0325,
    "alibaba/qwen-text-embedding-v3": 0.091,
    "alibaba/qwen-text-embedding-v4": 0.091,
}

by_id = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
by_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)


def row(id: str) -> Model:
    [model] = [model for model in MODELS if model.id == id]
    return model


@pytest.mark.parametrize(
    ("id", "family", "native", "sizes", "texts", "tokens", "tokens_per_text"), SERVED
)
def test_every_served_model_has_the_figures_of_its_sources(
    id: str,
    family: str,
    native: int | None,
    sizes: range | tuple[int, ...],
    texts: int,
    tokens: int | None,
    tokens_per_text: int | None,
) -> None:
    model = row(id)
    assert (model.family.name, model.native_dimensions, model.dimensions) == (family, native, sizes)
    assert model.max_texts_per_request == texts
    assert model.max_tokens_per_request == tokens
    assert model.max_tokens_per_text == tokens_per_text


def test_the_table_lists_exactly_the_served_models() -> None:
    assert {model.id for model in MODELS} == {id for id, *_ in SERVED}


def test_the_aliases_are_those_that_were_served() -> None:
    known = {alias: model.id for model in MODELS for alias in model.aliases}
    assert known == dict(ALIASES)


def test_the_retired_models_are_those_that_left_the_list_on_their_date() -> None:
    assert {model.id: model.retired for model in MODELS if model.retired} == dict(RETIRED)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_two_models_of_a_provider_share_a_name(provider: str) -> None:
    rows = [model for model in MODELS if model.family.provider == provider]
    names = list(chain.from_iterable((model.id, *model.aliases) for model in rows))
    assert len(names) == len(set(names))


@by_id
def test_every_limit_is_positive(model: Model) -> None:
    limits = (
        model.max_texts_per_request,
        model.max_tokens_per_request,
        model.max_tokens_per_text,
        model.native_dimensions,
        *model.dimensions[:1],
    )
    assert all(limit > 0 for limit in limits if limit is not None)


@by_id
def test_a_model_without_arrays_takes_one_text_a_request(model: Model) -> None:
    assert model.takes_arrays is (model.max_texts_per_request > 1)


@by_id
def test_the_native_size_can_be_requested(model: Model) -> None:
    if model.dimensions and model.native_dimensions:
        assert model.native_dimensions in model.dimensions


@by_id
def test_a_model_has_a_successor_exactly_if_it_is_retired(model: Model) -> None:
    assert (model.retired is None) is (model.successor is None)


@pytest.mark.parametrize("id", [id for id, _ in RETIRED])
def test_a_successor_is_an_active_model_of_the_same_provider(id: str) -> None:
    successor = row(str(row(id).successor))
    assert successor.retired is None
    assert successor.family.provider == row(id).family.provider


@pytest.mark.parametrize("day", [day for _, day in RETIRED])
def test_a_retirement_date_is_an_iso_date(day: str) -> None:
    assert date.fromisoformat(day).isoformat() == day


def test_the_models_with_a_price_are_those_that_the_gateway_lists() -> None:
    prices = {model.id: model.usd_per_million_tokens for model in MODELS}
    assert {id: price for id, price in prices.items() if price is not None} == PRICES


@by_id
def test_every_model_belongs_to_a_listed_family(model: Model) -> None:
    assert FAMILIES[model.family.name] is model.family


@by_family
def test_every_family_names_a_source_and_a_known_provider(family: Family) -> None:
    assert family.source
    assert family.provider in PROVIDERS


@by_family
def test_the_defaults_of_a_family_are_values_that_it_takes(family: Family) -> None:
    assert family.auto_encoding_format in (None, *family.encoding_formats)


# family: field of the role, field of titles, values of encoding_format, the value for "auto",
# most characters of a text alone and in an array
FIELDS = {
    "google": ("task_type", "title", (), None, None, None),
    "openai": (None, None, ("float", "base64"), "base64", None, None),
    "voyage": ("input_type", None, (), None, 8000, 800),
    "bge": (None, None, (), None, None, None),
    "m2-bert": (None, None, (), None, None, None),
    "qwen": (None, None, (), None, None, None),
    "nugen": (None, None, (), None, None, None),
    "generic": (None, None, ("float", "base64"), None, None, None),
}


# family: what happens here to a text that is too long, by the values of `too_long`
HERE = {
    "google": {"error": None, "truncate": None},  # it has a field
    "openai": {"error": None, "truncate": "cut"},  # the server refuses by itself
    "voyage": {"error": "refuse", "truncate": "cut"},
    "bge": {"error": None, "truncate": "cut"},
    "m2-bert": {"error": "refuse", "truncate": "cut"},
    "qwen": {"error": None, "truncate": "cut"},
    "nugen": {"error": "refuse", "truncate": "cut"},
    "generic": {"error": "refuse", "truncate": "cut"},
}


def test_each_family_carries_out_every_choice_for_long_texts() -> None:
    carried = {
        name: {choice: rule.here for choice, rule in family.too_long.items()}
        for name, family in FAMILIES.items()
    }
    assert carried == HERE
    by_field = {name for name, f in FAMILIES.items() if any(r.fields for r in f.too_long.values())}
    assert by_field == {"google"}


def test_only_the_small_models_of_m2_bert_have_a_length_of_their_own() -> None:
    own = {model.id: model.max_chars_alone for model in MODELS if model.max_chars_alone}
    assert own == {M2.format("2k"): 3000, M2.format("8k"): 3000}


def test_each_family_has_the_fields_that_the_schema_lists() -> None:
    assert {
        name: (
            family.role_field,
            family.title_field,
            family.encoding_formats,
            family.auto_encoding_format,
            family.max_chars_alone,
            family.max_chars_in_array,
        )
        for name, family in FAMILIES.items()
    } == FIELDS


GOOGLE_PAIRS = [  # task type, value for documents, value for queries
    (None, "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ("RETRIEVAL_DOCUMENT", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ("SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY"),
    ("CLASSIFICATION", "CLASSIFICATION", "CLASSIFICATION"),
    ("CLUSTERING", "CLUSTERING", "CLUSTERING"),
    ("QUESTION_ANSWERING", "RETRIEVAL_DOCUMENT", "QUESTION_ANSWERING"),
    ("FACT_VERIFICATION", "RETRIEVAL_DOCUMENT", "FACT_VERIFICATION"),
]


@pytest.mark.parametrize(("task", "document", "query"), GOOGLE_PAIRS)
def test_google_pairs_each_task_type_for_documents_and_queries(
    task: str | None, document: str, query: str
) -> None:
    key = None if task is None else TaskType(task)
    assert FAMILIES["google"].tasks[key] == {"document": document, "query": query}


def test_google_has_every_task_type_but_none() -> None:
    assert set(FAMILIES["google"].tasks) == {None, *TaskType} - {TaskType.NONE}


def test_voyage_sends_a_role_for_documents_only() -> None:
    assert FAMILIES["voyage"].tasks == {None: {"document": "document"}}


def test_only_bge_has_a_prefix_and_only_for_queries() -> None:
    assert {name: family.prefixes for name, family in FAMILIES.items() if family.prefixes} == {
        "bge": {"query": "Represent this sentence for searching relevant passages: "}
    }


def test_the_table_of_families_is_read_only() -> None:
    with pytest.raises(TypeError):
        FAMILIES["mine"] = FAMILIES["google"]  # type: ignore[index]
