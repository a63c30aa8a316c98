"""Errors of constructors, events of frameworks, recordings and test reports do not show the key."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from pydantic import Field, ValidationError

from aimlapi_embeddings import AIMLAPIError, APITimeoutError, EmbeddingsClient
from aimlapi_embeddings.emulator import Fault
from aimlapi_embeddings.emulator.faults import one_short
from tests.support import key_exposure
from tests.support.adapter_classes import ADAPTERS, make
from tests.support.child_processes import program
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import KEY, OPENAI, Mode
from tests.support.key_exposure import assert_hidden

# Constructors

WRONG: list[dict[str, Any]] = [
    {"dimensions": -1},
    {"dimensions": "many"},
    {"dimension": 8},
    {"apikey": KEY},
    {"openai_api_key": KEY, "base_url": "https://elsewhere"},
    {"model": 5},
    {"family": "goggle"},
    {"timeout": [1]},
    {"default_headers": 5},
    {"base_url": "http://elsewhere.example"},
    {"http_client": object()},
    {"rate_limiter": object()},
    {"api_key": KEY + "\n"},
    {"api_key": f"{KEY} or \u00fc"},
    {"api_key": KEY, "aimlapi_api_key": KEY},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: " ".join(wrong))
@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
def test_a_failing_constructor_does_not_show_the_key(cls: type[Any], wrong: dict[str, Any]) -> None:
    """Not in its message, nor in pydantic's details, nor in any frame."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (pydantic's, or the core's)
        make(cls, **wrong)
    assert_hidden(key_exposure.all_of(caught.value))


@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
def test_a_key_that_is_passed_without_its_name_is_not_shown(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match="keyword arguments only") as caught:
        cls(KEY)
    assert_hidden(key_exposure.all_of(caught.value))


@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
def test_a_warning_raised_as_an_error_does_not_show_the_key(cls: type[Any]) -> None:
    with pytest.raises(UserWarning, match="not a model this version knows") as caught:
        make(cls, model="of-tomorrow")
    assert_hidden(key_exposure.all_of(caught.value))


@pytest.mark.parametrize("cls", ADAPTERS)
def test_an_invalid_assignment_does_not_show_the_key(cls: type[Any]) -> None:
    embedder = make(cls)
    for name, value in (("dimensions", -1), ("timeout", "long"), ("nonsense", KEY)):
        with pytest.raises((ValidationError, ValueError)) as caught:
            setattr(embedder, name, value)
        if name != "nonsense":
            assert_hidden(key_exposure.all_of(caught.value))
        assert_hidden(str(caught.value))


@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
@pytest.mark.parametrize("key", [KEY.encode(), [KEY], {"key": KEY}, 5])
def test_a_key_of_the_wrong_type_is_not_shown(cls: type[Any], key: Any) -> None:
    if isinstance(key, bytes) and cls in ADAPTERS:
        assert_hidden(repr(make(cls, api_key=key)))  # pydantic accepts bytes as a string
        return
    with pytest.raises(ValueError, match="api_key") as caught:
        make(cls, api_key=key)
    assert_hidden(f"{caught.value} {caught.value!r} {caught.value.args}")


# A write that fails


def test_a_failing_write_does_not_show_the_key(
    mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        entry_point = connected(
            "core",
            mode,
            f"http://127.0.0.1:{deaf.getsockname()[1]}",
            timeout=0.3,
            max_retries=0,
        )
        with pytest.raises(APITimeoutError, match="WriteTimeout") as caught:
            entry_point.query("word " * 1_500_000)
        entry_point.client.close()
    assert_hidden(caplog.text + key_exposure.all_of(caught.value))


# Events and files of LlamaIndex


class Everything(BaseEventHandler):
    """Collects events as an exporter would send them."""

    kept: list[str] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.kept += [repr(event), event.model_dump_json(fallback=repr), repr(vars(event))]


class Spans(SimpleSpanHandler):
    """Collects spans as an exporter would send them."""

    kept: list[str] = Field(default_factory=list)

    def new_span(self, id_: str, bound_args: Any, instance: Any = None, **more: Any) -> Any:
        self.kept += [id_, repr(bound_args.arguments), repr(instance), repr(more)]
        if instance is not None:
            self.kept.append(repr(vars(instance)))
        return super().new_span(id_, bound_args, instance, **more)

    def prepare_to_drop_span(self, id_: str, *more: Any, **options: Any) -> Any:
        self.kept.append(repr([more, options]))
        return super().prepare_to_drop_span(id_, *more, **options)


class Callbacks(BaseCallbackHandler):
    """Collects the payloads of callbacks."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.kept: list[str] = []

    def on_event_start(self, event_type: CBEventType, *more: Any, **options: Any) -> str:
        self.kept += [str(event_type), repr(more), repr(options)]
        return ""

    def on_event_end(self, event_type: CBEventType, *more: Any, **options: Any) -> None:
        self.kept += [str(event_type), repr(more), repr(options)]

    def start_trace(self, trace_id: str | None = None) -> None:
        """Required by the base class."""

    def end_trace(self, *_: Any, **__: Any) -> None:
        """Required by the base class."""


@contextmanager
def listening() -> Iterator[tuple[Everything, Spans]]:
    root = get_dispatcher()
    events, spans = Everything(), Spans()
    before = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [*before[0], events], [*before[1], spans]
    try:
        yield events, spans
    finally:
        root.event_handlers, root.span_handlers = before


@pytest.mark.parametrize("fault", [None, Fault(401)])
def test_events_and_callbacks_of_llama_index_do_not_show_the_key(
    mode: Mode, fault: Fault | None
) -> None:
    callbacks = Callbacks()
    with serving(faults=[None, fault]) as (_, base_url), listening() as (events, spans):
        entry_point = connected(
            "llama_index",
            mode,
            base_url,
            callback_manager=CallbackManager([callbacks]),
        )
        entry_point.query("q")
        try:
            entry_point.documents(["a", "b"])
        except AIMLAPIError:
            assert fault is not None
        entry_point.client.close()
    for kept in (events.kept, spans.kept, callbacks.kept):
        assert kept
        assert_hidden("\n".join(kept))
    assert OPENAI in str(events.kept)


def test_files_of_an_index_and_a_pipeline_do_not_hold_the_key(tmp_path: Path) -> None:
    with serving() as (_, base_url):
        embedding = connected("llama_index", "sync", base_url).embedder
        documents = [Document(text="a", id_="1"), Document(text="b", id_="2")]
        pipeline = IngestionPipeline(transformations=[embedding])
        index = VectorStoreIndex(pipeline.run(documents=documents), embed_model=embedding)
        index.storage_context.persist(tmp_path / "index")
        pipeline.persist(tmp_path / "pipeline")
        embedding.client.close()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 3
    for path in written:
        assert_hidden(path.read_text())
    assert_hidden(repr(Settings) + repr(pipeline))


# Recordings, and the report of a test run


def test_no_recording_holds_the_key(cassettes: Path) -> None:
    recordings = sorted(cassettes.rglob("*.yaml"))
    assert len(recordings) > 100
    for path in recordings:
        assert_hidden(path.read_text())
    assert not [path for path in recordings if "uthorization" in path.read_text()]


SUITE = """
import asyncio, os, socket
import pytest
from tests.support.adapter_classes import ADAPTERS
from aimlapi_embeddings import EmbeddingsClient

MODEL = "text-embedding-3-small"

@pytest.fixture
def deaf():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"

def embed(url, mode):
    client = EmbeddingsClient(
        model=MODEL, api_key=os.environ["THE_KEY"], base_url=url, timeout=1, max_retries=0
    )
    if mode == "sync":
        client.embed(["a"])
    else:
        asyncio.run(client.aembed(["a"]))

@pytest.mark.parametrize("mode", ["sync", "async"])
class TestsThatFail:
    def test_refused(self, mode):
        embed("http://127.0.0.1:9", mode)

    def test_late(self, mode, deaf):
        embed(deaf, mode)

    @pytest.mark.parametrize("fault", range(int(os.environ["FAULTS"])))
    def test_fault(self, mode, fault):
        embed(os.environ["SERVER"], mode)

@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
@pytest.mark.parametrize("wrong", [{"dimensions": -1}, {"dimension": 8}, {"timeout": "x"}])
def test_constructor(cls, wrong):
    cls(model=MODEL, api_key=os.environ["THE_KEY"], **wrong)

if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-vv", "--showlocals"]))
"""


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_the_report_of_failing_tests_with_locals_does_not_show_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [
        Fault(drop="before_headers"),
        Fault(drop="in_body", reset=False),
        Fault(401, body=b"not %s" % KEY.encode()),
        Fault(429),
        Fault(500),
        Fault(307, {"location": "/"}),
        Fault(body=KEY.encode()),
        Fault(reshape=one_short),
    ]
    (tmp_path / "pytest.ini").write_text("[pytest]")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("THE_KEY", KEY)
    monkeypatch.setenv("FAULTS", str(len(faults)))
    with serving(faults=faults * 2) as (server, base_url):
        monkeypatch.setenv("SERVER", base_url)
        out, err = program(tmp_path / "test_that_fails.py", SUITE).communicate(timeout=80)
    assert f"{2 * (2 + len(faults)) + 15} failed in" in out.splitlines()[-1]
    assert len(server.requests) == 2 * len(faults)
    assert "client     = EmbeddingsClient(" in out, "locals are shown"
    assert_hidden(out + err)
