"""LlamaIndex's batch methods: windows (of `embed_batch_size` texts), events and callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import root_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.schema import TextNode

from aimlapi_embeddings import AuthenticationError, emulator
from tests.support import progress_bars
from tests.support.emulator_server import serving
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode

PAYLOAD = {
    "class_name": "AIMLAPIEmbedding",
    "model_name": GOOGLE,
    "embed_batch_size": 2,
    "dimensions": 8,
    "task_type": "CLUSTERING",
}


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LlamaIndex's methods in both modes, on the fake server."""
    return EntryPoint("llama_index", mode, fake_server)


class Recorder(BaseEventHandler):
    events: list[BaseEvent]

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.events.append(event)


@pytest.fixture
def events() -> Iterator[list[BaseEvent]]:
    """All events of the framework while the test runs."""
    recorder = Recorder(events=[])
    root_dispatcher.add_event_handler(recorder)
    yield recorder.events
    root_dispatcher.event_handlers.remove(recorder)


# Windows


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({}, ["abcde"]),
        ({"embed_batch_size": 2}, ["ab", "cd", "e"]),
        ({"batch_size": 2}, ["ab", "cd", "e"]),
        ({"embed_batch_size": 3, "batch_size": 2}, ["ab", "cd", "e"]),
        ({"embed_batch_size": 2, "batch_size": 3}, ["ab", "cd", "e"]),
    ],
)
def test_the_smaller_of_window_and_batch_size_bounds_a_request(
    llama_index: EntryPoint, options: dict[str, int], inputs: list[str]
) -> None:
    llama_index.make(**options, max_concurrency=1).documents(list("abcde"))
    assert sorted(llama_index.fake_server.inputs) == [list(batch) for batch in inputs]


def test_vectors_keep_the_order_across_windows(llama_index: EntryPoint) -> None:
    texts = [f"text {i}" for i in range(7)]
    narrow = llama_index.make(embed_batch_size=2, batch_size=1).documents(texts)
    assert narrow == llama_index.make().documents(texts)


def test_the_default_window_holds_more_than_the_2048_texts_of_the_framework(
    llama_index: EntryPoint, events: list[BaseEvent]
) -> None:
    texts = [f"text {i}" for i in range(2049)]
    assert len(llama_index.make(OPENAI, dimensions=1).documents(texts)) == 2049
    assert len([event for event in events if isinstance(event, EmbeddingStartEvent)]) == 1


def test_an_error_in_one_window_keeps_the_vectors_of_earlier_ones(llama_index: EntryPoint) -> None:
    llama_index.make(embed_batch_size=2, max_concurrency=1)
    llama_index.fake_server.will(None, emulator.Fault(401))
    with pytest.raises(AuthenticationError, match="2 texts from 2 to 3 of 6") as caught:
        llama_index.documents(list("abcdef"))
    assert [vector is not None for vector in caught.value.partial.vectors] == [True] * 2 + [
        False
    ] * 4
    assert len(llama_index.fake_server.requests) == 2


@pytest.mark.parametrize(("num_workers", "in_flight"), [(None, 3), (2, 2), (5, 3)])
async def test_the_lower_of_num_workers_and_max_concurrency_bounds_the_requests(
    num_workers: int | None, in_flight: int
) -> None:
    with serving(together=in_flight, latency=0.02) as (server, base_url):
        entry_point = EntryPoint("llama_index", "async", FakeServer()).make_plain(
            model=GOOGLE,
            api_key=KEY,
            base_url=base_url,
            embed_batch_size=1,
            max_concurrency=3,
            num_workers=num_workers,
        )
        vectors = await entry_point.embedder.aget_text_embedding_batch(list("abcdef"))
        assert vectors == [
            await entry_point.embedder.aget_text_embedding(text) for text in "abcdef"
        ]
        await entry_point.client.aclose()
    assert server.peak_in_flight == in_flight


# The progress bar of an index


@pytest.mark.parametrize("use_async", [False, True])
def test_an_index_shows_the_bar_of_our_requests(
    use_async: bool, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    embedder = (
        EntryPoint("llama_index", "sync", fake_server)
        .make(batch_size=1, max_concurrency=1)
        .embedder
    )
    nodes = [TextNode(text=text) for text in "ab"]
    VectorStoreIndex(nodes, embed_model=embedder, show_progress=True, use_async=use_async)
    assert [(0, 2), (1, 2), (2, 2)] in [bar.moves for bar in made]


# Events and callbacks


def test_events_carry_texts_vectors_and_the_payload(
    llama_index: EntryPoint, events: list[BaseEvent]
) -> None:
    llama_index.make(dimensions=8, task_type="CLUSTERING", embed_batch_size=2)
    vectors = llama_index.documents(list("abc"))
    query = llama_index.query("q")
    starts = [event for event in events if isinstance(event, EmbeddingStartEvent)]
    ends = [event for event in events if isinstance(event, EmbeddingEndEvent)]
    assert [event.model_dict for event in starts] == [PAYLOAD] * 3
    assert [(event.chunks, event.embeddings) for event in ends] == [
        (["a", "b"], vectors[:2]),
        (["c"], vectors[2:]),
        (["q"], [query]),
    ]
    assert KEY not in "".join(event.model_dump_json() for event in events)


def test_callbacks_carry_texts_vectors_and_the_payload(llama_index: EntryPoint) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    llama_index.make(dimensions=8, task_type="CLUSTERING", embed_batch_size=2)
    llama_index.embedder.callback_manager = CallbackManager([handler])
    vectors = llama_index.documents(list("abc"))
    pairs = handler.get_event_pairs(CBEventType.EMBEDDING)
    assert [start.payload for start, _ in pairs] == [{EventPayload.SERIALIZED: PAYLOAD}] * 2
    assert [end.payload for _, end in pairs] == [
        {EventPayload.CHUNKS: ["a", "b"], EventPayload.EMBEDDINGS: vectors[:2]},
        {EventPayload.CHUNKS: ["c"], EventPayload.EMBEDDINGS: vectors[2:]},
    ]
    assert KEY not in json.dumps([start.payload for start, _ in pairs])
