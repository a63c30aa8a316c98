"""`cache_namespace` differs exactly if an option can change the vector of a text."""

from __future__ import annotations

import inspect
import re
import warnings
from itertools import combinations
from typing import Any

import pytest

from aimlapi_embeddings import EmbeddingsClient, Model, supported_models
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from tests.support.entry_points import GOOGLE, KEY, OPENAI

DIFFERENT: list[dict[str, Any]] = [
    {},
    {"model": "text-embedding-3-large"},
    {"model": OPENAI},
    {"model": OPENAI, "encoding_format": "float"},
    {"dimensions": 256},
    {"task_type": "SEMANTIC_SIMILARITY"},
    {"task_type": "QUESTION_ANSWERING"},
    {"task_type": "NONE"},
    {"document_prefix": "passage: "},
    {"query_prefix": "passage: "},
    {"too_long": "truncate"},
    {"model": OPENAI, "too_long": "truncate"},
    {"normalize": True},
    {"extra_body": {"user": "someone"}},
    {"model": "of-tomorrow", "family": "google"},
    {"model": "of-tomorrow", "family": "voyage"},
    {"base_url": "https://elsewhere.example/v1"},
    {"provider": "nugen", "model": "nugen-flash-embed"},
]
SAME: list[dict[str, Any]] = [
    {"api_key": "sk-another"},
    {"task_type": "RETRIEVAL_DOCUMENT"},
    {"batch_size": 3, "max_concurrency": 2, "max_retries": 0, "timeout": 3.0},
    {"max_retry_wait": 1.0, "retry_for": 600.0, "max_usd": 1.0, "max_tokens": 1000},
    {"requests_per_minute": 60, "tokens_per_minute": 60_000},
    {"headers": {"X-Team": "search"}, "allow_http": True},
    {"base_url": "https://api.aimlapi.com/v1"},
]
# Objects that a request passes through, or whose vectors stand for one.
CARRIERS = {"rate_limiter", "cache", "http_client", "async_http_client"}


def namespace(**options: Any) -> str:
    return EmbeddingsClient(**{"model": GOOGLE, "api_key": KEY, **options}).cache_namespace


def test_an_option_that_changes_the_vectors_changes_the_namespace() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert namespace(**one) != namespace(**other), (one, other)


@pytest.mark.parametrize("options", SAME, ids=lambda options: ",".join(options))
def test_an_option_that_does_not_change_the_vectors_keeps_the_namespace(
    options: dict[str, Any],
) -> None:
    assert namespace(**options) == namespace()


def test_each_option_is_tried_above() -> None:
    """So a new option cannot be forgotten in the namespace."""
    tried = set().union(CARRIERS, *DIFFERENT, *SAME)
    assert tried == inspect.signature(EmbeddingsClient).parameters.keys()


def test_a_namespace_starts_with_its_model_and_is_a_valid_file_name() -> None:
    with pytest.warns(UserWarning, match="not a model this version knows"):
        name = namespace(model="someone/a-model:v2")
    assert re.fullmatch(r"someone-a-model-v2-[0-9a-f]{24}", name)


@pytest.mark.parametrize("model", supported_models(), ids=lambda model: model.id)
def test_the_ids_of_one_model_share_a_namespace(model: Model) -> None:
    options = {"provider": model.family.provider}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some have left the list
        names = {namespace(model=name, **options) for name in (model.id, *model.aliases)}
    assert len(names) == 1


def test_a_namespace_does_not_hold_the_values_of_options() -> None:
    plain = namespace(extra_body={"user": "hunter2"}, base_url="https://hunter2.example/v1")
    assert "hunter2" not in plain
    assert KEY not in plain


def test_adapters_have_the_namespace_of_their_client() -> None:
    ours = AIMLAPIEmbeddings(model=GOOGLE, api_key=KEY, task_type="CLUSTERING")
    assert ours.cache_namespace == namespace(task_type="CLUSTERING")
    nugen = NugenEmbeddings(model="nugen-flash-embed", api_key=KEY, dimensions=64)
    assert nugen.cache_namespace == namespace(
        model="nugen-flash-embed", provider="nugen", dimensions=64
    )
