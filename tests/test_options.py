"""Which model is meant, and do the options fit it and each other?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, TaskType
from aimlapi_embeddings._families import FAMILIES, MODELS, Model
from aimlapi_embeddings._options import (
    check_dimensions,
    check_encoding_format,
    check_integer,
    check_seconds,
    check_task_type,
    describe_sizes,
    endpoint,
    find_model,
    find_provider,
    names,
    one_of,
)
from aimlapi_embeddings._providers import PROVIDERS
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

FUZZ = settings(deadline=None, max_examples=100)
AIMLAPI, NUGEN = PROVIDERS["aimlapi"], PROVIDERS["nugen"]
NOW, RETIRED = "text-embedding-3-small", "textembedding-gecko@003"


def refused(check: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return what the refusal says."""
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments, **options)
    return str(caught.value)


def row(id: str) -> Model:
    return next(model for model in MODELS if id in names(model))


# --- which provider and which model


@pytest.mark.parametrize(
    ("model", "provider", "found"),
    [
        (NOW, None, AIMLAPI),
        ("google/text-multilingual-embedding-002", None, AIMLAPI),
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
        ("google/text-multilingual-embedding-003", AIMLAPI, "google/text-multilingual-embe", None),
        ("nugen-flash-embed-2", NUGEN, "nugen-flash-embed", "nugen"),
        (NOW, NUGEN, "qwen3-embedding-8b", "nugen"),
    ],
)
def test_an_unknown_model_warns_once_and_gets_the_providers_plain_rules(
    model: str, provider: Any, nearest: str, family: str | None
) -> None:
    with pytest.warns(UserWarning, match=f"nearest known id is {nearest}") as seen:
        found = find_model(model, provider, None)
    assert len(seen) == 1
    assert (found.id, found.family.name) == (model, family or "generic")


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


# --- options that do not fit the model


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [
        (NOW, 1), (NOW, 1536), ("voyage-2", None), ("text-embedding-v4", 2048),
        ("nugen-flash-embed", 2**31 - 1), ("text-multilingual-embedding-002", 768),
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


@pytest.mark.parametrize("value", [None, 5, [], "x", ""])
def test_whatever_is_not_a_choice_is_refused_with_the_choices(value: Any) -> None:
    assert "is not one of 'a', 'b'; did you mean" in refused(one_of, "what", value, ("a", "b"))


# --- numbers


@pytest.mark.parametrize("value", [0, -1, True, False, 1.0, "1", None, math.nan, math.inf, [1]])
def test_what_is_no_integer_of_the_least_size_is_refused_by_name(value: Any) -> None:
    said = f"batch_size={value!r} is not an integer of 1 or more."
    assert refused(check_integer, "batch_size", value, 1) == said


@pytest.mark.parametrize(("value", "least"), [(1, 1), (0, 0), (10**30, 1)])
def test_integers_of_the_least_size_or_more_are_taken(value: int, least: int) -> None:
    assert check_integer("max_retries", value, least) == value


NO_SECONDS = [-1, -0.5, True, False, math.nan, math.inf, -math.inf, "60", None, [], 10**400]


@pytest.mark.parametrize("allow_zero", [False, True])
@pytest.mark.parametrize("value", NO_SECONDS)
def test_what_is_no_number_of_seconds_is_refused_by_name(value: Any, allow_zero: bool) -> None:
    said = refused(check_seconds, "timeout", value, allow_zero=allow_zero)
    assert said == f"timeout={value!r} is not a positive number of seconds."


def test_no_seconds_at_all_are_only_taken_where_that_makes_sense() -> None:
    assert check_seconds("max_retry_wait", 0, allow_zero=True) == 0.0
    assert refused(check_seconds, "timeout", 0)


@FUZZ
@given(st.integers(1, 10**9) | st.floats(0, 1e9, exclude_min=True))
def test_positive_seconds_are_taken_as_a_float(value: float) -> None:
    assert (check_seconds("timeout", value), type(check_seconds("timeout", value))) == (
        value,
        float,
    )


# --- the URL of the endpoint


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.aimlapi.com/v1", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/embeddings", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v1/embeddings/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/v2", "https://api.aimlapi.com/v2/embeddings"),
        ("https://api.aimlapi.com", "https://api.aimlapi.com/v1/embeddings"),
        ("https://api.aimlapi.com/", "https://api.aimlapi.com/v1/embeddings"),
        ("https://proxy:8443?tenant=7", "https://proxy:8443/v1/embeddings?tenant=7"),
        ("https://proxy/ai/v1?a=1&b=2", "https://proxy/ai/v1/embeddings?a=1&b=2"),
        ("https://proxy/v1/embeddings?a=1#top", "https://proxy/v1/embeddings?a=1"),
        ("https://proxy/my-embeddings", "https://proxy/my-embeddings/embeddings"),
        ("HTTPS://PROXY/V1", "https://PROXY/V1/embeddings"),
        (" https://proxy/v1 \n", "https://proxy/v1/embeddings"),
        ("https://[2001:db8::1]:8443/v1", "https://[2001:db8::1]:8443/v1/embeddings"),
        ("https://bücher.example/v1", "https://bücher.example/v1/embeddings"),
    ],
)
def test_the_endpoint_is_put_below_the_path_of_the_base_url(base_url: str, url: str) -> None:
    assert endpoint(AIMLAPI, base_url, allow_http=False) == url


def test_a_host_alone_gets_the_path_of_its_provider() -> None:
    url = endpoint(NUGEN, "https://api.nugen.in", allow_http=False)
    assert url == "https://api.nugen.in/api/v3/inference/embeddings"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:80", "a.localhost", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000"],
)
def test_http_to_this_machine_needs_no_leave(host: str) -> None:
    assert endpoint(AIMLAPI, f"http://{host}", allow_http=False) == f"http://{host}/v1/embeddings"


@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "0.0.0.0", "[2001:db8::1]", "localhost.example.com"]
)
def test_http_to_another_machine_is_refused_unless_allowed(host: str) -> None:
    said = refused(endpoint, AIMLAPI, f"http://{host}/v1", allow_http=False)
    assert said.endswith("Use https, or allow it by name with allow_http=True.")
    url = endpoint(AIMLAPI, f"http://{host}/v1", allow_http=True)
    assert url == f"http://{host}/v1/embeddings"


@pytest.mark.parametrize(
    "base_url",
    ["https://me:hunter2@h/v1", "http://me:hunter2@h", "https://hunter2@h", "https://:hunter2@h",
     "ftp://me:hunter2@h", "https://me:hunter2@h:port"],
)  # fmt: skip
def test_a_name_or_password_in_the_base_url_is_refused_and_not_repeated(base_url: str) -> None:
    said = refused(endpoint, AIMLAPI, base_url, allow_http=True)
    assert "pass api_key instead" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "base_url",
    ["", " ", "api.aimlapi.com", "api.aimlapi.com/v1", "/v1", "ftp://h/v1", "https://", "https:///v1",
     "https://:443", "https://h:port", "https://h:99999", "https://[::1", "https://a b/v1",
     "https://h\\v1", "https://?x=1", 5, None, b"https://h/v1", ["https://h"]],
)  # fmt: skip
def test_what_is_no_url_is_refused_with_the_usual_one(base_url: Any) -> None:
    said = refused(endpoint, AIMLAPI, base_url, allow_http=True)
    assert said.endswith("is not an http(s) URL; the usual one is 'https://api.aimlapi.com/v1'.")


BASE_URLS = st.builds(
    "https://{}{}{}{}".format,
    st.from_regex(r"[a-z][a-z0-9-]{0,9}(\.[a-z]{2,5})?", fullmatch=True),
    st.sampled_from(["", ":1", ":8443"]),
    st.from_regex(r"(/[a-z0-9~.-]{1,8}){0,3}/?", fullmatch=True),
    st.from_regex(r"(\?[a-z0-9=&%/]{1,12})?", fullmatch=True),
)


@FUZZ
@given(BASE_URLS)
def test_host_path_and_query_of_any_base_url_are_kept(base_url: str) -> None:
    before, after = (urlsplit(u) for u in (base_url, endpoint(AIMLAPI, base_url, allow_http=False)))
    assert (after.scheme, after.netloc, after.query) == ("https", before.netloc, before.query)
    path = before.path.rstrip("/") or "/v1"
    assert after.path == (path if path.endswith("/embeddings") else path + "/embeddings")


@FUZZ
@given(BASE_URLS)
def test_an_endpoint_is_its_own_endpoint(base_url: str) -> None:
    url = endpoint(AIMLAPI, base_url, allow_http=False)
    assert endpoint(AIMLAPI, url, allow_http=False) == url


@FUZZ
@given(st.sampled_from(["", "http://", "https://", "https://["]), st.text(max_size=20))
def test_any_text_is_an_endpoint_the_key_may_go_to_or_is_refused(scheme: str, text: str) -> None:
    try:
        url = urlsplit(endpoint(AIMLAPI, scheme + text, allow_http=False))
    except ConfigurationError:
        return
    assert (url.scheme, bool(url.hostname), "@" in url.netloc) == ("https", True, False)
