"""Law 10: frameworks, constructors, recordings and test runs do not show the key either."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import leaks
import pytest
from adapters import ADAPTERS, make
from leaks import assert_hidden
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from pydantic import ValidationError
from surfaces import GOOGLE, KEY, Colour, SurfaceName
from surroundings import connected, serving

from aimlapi_embeddings import AIMLAPIError, APITimeoutError, EmbeddingsClient
from aimlapi_embeddings.emulator import Fault

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
def test_a_constructor_that_fails_shows_no_key(cls: type[Any], wrong: dict[str, Any]) -> None:
    """Neither in its message, nor in pydantic's details, nor in any frame."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make(cls, **wrong)
    if isinstance(caught.value, TypeError):  # Python's own, for the core's unknown names
        assert cls is EmbeddingsClient
    assert_hidden(leaks.all_of(caught.value))


@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
def test_a_warning_that_is_an_error_shows_no_key(cls: type[Any]) -> None:
    with pytest.raises(UserWarning, match="not known") as caught:
        make(cls, model="of-tomorrow")
    assert_hidden(leaks.all_of(caught.value))


@pytest.mark.parametrize("cls", ADAPTERS)
def test_a_field_that_is_set_wrongly_shows_no_key(cls: type[Any]) -> None:
    embedder = make(cls)
    for name, value in (("dimensions", -1), ("timeout", "long"), ("nonsense", KEY)):
        with pytest.raises((ValidationError, ValueError)) as caught:
            setattr(embedder, name, value)
        if name != "nonsense":
            assert_hidden(leaks.all_of(caught.value))
        assert_hidden(str(caught.value))


@pytest.mark.parametrize("cls", [EmbeddingsClient, *ADAPTERS])
@pytest.mark.parametrize("key", [KEY.encode(), [KEY], {"key": KEY}, 5])
def test_a_key_of_the_wrong_type_is_not_shown(cls: type[Any], key: Any) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        make(cls, api_key=key)
    assert_hidden("".join(map(str, caught.value.args)) + str(caught.value) + repr(caught.value))


# A write that fails


def test_a_request_that_cannot_be_written_shows_no_key(
    surface_name: SurfaceName, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        surface = connected(
            surface_name,
            colour,
            f"http://127.0.0.1:{deaf.getsockname()[1]}",
            timeout=0.3,
            max_retries=0,
        )
        with pytest.raises(APITimeoutError, match="WriteTimeout") as caught:
            surface.query("word " * 2_000_000)
        surface.client.close()
    assert_hidden(caplog.text + leaks.all_of(caught.value))


# LlamaIndex's events


class Everything(BaseEventHandler):
    """Keeps what an exporter of events would send."""

    kept: list[str] = []

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.kept += [repr(event), event.model_dump_json(fallback=repr), repr(vars(event))]


class Spans(SimpleSpanHandler):
    """Keeps what an exporter of spans would send."""

    kept: list[str] = []

    def new_span(self, id_: str, bound_args: Any, instance: Any = None, **more: Any) -> Any:
        self.kept += [id_, repr(bound_args), repr(bound_args.arguments), repr(instance), repr(more)]
        if instance is not None:
            self.kept.append(repr(vars(instance)))
        return super().new_span(id_, bound_args, instance, **more)

    def prepare_to_drop_span(self, id_: str, *more: Any, **options: Any) -> Any:
        self.kept.append(repr([more, options]))
        return super().prepare_to_drop_span(id_, *more, **options)


class Callbacks(BaseCallbackHandler):
    """Keeps the payloads of callbacks."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.kept: list[str] = []

    def on_event_start(self, event_type: CBEventType, *more: Any, **options: Any) -> str:
        self.kept += [str(event_type), repr(more), repr(options)]
        return ""

    def on_event_end(self, event_type: CBEventType, *more: Any, **options: Any) -> None:
        self.kept += [str(event_type), repr(more), repr(options)]

    def start_trace(self, trace_id: str | None = None) -> None:
        """Nothing of ours."""

    def end_trace(self, *_: Any, **__: Any) -> None:
        """Nothing of ours."""


@contextmanager
def listening() -> Iterator[tuple[Everything, Spans]]:
    root = get_dispatcher()
    events, spans = Everything(kept=[]), Spans(kept=[])
    before = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [*before[0], events], [*before[1], spans]
    try:
        yield events, spans
    finally:
        root.event_handlers, root.span_handlers = before


@pytest.mark.parametrize("fault", [None, Fault(401)])
def test_events_and_callbacks_of_llama_index_show_no_key(
    colour: Colour, fault: Fault | None
) -> None:
    callbacks = Callbacks()
    with serving(faults=[None, fault]) as (_, base_url), listening() as (events, spans):
        surface = connected(
            "llama_index",
            colour,
            base_url,
            callback_manager=CallbackManager([callbacks]),
            headers={"X-Proxy-Password": KEY},
        )
        surface.query("q")
        try:
            surface.documents(["a", "b"])
        except AIMLAPIError:
            assert fault is not None
        surface.client.close()
    for kept in (events.kept, spans.kept, callbacks.kept):
        assert kept
        assert_hidden("\n".join(kept))
    assert GOOGLE in str(events.kept) or "text-embedding-3-small" in str(events.kept)


def test_an_index_and_a_pipeline_keep_no_key(tmp_path: Path) -> None:
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


# What is on disk, and what a test run prints


def test_no_recording_holds_the_key(cassettes: Path) -> None:
    recordings = sorted(cassettes.rglob("*.yaml"))
    assert len(recordings) > 100
    for path in recordings:
        assert_hidden(path.read_text())
    assert not [path for path in recordings if "uthorization" in path.read_text()]
