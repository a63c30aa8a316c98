"""What OpenTelemetry gets: a span of each call, a child span of each request, two metrics."""

from __future__ import annotations

import _thread
import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from langchain_core.runnables import run_in_executor
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from aimlapi_embeddings import (
    APIStatusError,
    InvalidInputError,
    RateLimitError,
    emulator,
    track_usage,
)
from aimlapi_embeddings._protocol.attempt import IdleConnectionClosed
from aimlapi_embeddings._telemetry import Telemetry, error_type
from aimlapi_embeddings.emulator import Fault
from tests.support.emulator_server import connected
from tests.support.entry_points import GOOGLE, KEY, OPENAI, Clock, EntryPoint, FakeServer, Mode
from tests.support.interrupted_call import BOUND, HANGS, TEXTS, interrupted_call
from tests.support.sockets import eventually
from tests.support.streams import read
from tests.support.telemetry import Collected, Failing, attributes, collecting

TEXT = "a text that nobody else may see"
SERVED = f"openai/{OPENAI}"  # as the emulator names it
DURATION = "gen_ai.client.operation.duration"
TOKENS = "gen_ai.client.token.usage"
TRACER = trace.get_tracer("the program")


@pytest.fixture
def told() -> Iterator[Collected]:
    with collecting() as told:
        yield told


def is_child(child: ReadableSpan, parent: Any) -> bool:
    return child.parent is not None and child.parent.span_id == parent.get_span_context().span_id


def test_a_call_is_one_client_span_with_the_names_of_the_conventions(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(OPENAI, dimensions=8).documents([TEXT, "b"])
    span = told.call
    assert (span.name, span.kind) == (f"embeddings {OPENAI}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    found = dict(attributes(span))
    ids = found.pop("aimlapi_embeddings.request_ids")
    assert [attributes(r)["aimlapi_embeddings.request_id"] for r in told.requests] == list(ids)
    assert found.pop("gen_ai.usage.input_tokens") > 0
    assert found.pop("aimlapi_embeddings.usd_spent") > 0
    assert found == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "aimlapi",
        "gen_ai.request.model": OPENAI,
        "gen_ai.response.model": SERVED,
        "gen_ai.embeddings.dimension.count": 8,
        "gen_ai.request.encoding_formats": ("base64",),
        "server.address": "api.aimlapi.com",
        "server.port": 443,
        "aimlapi_embeddings.provider_served": "openai",
        "aimlapi_embeddings.texts": 2,
        "aimlapi_embeddings.requests": 1,
        "aimlapi_embeddings.retries": 0,
    }


def test_a_port_of_its_own_and_a_size_that_follows_from_the_model_are_told(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(GOOGLE, base_url="http://127.0.0.1:8080/v1").query(TEXT)
    found = attributes(told.call)
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", 8080)
    assert found["gen_ai.embeddings.dimension.count"] == 768
    assert "gen_ai.request.encoding_formats" not in found, "none is asked for"


def test_who_answered_is_told(entry_point: EntryPoint, told: Collected) -> None:
    answer = entry_point.fake_server.answer

    def named(request: emulator.Request) -> emulator.Reply:
        reply = answer(request)
        body = json.loads(reply.body)
        body["meta"] = {**body.get("meta", {}), "model": "another-one", "provider": "somebody"}
        return reply._replace(body=json.dumps(body).encode())

    entry_point.fake_server.answer = named
    entry_point.make(OPENAI).query(TEXT)
    found = attributes(told.call)
    assert found["gen_ai.response.model"] == "another-one"
    assert found["aimlapi_embeddings.provider_served"] == "somebody"


def test_each_request_is_a_child_span_with_its_retry_and_its_wait(
    entry_point: EntryPoint, clock: Clock, told: Collected
) -> None:
    entry_point.fake_server.will(Fault(503), Fault(429, retry_after="2"))
    entry_point.make(OPENAI).query(TEXT)
    requests = [attributes(request) for request in told.requests]
    assert all(is_child(request, told.call) for request in told.requests)
    assert [a["http.response.status_code"] for a in requests] == [503, 429, 200]
    assert [a.get("http.request.resend_count") for a in requests] == [None, 1, 2]
    assert [a.get("error.type") for a in requests] == ["503", "429", None]
    assert [r.status.is_ok for r in told.requests] == [False, False, True]
    assert len({a["aimlapi_embeddings.client_request_id"] for a in requests}) == 1
    assert {a["aimlapi_embeddings.texts"] for a in requests} == {1}
    events = told.call.events
    assert [event.name for event in events] == ["aimlapi_embeddings.retry"] * 2
    waits = [dict(event.attributes or {}) for event in events]
    assert [w["aimlapi_embeddings.reason"] for w in waits] == ["503", "429"]
    assert waits[1]["aimlapi_embeddings.wait"] == 2.0
    assert waits[0]["aimlapi_embeddings.retries_used"] == 1
    assert attributes(told.call)["aimlapi_embeddings.retries"] == 2


def test_requests_side_by_side_are_children_of_one_call_and_that_of_the_callers_span(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(OPENAI, batch_size=1, max_concurrency=4)
    with TRACER.start_as_current_span("the program's own") as own:
        entry_point.documents(["a", "b", "c", "d", "e", "f"])
    assert is_child(told.call, own)
    assert len(told.requests) == 6
    for request in told.requests:
        assert is_child(request, told.call)
        assert request.context.trace_id == own.get_span_context().trace_id


def test_what_runs_in_our_threads_and_tasks_sees_the_span_of_the_call(
    entry_point: EntryPoint, told: Collected
) -> None:
    """Such as an instrumentation of httpx."""
    seen = []
    answer = entry_point.fake_server.answer

    def look(request: emulator.Request) -> emulator.Reply:
        seen.append((threading.get_ident(), trace.get_current_span().get_span_context().span_id))
        return answer(request)

    entry_point.fake_server.answer = look
    entry_point.make(OPENAI, batch_size=1, max_concurrency=4).documents(["a", "b", "c", "d"])
    assert {span for _, span in seen} == {told.call.context.span_id}
    if entry_point.mode == "sync":
        assert threading.get_ident() not in {thread for thread, _ in seen}
    assert not trace.get_current_span().get_span_context().is_valid, "it is over"


async def test_langchains_thread_executor_carries_the_callers_span(
    fake_server: FakeServer, told: Collected
) -> None:
    embedder = EntryPoint("langchain", "sync", fake_server).make(OPENAI, batch_size=1).embedder
    with TRACER.start_as_current_span("the program's own") as own:
        await run_in_executor(None, embedder.embed_documents, ["a", "b", "c"])
        await asyncio.to_thread(embedder.embed_query, "q")
    assert len(told.calls) == 2
    assert all(is_child(call, own) for call in told.calls)
    assert len(told.requests) == 4


def stream(entry_point: EntryPoint, texts: list[str], most: int) -> int:
    """Read so many vectors of a stream; return how many there were."""
    if entry_point.mode == "sync":
        with entry_point.client.embed_iter(texts) as vectors:
            return sum(1 for _ in islice(vectors, most))

    async def read() -> int:
        count = 0
        async with entry_point.client.aembed_iter(texts) as vectors:
            async for _ in vectors:
                count += 1
                if count == most:
                    break
        return count

    return int(entry_point.wait(read()))


def test_a_stream_is_one_call_whose_span_is_not_that_of_its_reader(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(OPENAI, batch_size=2)
    with TRACER.start_as_current_span("the program's own") as own:
        assert stream(entry_point, ["a", "b", "c", "d"], 99) == 4
        assert trace.get_current_span() is own
    assert is_child(told.call, own)
    assert len(told.requests) == 2
    assert all(is_child(request, told.call) for request in told.requests)
    assert attributes(told.call)["aimlapi_embeddings.texts"] == 4
    assert attributes(told.call)["gen_ai.usage.input_tokens"] > 0
    assert "error.type" not in attributes(told.call)


def test_a_stream_that_is_left_early_ends_its_span_without_an_error(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(OPENAI, batch_size=1)
    assert stream(entry_point, ["a", "b", "c", "d"], 1) == 1
    assert told.call.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("used_before", [False, True])
def test_requests_that_a_stream_breaks_off_are_cancelled_and_add_nothing_to_its_span(
    told: Collected, mode: Mode, caplog: pytest.LogCaptureFixture, used_before: bool
) -> None:
    def judge(asked: emulator.Request) -> Fault | None:
        return HANGS if b'"hangs' in asked.body else None

    with interrupted_call(None, judge=judge) as interrupted, track_usage() as usage:
        entry_point = connected("core", mode, interrupted.base_url, batch_size=1)
        if used_before:  # requests of the stream go over connections that were idle
            entry_point.documents(["b", "c", "d"])
            told.clear()
            interrupted.server.requests.clear()
        texts = ["a", "hangs 1", "hangs 2"]
        read(
            entry_point.client, mode, texts, most=1, each=lambda _: interrupted.wait_for(len(texts))
        )
        entry_point.client.close()
        eventually(lambda: len(told.requests) == len(texts))
        assert told.call.status.status_code is StatusCode.UNSET
        kinds = [attributes(request).get("error.type") for request in told.requests]
        assert kinds == [None, "cancelled", "cancelled"]
        assert not told.call.events
        assert not caplog.records, "nothing is repeated, and no span that has ended is changed"
        eventually(lambda: usage.requests == len(texts) + 3 * used_before)


def test_no_event_is_added_to_the_span_of_a_call_that_has_ended(
    told: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    trace = Telemetry("aimlapi", OPENAI, "https://api.aimlapi.com/v1", None).begin(None)
    assert trace is not None
    trace.waits("503", 1.0, 1)
    trace.end()
    trace.waits("503", 1.0, 2)
    assert len(told.call.events) == 1
    assert not caplog.records


def test_an_error_is_named_as_users_can_import_it() -> None:
    assert error_type(IdleConnectionClosed("")) == "aimlapi_embeddings.APIConnectionError"
    assert error_type(KeyError()) == "KeyError"


def test_the_span_of_a_failed_call_ends_with_the_kind_of_the_error(
    entry_point: EntryPoint, clock: Clock, told: Collected
) -> None:
    entry_point.fake_server.will(*[Fault(429)] * 2)
    entry_point.make(OPENAI, max_retries=1)
    with pytest.raises(RateLimitError):
        entry_point.query(TEXT)
    assert attributes(told.call)["error.type"] == "429"
    assert attributes(told.call)["aimlapi_embeddings.requests"] == 2
    assert told.call.status.status_code is StatusCode.ERROR
    assert told.call.status.description is None, "a message may quote a text"
    told.clear()
    with pytest.raises(InvalidInputError):
        entry_point.documents([TEXT, ""])
    assert attributes(told.call)["error.type"] == "aimlapi_embeddings.InvalidInputError"
    assert not told.requests


def test_the_span_of_an_interrupted_call_ends(told: Collected, mode: Any) -> None:
    async def cancelled(entry_point: EntryPoint) -> None:
        task = asyncio.ensure_future(entry_point.embedder.aembed(TEXTS))
        await asyncio.get_running_loop().run_in_executor(None, ready.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ready = threading.Event()
    with interrupted_call(*[HANGS] * BOUND) as interrupted:
        entry_point = connected("core", mode, interrupted.base_url, batch_size=1)
        if mode == "sync":
            interrupted.when(BOUND, _thread.interrupt_main)
            with pytest.raises(KeyboardInterrupt):
                entry_point.documents(TEXTS)
            expected = "KeyboardInterrupt"
        else:
            interrupted.when(BOUND, ready.set)
            asyncio.run(cancelled(entry_point))
            expected = "asyncio.exceptions.CancelledError"
        entry_point.client.close()
    assert attributes(told.call)["error.type"] == expected
    assert told.call.status.status_code is StatusCode.ERROR


def test_duration_and_tokens_are_measured_as_the_conventions_say(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.make(OPENAI).documents([TEXT, "b"])
    about = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "aimlapi",
        "gen_ai.request.model": OPENAI,
        "gen_ai.response.model": SERVED,
        "server.address": "api.aimlapi.com",
        "server.port": 443,
    }
    [duration] = told.points(DURATION)
    assert attributes(duration) == about
    assert duration.explicit_bounds == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )
    [tokens] = told.points(TOKENS)
    assert attributes(tokens) == {**about, "gen_ai.token.type": "input"}
    assert tokens.explicit_bounds[:3] == (1, 4, 16)
    assert tokens.explicit_bounds[-1] == 67108864
    assert tokens.max >= attributes(told.call)["gen_ai.usage.input_tokens"] > 0


def test_a_failed_call_is_measured_and_what_it_spent_is_counted(
    entry_point: EntryPoint, told: Collected
) -> None:
    entry_point.fake_server.will(None, Fault(401))
    entry_point.make(OPENAI, batch_size=1, max_concurrency=1, headers={"X-Test": "1"})
    with pytest.raises(APIStatusError):
        entry_point.documents([TEXT, "b"])
    [duration] = told.points(DURATION)
    assert attributes(duration)["error.type"] == "401"
    [tokens] = told.points(TOKENS)
    assert "error.type" not in attributes(tokens)


@pytest.mark.parametrize("at", ["on_start", "on_end"])
def test_a_call_ends_well_where_a_span_processor_fails(
    entry_point: EntryPoint,
    told: Collected,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at: str,
) -> None:
    entry_point.make(batch_size=1)
    monkeypatch.setattr(Failing, "at", at)
    assert len(entry_point.documents(["one", "two"])) == 2
    told_of = [r.getMessage() for r in caplog.records if r.name == "aimlapi_embeddings.telemetry"]
    assert told_of
    assert all("RuntimeError: the processor failed" in message for message in told_of)
    assert told.points(DURATION) if at == "on_end" else not told.points(DURATION)


def test_no_text_title_or_key_is_told(
    entry_point: EntryPoint, clock: Clock, told: Collected
) -> None:
    entry_point.make(OPENAI, max_retries=1).documents([TEXT, "b"])
    body = json.dumps({"message": f"bad input: {TEXT} {KEY}"}).encode()
    entry_point.fake_server.will(*[Fault(400, body=body)] * 9)
    with pytest.raises(APIStatusError):
        entry_point.documents([TEXT, "b"])
    with pytest.raises(APIStatusError):
        entry_point.query(TEXT)
    shown = str(told)
    assert "embeddings request" in shown
    for secret in (TEXT, KEY):
        assert secret not in shown


CODE = """
import sys
import httpx
{first}
from aimlapi_embeddings import EmbeddingsClient, emulator

def answer(request):
    asked = emulator.Request("POST", request.url.path, dict(request.headers), request.content)
    reply = emulator.answer(asked)
    return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

client = EmbeddingsClient(model="text-embedding-3-small", api_key="k",
    http_client=httpx.Client(transport=httpx.MockTransport(answer)))
client.embed(["a"])
{then}
client.embed(["b"])
{last}
"""
SDK = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))
"""
COUNT = "print(sorted(span.name for span in exporter.get_finished_spans()))"
ONE_CALL = "['embeddings request', 'embeddings text-embedding-3-small']"


@pytest.mark.parametrize(
    ("first", "then", "last", "printed"),
    [
        ("", "", "print('opentelemetry' in sys.modules)", "False"),
        ("sys.modules['opentelemetry'] = None", "", "print('works')", "works"),
        ("from opentelemetry import trace, metrics", "", "print('works')", "works"),
        ("from opentelemetry import metrics", "", "print('opentelemetry.sdk' in sys.modules)",
         "False"),
        ("from opentelemetry import trace", SDK, COUNT, ONE_CALL),
        ("", SDK, COUNT, ONE_CALL),
    ],
    ids=["not imported", "not installed", "api", "metrics", "sdk after a call", "api after a call"],
)  # fmt: skip
def test_nothing_is_imported_or_recorded_before_the_program_does(
    first: str, then: str, last: str, printed: str
) -> None:
    code = CODE.format(first=first, then=then, last=last)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == printed
    assert ran.stderr == ""
