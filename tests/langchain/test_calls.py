"""LangChain: what the options and the arguments of a call do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from aimlapi_embeddings import (
    APITimeoutError,
    BadRequestError,
    InternalServerError,
    RateLimitError,
    emulator,
)
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support import progress_bars
from tests.support.entry_points import GOOGLE, KEY, OPENAI, Clock, EntryPoint, FakeServer, Mode


@pytest.fixture
def langchain(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LangChain's methods in both modes, on the fake server."""
    return EntryPoint("langchain", mode, fake_server)


@pytest.fixture
def embeddings(fake_server: FakeServer) -> AIMLAPIEmbeddings:
    embedder: AIMLAPIEmbeddings = EntryPoint("langchain", "sync", fake_server).make().embedder
    return embedder


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
    langchain: EntryPoint, options: dict[str, Any], sent: dict[str, Any]
) -> None:
    fake_server = langchain.fake_server
    fake_server.answer = lambda request: emulator.answer(request, strict=False)
    langchain.make(**options).documents(["a"])
    assert {name: fake_server.bodies[0][name] for name in sent} == sent


def test_default_headers_travel_beside_ours(langchain: EntryPoint) -> None:
    langchain.make(default_headers={"X-Team": "search"}).documents(["a"])
    headers = langchain.fake_server.requests[0].headers
    assert (headers["x-team"], headers["authorization"]) == ("search", f"Bearer {KEY}")


@pytest.mark.parametrize("name", ["chunk_size", "batch_size"])
def test_chunk_size_bounds_the_texts_of_a_request(langchain: EntryPoint, name: str) -> None:
    langchain.make(**{name: 2}, max_concurrency=1).documents(list("abcde"))
    assert langchain.fake_server.inputs == [["a", "b"], ["c", "d"], ["e"]]


def test_max_retries_and_max_retry_wait_bound_the_attempts(
    langchain: EntryPoint, clock: Clock
) -> None:
    fake_server = langchain.fake_server
    fake_server.will(*[emulator.Fault(500)] * 2, emulator.Fault(429, retry_after="9"))
    langchain.make(max_retries=1, max_retry_wait=8)
    with pytest.raises(InternalServerError):
        langchain.documents(["a"])
    with pytest.raises(RateLimitError):
        langchain.documents(["a"])
    assert len(fake_server.requests) == 3
    assert len(clock.waits) == 1


def test_plain_http_leaves_this_machine_only_where_it_is_allowed(langchain: EntryPoint) -> None:
    with pytest.raises(ValidationError, match="unencrypted"):
        langchain.make(base_url="http://elsewhere")
    langchain.make(base_url="http://elsewhere", allow_http=True).query("q")
    assert [r.headers["host"] for r in langchain.fake_server.requests] == ["elsewhere"]


@pytest.mark.timeout(10)
def test_timeout_bounds_the_wait_for_a_reply(mode: Mode, fake_server: FakeServer) -> None:
    langchain = EntryPoint("langchain", mode, fake_server)
    with emulator.running(emulator.Emulator(faults=[emulator.Fault(hang=True)])) as base_url:
        langchain.make_plain(
            model=GOOGLE, api_key=KEY, base_url=base_url, timeout=0.1, max_retries=0
        )
        with pytest.raises(APITimeoutError):
            langchain.query("q")
        langchain.client.close()


def test_a_call_may_have_titles_and_a_task_type_of_its_own(
    embeddings: AIMLAPIEmbeddings, fake_server: FakeServer
) -> None:
    async def ask() -> None:
        await embeddings.aembed_documents(["a"], titles=["Title"])
        await embeddings.aembed_documents(["a"], task_type="CLUSTERING")
        await embeddings.aembed_query("q", task_type="FACT_VERIFICATION")

    embeddings.embed_documents(["a"], titles=["Title"])
    embeddings.embed_documents(["a"], task_type="CLUSTERING")
    embeddings.embed_query("q", task_type="FACT_VERIFICATION")
    asyncio.run(ask())
    expected = [
        {"input": ["a"], "task_type": "RETRIEVAL_DOCUMENT", "title": "Title"},
        {"input": ["a"], "task_type": "CLUSTERING"},
        {"input": ["q"], "task_type": "FACT_VERIFICATION"},
    ]
    assert fake_server.bodies == [{"model": GOOGLE, **body} for body in expected * 2]


def test_the_bar_moves_with_each_finished_request(
    langchain: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, fake_server = progress_bars.record(monkeypatch), langchain.fake_server

    def answer_once_the_bar_moved(request: emulator.Request) -> emulator.Reply:
        if len(fake_server.requests) > 1:
            assert made[0].moved.wait(5), "the bar stands still while requests finish"
        return emulator.answer(request)

    fake_server.answer = answer_once_the_bar_moved
    langchain.make(show_progress_bar=True, chunk_size=2, max_concurrency=1)
    langchain.documents(list("abcde"))
    assert [bar.moves for bar in made] == [[(0, 5), (2, 5), (4, 5), (5, 5)]]
    assert made[0].disable, "closed at the end"


def test_a_bar_is_shown_only_where_it_is_asked_for(
    langchain: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    langchain.make().documents(["a"])
    langchain.make(show_progress_bar=True).query("q")
    assert made == []


def test_the_bar_is_closed_when_a_call_fails(
    langchain: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    langchain.fake_server.will(emulator.Fault(400))
    langchain.make(show_progress_bar=True)
    with pytest.raises(BadRequestError):
        langchain.documents(["a"])
    assert made[0].disable


def test_a_bar_is_drawn_for_people(
    langchain: EntryPoint, capsys: pytest.CaptureFixture[str]
) -> None:
    langchain.make(show_progress_bar=True).documents(["a", "b"])
    assert "Embedding: 100%" in capsys.readouterr().err
