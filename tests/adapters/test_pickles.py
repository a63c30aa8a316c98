"""What copies share, and what a pickle does without."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, emulator
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support.adapter_classes import make
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer, Mode

COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    lambda e: e.model_copy(),
    lambda e: e.model_copy(deep=True),
]


class Tracer(BaseCallbackHandler):
    """Holds what cannot be pickled or copied, as handlers that trace do."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.lock = threading.Lock()

    def on_event_start(self, *args: Any, **options: Any) -> str:
        return ""

    def on_event_end(self, *args: Any, **options: Any) -> None: ...

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


class Connected(SimpleKVStore):
    """A store with a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "connection": self.connection}


def watched(**options: Any) -> Any:
    manager = CallbackManager([Tracer()])
    return make(AIMLAPIEmbedding, callback_manager=manager, embeddings_cache=Connected(), **options)


@pytest.mark.parametrize("copied", COPIES)
def test_copies_share_what_watches_and_remembers(copied: Callable[[Any], Any]) -> None:
    original = watched()
    twin = copied(original)
    assert twin.callback_manager is original.callback_manager
    assert twin.embeddings_cache is original.embeddings_cache
    assert twin.client is original.client


def test_a_pickle_drops_with_one_warning_what_it_can_do_without() -> None:
    original = watched(dimensions=8, max_concurrency=3, query_prefix="q: ")
    said = "pickled without callback_manager and embeddings_cache"
    with pytest.warns(UserWarning, match=said) as caught:
        pickled = pickle.dumps(original)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):
        back = pickle.loads(pickled)
    assert back.callback_manager.handlers == []
    assert back.embeddings_cache is None
    assert back == original
    assert back.client.cache_namespace == original.client.cache_namespace
    assert original.callback_manager.handlers
    assert original.embeddings_cache is not None, "the original keeps all"


_NOTEBOOK = """
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

class Mine(LlamaDebugHandler):
    pass

embedding = AIMLAPIEmbedding(
    model_name="text-embedding-3-small", dimensions=8, api_key="k" * 10, api_base={base_url!r},
    callback_manager=CallbackManager([Mine(print_trace_on_end=False)]),
)
pipeline = IngestionPipeline(transformations=[embedding], disable_cache=True)
nodes = pipeline.run(nodes=[TextNode(text="a"), TextNode(text="b")], num_workers=2)
print([len(node.embedding) for node in nodes])
"""


@pytest.mark.timeout(90)
def test_workers_do_without_a_handler_that_only_a_notebook_has() -> None:
    """A pool waits for ever for a task that its workers cannot load."""
    with emulator.running() as base_url:
        code = _NOTEBOOK.format(base_url=base_url)
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=80, check=False
        )
    assert run.stdout.splitlines()[-1:] == ["[8, 8]"], run.stderr
    assert "loaded without callback_manager (AttributeError: " in run.stderr


def _not_here() -> Any:
    raise OSError("not on this machine")


class Elsewhere(SimpleKVStore):
    """A store that can be pickled, and not be loaded."""

    def __reduce__(self) -> Any:
        return _not_here, ()


def test_a_pickle_is_loaded_without_what_the_loading_process_lacks() -> None:
    original = make(AIMLAPIEmbedding, dimensions=8, embeddings_cache=Elsewhere())
    pickled = pickle.dumps(original)
    said = r"loaded without embeddings_cache \(OSError: not on this machine\)"
    with pytest.warns(UserWarning, match=said) as caught:
        back = pickle.loads(pickled)
    assert [warning.filename for warning in caught] == [__file__]
    assert back == original
    assert back.embeddings_cache is None
    with warnings.catch_warnings(action="error"):
        assert pickle.loads(pickled) == original, "a worker that treats warnings as errors too"


def test_a_pickle_keeps_what_can_be_pickled() -> None:
    store = SimpleKVStore()
    store.put("a", {"b": 1})
    back = pickle.loads(pickle.dumps(make(AIMLAPIEmbedding, embeddings_cache=store)))
    assert back.embeddings_cache.get("a") == {"b": 1}


def test_an_attribute_of_a_subclass_that_cannot_be_pickled_is_refused_by_name() -> None:
    class Mine(AIMLAPIEmbedding):
        lock: Any = None

    with pytest.raises(ConfigurationError, match="Mine cannot be pickled with lock"):
        pickle.dumps(Mine(model=GOOGLE, api_key=KEY, lock=threading.Lock()))


def test_the_retriever_of_a_traced_index_can_be_copied(fake_server: FakeServer) -> None:
    embedder = EntryPoint("llama_index", "sync", fake_server).make().embedder
    index = VectorStoreIndex(
        [TextNode(text="a")], embed_model=embedder, callback_manager=CallbackManager([Tracer()])
    )
    assert embedder.callback_manager.handlers, "the index has put its own in"
    twin = copy.deepcopy(index.as_retriever(similarity_top_k=1))
    assert [hit.text for hit in twin.retrieve("a")] == ["a"]


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings(
    "ignore:Specified num_workers exceed:UserWarning",
    "ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning",
    "ignore:AIMLAPIEmbedding is pickled without callback_manager:UserWarning",
)
def test_a_pipeline_with_workers_takes_a_traced_model(mode: Mode) -> None:
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        embedder = make(
            AIMLAPIEmbedding,
            base_url=base_url,
            dimensions=8,
            callback_manager=CallbackManager([Tracer()]),
        )
        pipeline = IngestionPipeline(transformations=[embedder])
        entry_point = EntryPoint("llama_index", mode, FakeServer())
        run = pipeline.run if mode == "sync" else pipeline.arun
        documents = [Document(text=f"Document {i}.") for i in range(4)]
        nodes = entry_point.wait(run(documents=documents, num_workers=2))
        assert [len(node.embedding) for node in nodes] == [8] * 4


class Counted(EmbeddingsClient):
    """A client of a user's, with an attribute of its own."""

    def __init__(self, *, team: str, **options: Any) -> None:
        super().__init__(**options)
        self.team = team


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_a_subclass_of_the_client_keeps_its_attributes(copied: Callable[[Any], Any]) -> None:
    twin = copied(Counted(team="search", model=GOOGLE, api_key=KEY))
    assert type(twin) is Counted
    assert twin.team == "search"
    assert twin.usage.requests == 0
