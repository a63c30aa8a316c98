"""LlamaIndex: what is paid for is kept when a handler or store raises, or the call is cancelled."""

from __future__ import annotations

import _thread
import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import root_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from aimlapi_embeddings import AIMLAPIError, BadRequestError, emulator
from aimlapi_embeddings._result import attach_partial, nothing_finished
from llama_index_aimlapi_embeddings import EmbeddingUsageEvent
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode
from tests.support.sockets import SOON

TEXTS = [f"text {i}" for i in range(6)]


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    return EntryPoint("llama_index", mode, fake_server)


def embed_nodes(llama_index: EntryPoint, nodes: list[TextNode]) -> Any:
    embedder = llama_index.embedder
    return llama_index.wait(
        embedder(nodes) if llama_index.mode == "sync" else embedder.acall(nodes)
    )


class Down(SimpleKVStore):
    """A store that is read, and cannot be written."""

    def put(self, *_: Any, **__: Any) -> None:
        raise ConnectionError("the store is down")

    async def aput(self, *_: Any, **__: Any) -> None:
        self.put()


class Raising(LlamaDebugHandler):
    def on_event_end(self, event_type: Any, payload: Any = None, **_: Any) -> None:
        if payload and EventPayload.EMBEDDINGS in payload:
            raise RuntimeError("a handler's own")


class RaisingOfAnotherCall(LlamaDebugHandler):
    """A handler that embeds by itself: its error holds vectors of other texts."""

    def on_event_end(self, event_type: Any, payload: Any = None, **_: Any) -> None:
        if payload and EventPayload.EMBEDDINGS in payload:
            error = AIMLAPIError("of another call")
            attach_partial(error, lambda: nothing_finished(["another text"]))
            raise error


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (lambda: {"embeddings_cache": Down()}, ConnectionError),
        (
            lambda: {"callback_manager": CallbackManager([Raising(print_trace_on_end=False)])},
            RuntimeError,
        ),
        (
            lambda: {
                "callback_manager": CallbackManager(
                    [RaisingOfAnotherCall(print_trace_on_end=False)]
                )
            },
            AIMLAPIError,
        ),
    ],
    ids=["a store", "a handler", "a handler that embeds"],
)
def test_an_error_of_others_carries_all_vectors(
    llama_index: EntryPoint, options: Callable[[], dict[str, Any]], kind: type[Exception]
) -> None:
    expected = llama_index.make(OPENAI, dimensions=8).documents(TEXTS)
    llama_index.make(OPENAI, dimensions=8, **options())
    with pytest.raises(kind) as caught:
        llama_index.documents(TEXTS)
    partial: Any = caught.value.partial  # type: ignore[attr-defined]
    assert partial.vectors == expected
    assert partial.usage == llama_index.client.usage
    nodes = [TextNode(text=text) for text in TEXTS]
    with pytest.raises(kind):
        embed_nodes(llama_index, nodes)
    assert [node.embedding for node in nodes] == expected


def test_a_store_that_fails_does_not_hide_the_error_of_the_call(
    llama_index: EntryPoint,
) -> None:
    def refuse_bad(request: emulator.Request) -> emulator.Reply:
        if b"text 4" in request.body:
            return emulator.Reply(400, {}, b'{"message": "a text was refused"}')
        return emulator.answer(request)

    llama_index.fake_server.answer = refuse_bad
    llama_index.make(OPENAI, batch_size=1, max_concurrency=1, embeddings_cache=Down())
    with pytest.raises(BadRequestError, match="text 4 of 6") as caught:
        llama_index.documents(TEXTS)
    assert "ConnectionError: the store is down" in caught.value.__notes__[0]


def interrupt(llama_index: EntryPoint, method: str, given: Any) -> BaseException:
    """End a call in its fourth request, by Ctrl-C or by a cancellation; return what it raised."""
    embedder, answer = llama_index.embedder, llama_index.fake_server.answer
    end: Callable[[], Any] = _thread.interrupt_main

    def answering(request: emulator.Request) -> emulator.Reply:
        if len(llama_index.fake_server.requests) == 4:
            end()
        return answer(request)

    async def in_task() -> BaseException:
        nonlocal end
        task = asyncio.ensure_future(getattr(embedder, method)(given))
        end = task.cancel
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return caught.value

    llama_index.fake_server.answer = answering
    if llama_index.mode == "sync":
        with pytest.raises(KeyboardInterrupt) as caught:
            getattr(embedder, method)(given)
        error: BaseException = caught.value
    else:
        error = asyncio.run(in_task())
    llama_index.fake_server.answer = answer
    return error


@pytest.fixture
def usages() -> Iterator[list[EmbeddingUsageEvent]]:
    class Hearing(BaseEventHandler):
        usages: list[EmbeddingUsageEvent]

        def handle(self, event: BaseEvent, **_: Any) -> None:
            if isinstance(event, EmbeddingUsageEvent):
                self.usages.append(event)

    handler = Hearing(usages=[])
    root_dispatcher.add_event_handler(handler)
    yield handler.usages
    root_dispatcher.event_handlers.remove(handler)


def test_what_an_interrupted_call_finished_is_in_the_store_and_in_an_event(
    llama_index: EntryPoint, usages: list[EmbeddingUsageEvent]
) -> None:
    store = SimpleKVStore()
    llama_index.make(OPENAI, batch_size=1, max_concurrency=1, embeddings_cache=store)
    sync = llama_index.mode == "sync"
    interrupt(llama_index, f"{'' if sync else 'a'}get_text_embedding_batch", TEXTS)
    [event] = usages
    assert event.requests >= 3
    assert event.total_tokens > 0
    llama_index.fake_server.requests.clear()
    llama_index.documents(TEXTS[:3])
    assert llama_index.fake_server.requests == []


class Interrupted(SimpleKVStore):
    """A store that takes long, so that Ctrl-C is pressed again, or the task is cancelled again."""

    def put(self, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    async def aput(self, *_: Any, **__: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(SOON)


def test_what_was_finished_survives_a_second_interruption(llama_index: EntryPoint) -> None:
    sync = llama_index.mode == "sync"
    beside = 1 if sync else 2  # a task that is alone would be cancelled after its last request
    llama_index.make(OPENAI, batch_size=1, max_concurrency=beside, embeddings_cache=Interrupted())
    error: Any = interrupt(llama_index, f"{'' if sync else 'a'}get_text_embedding_batch", TEXTS)
    assert sum(vector is not None for vector in error.partial.vectors) >= 2
    assert "embeddings_cache did not take all" in error.__notes__[0]


def test_the_nodes_of_an_interrupted_call_keep_their_vectors(llama_index: EntryPoint) -> None:
    llama_index.make(OPENAI, batch_size=1, max_concurrency=1)
    nodes = [TextNode(text=text) for text in TEXTS]
    interrupt(llama_index, "__call__" if llama_index.mode == "sync" else "acall", nodes)
    assert [node.embedding is not None for node in nodes[:3]] == [True] * 3


def test_a_store_that_hangs_holds_up_a_cancellation_for_a_second_at_most(
    fake_server: FakeServer,
) -> None:
    class Hanging(SimpleKVStore):
        async def aput(self, *_: Any, **__: Any) -> None:
            await asyncio.sleep(60)

    llama_index = EntryPoint("llama_index", "async", fake_server)
    llama_index.make(OPENAI, batch_size=1, max_concurrency=1, embeddings_cache=Hanging())
    begin = time.monotonic()
    interrupt(llama_index, "aget_text_embedding_batch", TEXTS)
    assert time.monotonic() - begin < 10
