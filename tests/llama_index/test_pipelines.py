"""LlamaIndex's ingestion pipelines: in this process, in worker processes, and with a cache."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode

from aimlapi_embeddings import ConfigurationError, emulator
from tests.support import progress_bars
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer, Mode

DOCUMENTS = [Document(text=f"Document {i}.", id_=str(i)) for i in range(8)]

in_workers = pytest.mark.filterwarnings(
    # On a machine with one CPU LlamaIndex warns and uses one worker.
    "ignore:Specified num_workers exceed:UserWarning",
    # Python 3.12 and later warn because `arun` forks while the emulator's threads run.
    "ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning",
)


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LlamaIndex's methods in both modes, on the fake server."""
    return EntryPoint("llama_index", mode, fake_server)


@pytest.fixture
def served() -> Iterator[tuple[emulator.Emulator, str]]:
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        yield server, base_url


def ingest(
    entry_point: EntryPoint, pipeline: IngestionPipeline, documents: list[Document], **options: Any
) -> Sequence[BaseNode]:
    run = pipeline.run if entry_point.mode == "sync" else pipeline.arun
    nodes: Sequence[BaseNode] = entry_point.wait(run(documents=documents, **options))
    return nodes


def test_a_pipeline_embeds_its_nodes_in_order(llama_index: EntryPoint) -> None:
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), llama_index.make().embedder])
    nodes = ingest(llama_index, pipeline, DOCUMENTS)
    texts = [document.text for document in DOCUMENTS]
    assert [node.get_content() for node in nodes] == texts
    assert [node.embedding for node in nodes] == llama_index.documents(texts)
    assert llama_index.fake_server.inputs == [texts] * 2


def test_a_pipeline_shows_the_bar_when_show_progress_is_set(
    llama_index: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    llama_index.make(show_progress=True, batch_size=4, max_concurrency=1)
    ingest(llama_index, IngestionPipeline(transformations=[llama_index.embedder]), DOCUMENTS)
    assert [bar.moves for bar in made] == [[(0, 8), (4, 8), (8, 8)]]


@in_workers
@pytest.mark.timeout(60)
def test_workers_get_the_key_and_send_each_text_once(
    mode: Mode,
    served: tuple[emulator.Emulator, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # A splitter that is unpickled in a worker loads its tokenizer, by default from the network.
    tokenizers = importlib.resources.files("llama_index.core") / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tokenizers))
    server, base_url = served
    entry_point = EntryPoint("llama_index", mode, FakeServer()).make_plain(
        model=GOOGLE, api_key=KEY, base_url=base_url, batch_size=2, dimensions=8
    )
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), entry_point.embedder])
    nodes = ingest(entry_point, pipeline, DOCUMENTS, num_workers=2)
    assert [node.get_content() for node in nodes] == [document.text for document in DOCUMENTS]
    assert len(server.requests) == len(DOCUMENTS) // 2
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert [node.embedding for node in nodes] == entry_point.documents([n.text for n in DOCUMENTS])
    entry_point.client.close()
    assert "Traceback" not in capfd.readouterr().err


@in_workers
@pytest.mark.timeout(60)
def test_a_pipeline_with_workers_refuses_an_http_client_of_the_user(
    llama_index: EntryPoint, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = IngestionPipeline(transformations=[llama_index.make().embedder])
    with pytest.raises(ConfigurationError, match="cannot be pickled with http_client"):
        ingest(llama_index, pipeline, DOCUMENTS, num_workers=2)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("change", "embeds_anew"),
    [
        ({}, False),
        ({"api_key": "another"}, False),
        ({"timeout": 5.0}, False),
        ({"max_retries": 1}, False),
        ({"max_retry_wait": 5.0}, False),
        ({"max_concurrency": 1}, False),
        ({"batch_size": 1}, False),
        ({"embed_batch_size": 1}, False),
        ({"num_workers": 2}, False),
        ({"show_progress": True}, False),
        ({"default_headers": {"X-Team": "search"}}, False),
        ({"allow_http": True}, False),
        ({"dimensions": 8}, True),
        ({"task_type": "CLUSTERING"}, True),
        ({"model": "google/text-multilingual-embedding-002"}, True),
        ({"base_url": "http://127.0.0.1:9"}, True),
        ({"too_long": "error"}, True),
        ({"normalize": True}, True),
        ({"document_prefix": "passage: "}, True),
        ({"additional_kwargs": {"auto_truncate": False}}, True),
    ],
    ids=lambda change: next(iter(change), "nothing") if isinstance(change, dict) else "",
)
def test_a_cached_node_is_embedded_again_only_if_its_vector_would_change(
    llama_index: EntryPoint,
    change: dict[str, Any],
    embeds_anew: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress_bars.record(monkeypatch)
    cache, fake_server = IngestionCache(), llama_index.fake_server
    for options in ({}, change):
        fake_server.requests.clear()
        pipeline = IngestionPipeline(
            transformations=[llama_index.make(**options).embedder], cache=cache
        )
        nodes = ingest(llama_index, pipeline, DOCUMENTS)
        assert all(node.embedding for node in nodes)
    assert bool(fake_server.requests) is embeds_anew
