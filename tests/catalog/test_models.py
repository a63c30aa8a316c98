"""Finding the model, provider and family for the names a caller gives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, supported_models
from aimlapi_embeddings._catalog.families import FAMILIES, MODELS, Model
from aimlapi_embeddings._catalog.models import (
    did_you_mean,
    find_model,
    find_provider,
    names,
    one_of,
)
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._protocol.options import describe_sizes
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

AIMLAPI, NUGEN = PROVIDERS["aimlapi"], PROVIDERS["nugen"]
GOOGLE, NOW = "text-multilingual-embedding-002", "text-embedding-3-small"
RETIRED = "textembedding-gecko@003"


def refused(check: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return the message of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def row(id: str) -> Model:
    return next(model for model in MODELS if id in names(model))


@pytest.mark.parametrize(
    ("model", "provider", "found"),
    [
        (NOW, None, AIMLAPI),
        (f"google/{GOOGLE}", None, AIMLAPI),
        ("nugen-flash-embed", None, NUGEN),
        ("of-tomorrow", None, AIMLAPI),
        ("of-tomorrow", "nugen", NUGEN),
        (NOW, "nugen", NUGEN),
    ],
)
def test_the_provider_is_the_given_one_else_that_of_the_model(
    model: str, provider: str | None, found: object
) -> None:
    assert find_provider(model, provider) is found


def test_an_unknown_provider_is_refused_with_the_nearest_name() -> None:
    said = "provider='aiml' is not one of 'aimlapi', 'nugen'; did you mean 'aimlapi'?"
    assert refused(find_provider, NOW, "aiml") == said


@pytest.mark.parametrize(
    ("name", "model"),
    [(name, model) for model in MODELS if not model.retired for name in names(model)],
)
def test_a_model_is_found_by_its_id_and_by_each_alias_without_a_warning(
    name: str, model: Model
) -> None:
    assert find_model(name, PROVIDERS[model.family.provider], None) is model


@pytest.mark.parametrize("model", ["", "  ", None, 5, b"voyage-2", ["voyage-2"]])
def test_a_missing_model_id_is_refused(model: Any) -> None:
    assert "There is no default" in refused(find_model, model, AIMLAPI, None)


@pytest.mark.parametrize("retired", [model for model in MODELS if model.retired])
def test_a_retired_model_warns_with_its_date_and_its_successor(
    retired: Model,
) -> None:
    with pytest.warns(
        UserWarning, match=f"on {retired.retired}; it may still be served.* is {retired.successor};"
    ) as seen:
        assert find_model(retired.id, AIMLAPI, None) is retired
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("model", "provider", "nearest", "family"),
    [
        ("text-embedding-3-smal", AIMLAPI, NOW, "generic"),
        ("google/text-multilingual-embedding-003", AIMLAPI, f"google/{GOOGLE}", "generic"),
        ("nugen-flash-embed-2", NUGEN, "nugen-flash-embed", "nugen"),
    ],
)
def test_an_unknown_model_warns_once_and_gets_the_generic_rules_of_its_provider(
    model: str, provider: Any, nearest: str, family: str
) -> None:
    with pytest.warns(UserWarning, match=rf"Did you mean {nearest}\?") as seen:
        found = find_model(model, provider, None)
    assert len(seen) == 1
    assert (found.id, found.family.name) == (model, family)


@pytest.mark.parametrize(
    ("family", "texts", "sizes"),
    [
        ("google", 250, "any positive integer"),
        ("openai", 2048, "any positive integer"),
        ("qwen", 10, "any positive integer"),
        ("nugen", 100, "any positive integer"),
        ("generic", 100, "any positive integer"),
        ("voyage", 1000, ""),
        ("bge", 100, ""),
        ("m2-bert", 100, ""),
    ],
)
def test_family_gives_an_unknown_model_its_rules_and_limits_without_a_warning(
    family: str, texts: int, sizes: str
) -> None:
    found = find_model("of-tomorrow", AIMLAPI, family)
    assert (found.family, found.max_texts_per_request) == (FAMILIES[family], texts)
    assert (describe_sizes(found), found.native_dimensions, found.aliases) == (sizes, None, ())


def test_family_may_repeat_the_family_of_a_known_model() -> None:
    assert find_model(NOW, AIMLAPI, "openai") is row(NOW)


def test_a_family_that_contradicts_the_model_is_refused() -> None:
    said = refused(find_model, NOW, AIMLAPI, "google")
    assert said.endswith("which is of the family 'openai'. Leave family out.")


def test_an_unknown_family_is_refused_with_the_nearest_name() -> None:
    said = refused(find_model, "of-tomorrow", AIMLAPI, "gogle")
    assert said.endswith("did you mean 'google'?")


@pytest.mark.parametrize("value", [None, 5, [], "x", ""])
def test_a_value_that_is_no_choice_is_refused_with_the_choices(value: Any) -> None:
    assert refused(one_of, "what", value, ("a", "b")) == f"what={value!r} is not one of 'a', 'b'."


def test_a_name_is_suggested_only_when_it_is_near() -> None:
    choices = ("documents", "queries")
    assert did_you_mean("document", choices) == "; did you mean 'documents'?"
    assert did_you_mean("vectors", choices) == "."


def test_an_unknown_model_that_is_like_no_other_gets_the_list() -> None:
    with pytest.warns(UserWarning, match=r"Known ids are nugen-flash-embed, qwen3-embedding-8b\."):
        find_model("zzzzzz", NUGEN, None)


@pytest.mark.parametrize(
    ("model", "provider", "other"),
    [(NOW, NUGEN, "aimlapi"), ("nugen-flash-embed", AIMLAPI, "nugen")],
)
def test_a_model_of_the_other_provider_is_refused_unless_it_gets_rules(
    model: str, provider: Any, other: str
) -> None:
    said = refused(find_model, model, provider, None)
    assert said == (
        f"model={model!r} is a model of {other} and not of {provider.name}: use provider={other!r}."
    )
    assert find_model(model, provider, "generic").family is FAMILIES["generic"]


def test_supported_models_lists_the_whole_table() -> None:
    assert supported_models() == MODELS


OF_THE_GATEWAY: dict[str, Callable[[str], object]] = {
    "core": lambda model: EmbeddingsClient(model=model, api_key="k"),
    "langchain": lambda model: AIMLAPIEmbeddings(model=model, api_key="k"),
    "llama-index": lambda model: AIMLAPIEmbedding(model_name=model, api_key="k"),
}
OF_NUGEN: dict[str, Callable[[str], object]] = {
    "langchain nugen": lambda model: NugenEmbeddings(model=model, api_key="k"),
    "llama-index nugen": lambda model: NugenEmbedding(model_name=model, api_key="k"),
}


@pytest.mark.parametrize(
    ("build", "model"),
    [
        *[
            (build, model)
            for build in OF_THE_GATEWAY.values()
            for model in (RETIRED, "of-tomorrow")
        ],
        *[(build, "of-tomorrow") for build in OF_NUGEN.values()],
    ],
)
def test_a_warning_is_issued_once_for_the_line_that_built_the_client(
    build: Callable[[str], object], model: str
) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        build(model)
    line = build.__code__.co_firstlineno
    assert [(warning.filename, warning.lineno) for warning in seen] == [(__file__, line)]


def test_a_notebook_shows_the_models_as_a_table() -> None:
    shown = supported_models()._repr_html_()
    assert shown.count("<tr>") == len(MODELS) + 1
    for row in MODELS:
        assert f"<td>{row.id}</td><td>{row.family.name}</td>" in shown
    assert "<td>2,048</td>" in shown


@pytest.mark.parametrize("model", [" text-embedding-3-small", "text-embedding-3-small ", " mine "])
def test_a_model_with_blanks_around_it_is_refused_and_not_taken_for_an_unknown_one(
    model: str,
) -> None:
    with pytest.raises(ConfigurationError, match=f"blanks around it: write '{model.strip()}'"):
        EmbeddingsClient(model=model, api_key="unused-key")
