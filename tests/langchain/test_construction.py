"""LangChain: its names for the options, and what becomes of them afterwards."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest
from langchain_core.embeddings import Embeddings
from pydantic import SecretStr, ValidationError

from aimlapi_embeddings import ConfigurationError
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer

NUGEN = "nugen-flash-embed"
ELSEWHERE = "http://127.0.0.1:9"


@pytest.fixture
def embeddings(fake_server: FakeServer) -> AIMLAPIEmbeddings:
    embedder: AIMLAPIEmbeddings = EntryPoint("langchain", "sync", fake_server).make().embedder
    return embedder


@pytest.mark.parametrize(
    ("cls", "short", "full", "value"),
    [
        (AIMLAPIEmbeddings, "api_key", "aimlapi_api_key", SecretStr(KEY)),
        (AIMLAPIEmbeddings, "base_url", "aimlapi_api_base", ELSEWHERE),
        (AIMLAPIEmbeddings, "timeout", "request_timeout", 7.0),
        (AIMLAPIEmbeddings, "batch_size", "chunk_size", 7),
        (NugenEmbeddings, "api_key", "nugen_api_key", SecretStr(KEY)),
        (NugenEmbeddings, "base_url", "nugen_api_base", ELSEWHERE),
    ],
)
def test_an_argument_goes_by_its_short_and_by_its_full_name(
    cls: type[Any], short: str, full: str, value: Any
) -> None:
    model = GOOGLE if cls is AIMLAPIEmbeddings else NUGEN
    common = {"model": model} | ({} if short == "api_key" else {"api_key": KEY})
    assert getattr(cls(**common, **{short: value}), full) == value
    assert getattr(cls(**common, **{full: value}), full) == value


@pytest.mark.parametrize("cls", [AIMLAPIEmbeddings, NugenEmbeddings])
def test_each_provider_reads_its_own_variables(
    cls: type[Any], fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ("AIMLAPI", "NUGEN") if cls is AIMLAPIEmbeddings else ("NUGEN", "AIMLAPI")
    model = GOOGLE if cls is AIMLAPIEmbeddings else NUGEN
    for variable, value in {
        f"{ours}_API_KEY": KEY,
        f"{ours}_API_BASE": ELSEWHERE,
        f"{theirs}_API_KEY": "a key of the other provider",
        f"{theirs}_API_BASE": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(variable, value)
    common = {
        "model": model,
        "http_client": httpx.Client(transport=httpx.MockTransport(fake_server)),
    }
    cls(**common).embed_query("q")
    cls(**common, api_key="given", base_url="http://127.0.0.2").embed_query("q")
    assert [(r.headers["host"], r.headers["authorization"]) for r in fake_server.requests] == [
        ("127.0.0.1:9", f"Bearer {KEY}"),
        ("127.0.0.2", "Bearer given"),
    ]


@pytest.mark.parametrize(
    ("cls", "variable"),
    [(AIMLAPIEmbeddings, "AIMLAPI_API_KEY"), (NugenEmbeddings, "NUGEN_API_KEY")],
)
@pytest.mark.parametrize("key", [None, ""])
def test_a_missing_key_is_an_error_that_names_the_variable(
    cls: type[Any], variable: str, key: str | None
) -> None:
    with pytest.raises(ValidationError, match=f"no API key: set {variable}"):
        cls(model=GOOGLE if cls is AIMLAPIEmbeddings else NUGEN, api_key=key)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": GOOGLE, "apikey": KEY}, "no argument 'apikey'; did you mean 'api_key'?"),
        ({"model": GOOGLE, "api_key": KEY, "dimension": 8}, "did you mean 'dimensions'?"),
        ({"model_name": GOOGLE, "api_key": KEY}, "no argument 'model_name'"),
        ({"api_key": KEY}, "model\n  Field required"),
        (
            {"model": GOOGLE, "api_key": KEY, "aimlapi_api_key": KEY},
            "'aimlapi_api_key' and 'api_key' are names of one argument",
        ),
        (
            {"model": GOOGLE, "api_key": KEY, "chunk_size": 1, "batch_size": 1},
            "'chunk_size' and 'batch_size' are names of one argument",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name_and_never_by_value(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        AIMLAPIEmbeddings(**arguments)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("sync", "native"),
    [("embed_documents", "aembed_documents"), ("embed_query", "aembed_query")],
)
def test_async_methods_are_twins_of_the_sync_ones(sync: str, native: str) -> None:
    twin = getattr(AIMLAPIEmbeddings, native)
    assert inspect.signature(twin) == inspect.signature(getattr(AIMLAPIEmbeddings, sync))
    assert inspect.iscoroutinefunction(twin)
    assert twin is not getattr(Embeddings, native), "that one runs the sync method in a thread"


def test_an_assigned_field_takes_effect(
    embeddings: AIMLAPIEmbeddings, fake_server: FakeServer
) -> None:
    embeddings.dimensions = 8
    embeddings.model_kwargs["auto_truncate"] = True
    assert len(embeddings.embed_query("q")) == 8
    assert fake_server.bodies[0]["auto_truncate"] is True


def test_an_assignment_that_changes_nothing_keeps_the_client(embeddings: AIMLAPIEmbeddings) -> None:
    client = embeddings.client
    embeddings.show_progress_bar = True
    embeddings.dimensions = embeddings.dimensions
    embeddings.aimlapi_api_key = SecretStr(KEY)
    assert embeddings.client is client
    embeddings.max_retries = 1
    assert embeddings.client is not client


@pytest.mark.parametrize("name", ["dimension", "base_url"])
def test_assigning_to_a_name_that_is_no_field_is_refused(
    embeddings: AIMLAPIEmbeddings, name: str
) -> None:
    with pytest.raises(ValidationError, match=name):
        setattr(embeddings, name, ELSEWHERE)


def test_nothing_is_sent_between_a_refused_assignment_and_a_good_one(
    embeddings: AIMLAPIEmbeddings, fake_server: FakeServer
) -> None:
    with pytest.raises(ValidationError, match="not a size"):
        embeddings.dimensions = 100_000
    with pytest.raises(ConfigurationError, match="not a size"):
        embeddings.embed_query("q")
    assert fake_server.requests == []
    embeddings.dimensions = 8
    assert len(embeddings.embed_query("q")) == 8


def test_a_changed_copy_embeds_with_the_change(embeddings: AIMLAPIEmbeddings) -> None:
    smaller = embeddings.model_copy(update={"dimensions": 8})
    assert (len(smaller.embed_query("q")), len(embeddings.embed_query("q"))) == (8, 768)
