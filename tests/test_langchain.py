"""LangChain: its names for the options, and its methods in both colours."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import bars
import httpx
import pytest
from langchain_core.embeddings import Embeddings
from pydantic import SecretStr, ValidationError
from surfaces import GOOGLE, KEY, OPENAI, Clock, Colour, Surface, Wire

from aimlapi_embeddings import (
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    RateLimitError,
    emulator,
)
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings

NUGEN = "nugen-flash-embed"
ELSEWHERE = "http://127.0.0.1:9"


@pytest.fixture
def langchain(wire: Wire, colour: Colour) -> Surface:
    """LangChain's methods in both colours, on the fake wire."""
    return Surface("langchain", colour, wire)


@pytest.fixture
def embeddings(wire: Wire) -> AIMLAPIEmbeddings:
    embedder: AIMLAPIEmbeddings = Surface("langchain", "sync", wire).make().embedder
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
    cls: type[Any], wire: Wire, monkeypatch: pytest.MonkeyPatch
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
    common = {"model": model, "http_client": httpx.Client(transport=httpx.MockTransport(wire))}
    cls(**common).embed_query("q")
    cls(**common, api_key="given", base_url="http://127.0.0.2").embed_query("q")
    assert [(r.headers["host"], r.headers["authorization"]) for r in wire.requests] == [
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


# What the options do


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"dimensions": 8}, {"dimensions": 8}),
        ({"model_kwargs": {"auto_truncate": False}}, {"auto_truncate": False}),
        ({"too_long": "error"}, {"auto_truncate": False}),
        ({"task_type": "CLUSTERING"}, {"task_type": "CLUSTERING"}),
        ({"model": OPENAI, "encoding_format": "float"}, {"encoding_format": "float"}),
        ({"document_prefix": "passage: "}, {"input": ["passage: a"]}),
        ({"model": "text-embedding-005", "family": "google"}, {"task_type": "RETRIEVAL_DOCUMENT"}),
    ],
)
def test_options_shape_the_body(
    langchain: Surface, options: dict[str, Any], sent: dict[str, Any]
) -> None:
    wire = langchain.wire
    wire.answer = lambda request: emulator.answer(request, strict=False)
    langchain.make(**options).documents(["a"])
    assert {name: wire.bodies[0][name] for name in sent} == sent


def test_default_headers_travel_beside_ours(langchain: Surface) -> None:
    langchain.make(default_headers={"X-Team": "search"}).documents(["a"])
    headers = langchain.wire.requests[0].headers
    assert (headers["x-team"], headers["authorization"]) == ("search", f"Bearer {KEY}")


@pytest.mark.parametrize("name", ["chunk_size", "batch_size"])
def test_chunk_size_bounds_the_texts_of_a_request(langchain: Surface, name: str) -> None:
    langchain.make(**{name: 2}, max_concurrency=1).documents(list("abcde"))
    assert langchain.wire.inputs == [["a", "b"], ["c", "d"], ["e"]]


def test_max_retries_and_max_retry_wait_bound_the_attempts(
    langchain: Surface, clock: Clock
) -> None:
    wire = langchain.wire
    wire.will(*[emulator.Fault(500)] * 2, emulator.Fault(429, retry_after="9"))
    langchain.make(max_retries=1, max_retry_wait=8)
    with pytest.raises(InternalServerError):
        langchain.documents(["a"])
    with pytest.raises(RateLimitError):
        langchain.documents(["a"])
    assert len(wire.requests) == 3
    assert len(clock.waits) == 1


def test_timeout_bounds_the_wait_for_a_reply(colour: Colour, wire: Wire) -> None:
    langchain = Surface("langchain", colour, wire)
    with emulator.running(emulator.Emulator(faults=[emulator.Fault(hang=True)])) as base_url:
        langchain.make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, timeout=0.1, max_retries=0
        )
        with pytest.raises(APITimeoutError):
            langchain.query("q")
        langchain.client.close()


def test_a_call_may_have_titles_and_a_task_type_of_its_own(
    embeddings: AIMLAPIEmbeddings, wire: Wire
) -> None:
    async def ask() -> None:
        await embeddings.aembed_documents(["a"], titles=["Title"], task_type="QUESTION_ANSWERING")
        await embeddings.aembed_query("q", task_type="FACT_VERIFICATION")

    embeddings.embed_documents(["a"], titles=["Title"], task_type="QUESTION_ANSWERING")
    embeddings.embed_query("q", task_type="FACT_VERIFICATION")
    asyncio.run(ask())
    expected = [
        {"input": ["a"], "task_type": "RETRIEVAL_DOCUMENT", "title": "Title"},
        {"input": ["q"], "task_type": "FACT_VERIFICATION"},
    ]
    assert wire.bodies == [{"model": GOOGLE, **body} for body in expected * 2]


@pytest.mark.parametrize(
    ("sync", "native"),
    [("embed_documents", "aembed_documents"), ("embed_query", "aembed_query")],
)
def test_async_methods_are_twins_of_the_sync_ones(sync: str, native: str) -> None:
    twin = getattr(AIMLAPIEmbeddings, native)
    assert inspect.signature(twin) == inspect.signature(getattr(AIMLAPIEmbeddings, sync))
    assert inspect.iscoroutinefunction(twin)
    assert twin is not getattr(Embeddings, native), "that one runs the sync method in a thread"


def test_the_bar_moves_with_each_finished_request(
    langchain: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, wire = bars.record(monkeypatch), langchain.wire

    def answer_once_the_bar_moved(request: emulator.Request) -> emulator.Reply:
        if len(wire.requests) > 1:
            assert made[0].moved.wait(5), "the bar stands still while requests finish"
        return emulator.answer(request)

    wire.answer = answer_once_the_bar_moved
    langchain.make(show_progress_bar=True, chunk_size=2, max_concurrency=1)
    langchain.documents(list("abcde"))
    assert [bar.moves for bar in made] == [[(0, 5), (2, 5), (4, 5), (5, 5)]]
    assert made[0].disable, "closed at the end"


def test_a_bar_is_shown_only_where_it_is_asked_for(
    langchain: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bars.record(monkeypatch)
    langchain.make().documents(["a"])
    langchain.make(show_progress_bar=True).query("q")
    assert made == []


def test_the_bar_is_closed_when_a_call_fails(
    langchain: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bars.record(monkeypatch)
    langchain.wire.will(emulator.Fault(400))
    langchain.make(show_progress_bar=True)
    with pytest.raises(BadRequestError):
        langchain.documents(["a"])
    assert made[0].disable


def test_a_bar_is_drawn_for_people(langchain: Surface, capsys: pytest.CaptureFixture[str]) -> None:
    langchain.make(show_progress_bar=True).documents(["a", "b"])
    assert "Embedding: 100%" in capsys.readouterr().err


def test_an_assigned_field_takes_effect(embeddings: AIMLAPIEmbeddings, wire: Wire) -> None:
    embeddings.dimensions = 8
    embeddings.model_kwargs = {"auto_truncate": True}
    assert len(embeddings.embed_query("q")) == 8
    assert wire.bodies[0]["auto_truncate"] is True


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
    embeddings: AIMLAPIEmbeddings, wire: Wire
) -> None:
    with pytest.raises(ValidationError, match="not a size"):
        embeddings.dimensions = 100_000
    with pytest.raises(ConfigurationError, match="not a size"):
        embeddings.embed_query("q")
    assert wire.requests == []
    embeddings.dimensions = 8
    assert len(embeddings.embed_query("q")) == 8


def test_a_changed_copy_embeds_with_the_change(embeddings: AIMLAPIEmbeddings) -> None:
    smaller = embeddings.model_copy(update={"dimensions": 8})
    assert (len(smaller.embed_query("q")), len(embeddings.embed_query("q"))) == (8, 768)
