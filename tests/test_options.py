"""Which model is meant, and do the options fit it and each other?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, TaskType
from aimlapi_embeddings._families import FAMILIES, MODELS, Model
from aimlapi_embeddings._models import find_model, find_provider, names
from aimlapi_embeddings._options import (
    check_dimensions,
    check_encoding_format,
    check_task_type,
    check_too_long,
    describe_sizes,
)
from aimlapi_embeddings._providers import PROVIDERS
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

AIMLAPI, NUGEN = PROVIDERS["aimlapi"], PROVIDERS["nugen"]
GOOGLE, NOW = "text-multilingual-embedding-002", "text-embedding-3-small"
RETIRED = "textembedding-gecko@003"


def refused(check: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return what the refusal says."""
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
def test_the_provider_is_taken_as_given_else_from_the_model(
    model: str, provider: str | None, found: object
) -> None:
    assert find_provider(model, provider) is found


def test_a_provider_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
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
def test_without_a_model_id_there_is_no_default(model: Any) -> None:
    assert "There is no default" in refused(find_model, model, AIMLAPI, None)


@pytest.mark.parametrize("retired", [model for model in MODELS if model.retired])
def test_a_retired_model_is_kept_but_warns_with_its_date_and_a_living_neighbour(
    retired: Model,
) -> None:
    with pytest.warns(UserWarning, match=f"on {retired.retired} .*is {retired.successor}") as seen:
        assert find_model(retired.id, AIMLAPI, None) is retired
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("model", "provider", "nearest", "family"),
    [
        ("text-embedding-3-smal", AIMLAPI, NOW, "generic"),
        ("google/text-multilingual-embedding-003", AIMLAPI, f"google/{GOOGLE}", "generic"),
        ("nugen-flash-embed-2", NUGEN, "nugen-flash-embed", "nugen"),
        (NOW, NUGEN, "qwen3-embedding-8b", "nugen"),
    ],
)
def test_an_unknown_model_warns_once_and_gets_the_providers_plain_rules(
    model: str, provider: Any, nearest: str, family: str
) -> None:
    with pytest.warns(UserWarning, match=f"nearest known id is {nearest}") as seen:
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
def test_a_family_gives_an_unknown_model_its_rules_and_limits_without_a_warning(
    family: str, texts: int, sizes: str
) -> None:
    found = find_model("of-tomorrow", AIMLAPI, family)
    assert (found.family, found.max_texts_per_request) == (FAMILIES[family], texts)
    assert (describe_sizes(found), found.native_dimensions, found.aliases) == (sizes, None, ())


def test_the_family_of_a_known_model_may_be_named() -> None:
    assert find_model(NOW, AIMLAPI, "openai") is row(NOW)


def test_a_family_that_contradicts_the_model_is_refused() -> None:
    said = refused(find_model, NOW, AIMLAPI, "google")
    assert said.endswith("which is of the family 'openai'. Leave family out.")


def test_a_family_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    said = refused(find_model, "of-tomorrow", AIMLAPI, "gogle")
    assert said.endswith("did you mean 'google'?")


@pytest.mark.parametrize("model", [RETIRED, "of-tomorrow"])
@pytest.mark.parametrize(
    "build",
    [
        lambda model: EmbeddingsClient(model=model, api_key="k"),
        lambda model: AIMLAPIEmbeddings(model=model, api_key="k"),
        lambda model: AIMLAPIEmbedding(model_name=model, api_key="k"),
        lambda model: NugenEmbeddings(model=model, api_key="k"),
        lambda model: NugenEmbedding(model_name=model, api_key="k"),
    ],
    ids=["core", "langchain", "llama-index", "langchain nugen", "llama-index nugen"],
)
def test_a_warning_comes_once_and_points_at_the_line_that_built_the_client(
    build: Callable[[str], object], model: str
) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        build(model)
    line = build.__code__.co_firstlineno
    assert [(warning.filename, warning.lineno) for warning in seen] == [(__file__, line)]


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [
        (NOW, 1), (NOW, 1536), ("voyage-2", None), ("text-embedding-v4", 2048),
        ("nugen-flash-embed", 2**31 - 1), (GOOGLE, 768),
    ],
)  # fmt: skip
def test_a_size_of_the_model_may_be_asked_for(model: str, dimensions: int | None) -> None:
    assert check_dimensions(row(model), dimensions) == dimensions


@pytest.mark.parametrize(
    ("model", "dimensions", "remedy"),
    [
        (NOW, 0, f"dimensions=0 is not a size of {NOW}, which takes 1 to 1536."),
        (NOW, 1537, "which takes 1 to 1536."),
        (NOW, -1, "which takes 1 to 1536."),
        (NOW, True, "dimensions=True is not a size"),
        (NOW, 256.0, "dimensions=256.0 is not a size"),
        (NOW, "256", "dimensions='256' is not a size"),
        ("text-embedding-v3", 100, "which takes 64, 128, 256, 512, 768, 1024."),
        ("nugen-flash-embed", 0, "which takes any positive integer."),
        ("voyage-2", 1024, "voyage-2 gives vectors of 1024 only; dimensions=1024 cannot be asked"),
        ("text-embedding-ada-002", 512, "gives vectors of 1536 only;"),
    ],
)
def test_a_size_the_model_does_not_have_is_refused_with_those_it_has(
    model: str, dimensions: Any, remedy: str
) -> None:
    assert remedy in refused(check_dimensions, row(model), dimensions)


@pytest.mark.parametrize("task", [*TaskType, "clustering", "none"])
def test_google_takes_every_task_type_in_any_case(task: str) -> None:
    assert check_task_type(FAMILIES["google"], task) == task.upper()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_family_can_be_told_to_send_no_role(family: Any) -> None:
    assert check_task_type(family, "NONE") is TaskType.NONE
    assert check_task_type(family, None) is None


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"google"}))
def test_a_task_type_asked_of_a_family_without_any_is_refused_with_who_has_it(family: str) -> None:
    said = refused(check_task_type, FAMILIES[family], "clustering")
    assert said.startswith(f"task_type='CLUSTERING' cannot be asked of the family {family!r}")
    assert said.endswith("google has. Leave it out, or use 'NONE' to send no role at all.")


@pytest.mark.parametrize(
    ("task", "meant"),
    [
        ("cluster", "CLUSTERING"),
        ("RETRIEVAL_DOC", "RETRIEVAL_DOCUMENT"),
        (5, ""),
        ([], ""),
        ("", ""),
    ],
)
def test_a_task_type_that_does_not_exist_is_refused_with_the_nearest_name(
    task: Any, meant: str
) -> None:
    said = refused(check_task_type, FAMILIES["google"], task)
    assert said.startswith(f"task_type={task!r} does not exist; did you mean '{meant}")


@pytest.mark.parametrize(
    ("family", "asked", "sent"),
    [
        ("openai", "auto", "base64"), ("openai", "float", "float"), ("openai", "base64", "base64"),
        ("generic", "auto", None), ("generic", "base64", "base64"),
        ("google", "auto", None), ("nugen", "auto", None),
    ],
)  # fmt: skip
def test_the_encoding_format_is_what_the_family_documents_unless_told_otherwise(
    family: str, asked: str, sent: str | None
) -> None:
    assert check_encoding_format(FAMILIES[family], asked) == sent


@pytest.mark.parametrize("asked", ["float", "base64"])
@pytest.mark.parametrize("family", ["google", "voyage", "bge", "m2-bert", "qwen", "nugen"])
def test_an_encoding_format_asked_of_a_family_without_the_field_is_refused(
    family: str, asked: str
) -> None:
    said = refused(check_encoding_format, FAMILIES[family], asked)
    assert said.endswith(f"{family!r}, which has no such field. Leave it at 'auto'.")


def test_an_encoding_format_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    said = refused(check_encoding_format, FAMILIES["openai"], "base-64")
    assert said.endswith("is not one of 'auto', 'float', 'base64'; did you mean 'base64'?")


@pytest.mark.parametrize(
    ("too_long", "able"), [("error", "google, openai, bge, qwen"), ("truncate", "google")]
)
def test_too_long_asked_of_a_family_that_cannot_is_refused_with_those_that_can(
    too_long: str, able: str
) -> None:
    said = refused(check_too_long, FAMILIES["nugen"], too_long)
    assert said.startswith(f"too_long={too_long!r} cannot be asked of the family 'nugen'; {able} ")


@pytest.mark.parametrize("too_long", ["error", "truncate", None])
def test_google_takes_every_value_of_too_long(too_long: str | None) -> None:
    assert check_too_long(FAMILIES["google"], too_long) == too_long


def test_a_value_of_too_long_that_does_not_exist_is_refused_with_the_nearest() -> None:
    said = refused(check_too_long, FAMILIES["google"], "cut")
    assert said.startswith("too_long='cut' is not one of 'error', 'truncate'; did you mean")
