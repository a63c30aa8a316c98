"""LlamaIndex's splitters, postprocessors, selectors, evaluators and events with our class."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.response.schema import Response
from llama_index.core.callbacks import (
    CallbackManager,
    CBEventType,
    EventPayload,
    LlamaDebugHandler,
)
from llama_index.core.embeddings import resolve_embed_model
from llama_index.core.evaluation import SemanticSimilarityEvaluator
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import root_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.postprocessor import SentenceEmbeddingOptimizer, SimilarityPostprocessor
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import EmbeddingSingleSelector
from llama_index.core.tools import ToolMetadata
from pydantic import Field

from tests.ecosystem.corpus import (
    BEES,
    BEES_AGAIN,
    DOCUMENT,
    HARBOUR,
    QUERY,
    QUESTION,
    SIMILARITY,
    SUBJECTS,
)
from tests.support import optional_imports
from tests.support.entry_points import GOOGLE, KEY, Mode

Call: TypeAlias = Callable[..., Any]


@pytest.fixture
def a_loop() -> Iterator[None]:
    """Set a current event loop: LlamaIndex's sync methods would open one and leave it open."""
    with asyncio.Runner() as runner:
        runner.get_loop()
        yield


def index(embed_model: Any, *texts: str) -> VectorStoreIndex:
    return VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=embed_model)


def texts(found: list[NodeWithScore]) -> list[str]:
    return [hit.node.get_content() for hit in found]


# Splitters, postprocessors, selectors, retrievers


def test_a_semantic_splitter_splits_where_the_topic_changes(
    llama_index: Call, call: Call, sent: Call
) -> None:
    model = llama_index(task_type=SIMILARITY)
    splitter = SemanticSplitterNodeParser(embed_model=model, buffer_size=0)
    nodes = call(splitter, "get_nodes_from_documents", [Document(text=" ".join(SUBJECTS))])
    assert [node.text.strip() for node in nodes] == SUBJECTS
    ((role, sentences),) = sent()
    assert (role, len(sentences)) == (SIMILARITY, 7)
    assert KEY not in splitter.to_json()


def test_a_similarity_postprocessor_drops_unrelated_nodes(llama_index: Call, call: Call) -> None:
    hits = call(index(llama_index(), HARBOUR, BEES).as_retriever(), "retrieve", QUESTION)
    assert texts(hits) == [BEES, HARBOUR]
    near = SimilarityPostprocessor(similarity_cutoff=0.5)
    assert texts(call(near, "postprocess_nodes", hits)) == [BEES]


def test_a_sentence_optimizer_keeps_the_most_similar_sentences(
    llama_index: Call, call: Call, sent: Call
) -> None:
    optimizer = SentenceEmbeddingOptimizer(
        embed_model=llama_index(), percentile_cutoff=0.5, context_before=0, context_after=0
    )
    hits = [NodeWithScore(node=TextNode(text=f"{HARBOUR} {BEES}"))]
    assert texts(call(optimizer, "postprocess_nodes", hits, query_str=QUESTION)) == [BEES]
    assert sent() == [(QUERY, [QUESTION]), (DOCUMENT, [HARBOUR, BEES])]


def test_a_selector_chooses_the_most_similar_tool(
    llama_index: Call, call: Call, sent: Call
) -> None:
    tools = [ToolMetadata(description=text, name=text[:4]) for text in (HARBOUR, BEES)]
    selector = EmbeddingSingleSelector.from_defaults(embed_model=llama_index())
    assert call(selector, "select", tools, QueryBundle(QUESTION)).ind == 1
    assert sent() == [(QUERY, [QUESTION]), (DOCUMENT, [HARBOUR]), (DOCUMENT, [BEES])]


@pytest.mark.usefixtures("a_loop")
@pytest.mark.parametrize("use_async", [False, True])
def test_a_fusion_retriever_returns_the_hits_of_all_its_retrievers(
    llama_index: Call, call: Call, sent: Call, mode: Mode, use_async: bool
) -> None:
    indexes = [index(llama_index(), HARBOUR, BEES), index(llama_index(), BEES_AGAIN)]
    sent()
    fusion = QueryFusionRetriever(
        [one.as_retriever(similarity_top_k=1) for one in indexes],
        llm=MockLLM(),  # None stands for an OpenAI model, even when no queries are generated
        num_queries=1,
        use_async=use_async,
    )
    assert set(texts(call(fusion, "retrieve", QUESTION))) == {BEES, BEES_AGAIN}
    # Run one after the other, the retrievers share the vector of the question.
    handed_on = mode == "sync" and not use_async
    assert sent() == [(QUERY, [QUESTION])] * (1 if handed_on else len(indexes))


@pytest.mark.usefixtures("a_loop")
@pytest.mark.parametrize(
    ("reference", "passing"), [(BEES, True), (BEES_AGAIN, True), (HARBOUR, False)]
)
def test_a_similarity_evaluator_passes_similar_texts_only(
    llama_index: Call, call: Call, sent: Call, reference: str, passing: bool
) -> None:
    evaluator = SemanticSimilarityEvaluator(embed_model=llama_index(task_type=SIMILARITY))
    response = Response(BEES)
    result = call(evaluator, "evaluate_response", response=response, reference=reference)
    assert result.passing is passing
    assert result.score == pytest.approx(1) or reference != BEES
    assert sent() == [(SIMILARITY, [BEES]), (SIMILARITY, [reference])]


# Our LangChain class inside LlamaIndex's wrapper for LangChain


def wrap(embeddings: Any) -> Any:
    module = optional_imports.need("llama_index.embeddings.langchain", "stores")
    return module.LangchainEmbedding(embeddings)


def test_the_wrapper_keeps_the_roles(langchain: Call, call: Call, sent: Call) -> None:
    wrapper = wrap(langchain())
    corpus = index(wrapper, HARBOUR, BEES)
    assert texts(call(corpus.as_retriever(similarity_top_k=1), "retrieve", QUESTION)) == [BEES]
    assert sent() == [(DOCUMENT, [HARBOUR, BEES]), (QUERY, [QUESTION])]
    vectors = call(wrapper, "get_text_embedding_batch", [HARBOUR, BEES])
    assert vectors == langchain().embed_documents([HARBOUR, BEES])


def test_the_wrapper_sends_ten_texts_a_request_in_sync_and_one_in_async(
    langchain: Call, call: Call, sent: Call, mode: Mode
) -> None:
    call(wrap(langchain()), "get_text_embedding_batch", [f"text {i}" for i in range(12)])
    sizes = [len(texts) for _, texts in sent()]
    assert sizes == ([10, 2] if mode == "sync" else [1] * 12)


def test_the_wrapper_hides_vector_changing_options_from_the_ingestion_cache(
    langchain: Call,
) -> None:
    dump = wrap(langchain()).to_json()
    assert wrap(langchain(task_type="CLUSTERING")).to_json() == dump
    assert KEY not in dump


def test_resolve_embed_model_returns_our_object_itself(llama_index: Call) -> None:
    embedding = llama_index()
    client = embedding.client
    assert resolve_embed_model(embedding) is embedding
    assert embedding.client is client


# Events and callbacks, from ingestion to retrieval


class Everything(BaseEventHandler):
    """Records all events of LlamaIndex."""

    events: list[BaseEvent] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.events.append(event)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[BaseEvent]:
    handler = Everything()
    monkeypatch.setattr(root_dispatcher, "event_handlers", [handler])
    return handler.events


@pytest.mark.parametrize("wrapped", [False, True])
def test_events_and_callbacks_carry_model_texts_and_vectors_but_no_key(
    llama_index: Call, langchain: Call, call: Call, events: list[BaseEvent], wrapped: bool
) -> None:
    embed_model = wrap(langchain()) if wrapped else llama_index()
    debug = LlamaDebugHandler(print_trace_on_end=False)
    manager = embed_model.callback_manager = CallbackManager([debug])
    pipeline = IngestionPipeline(transformations=[embed_model])
    nodes = call(pipeline, "run", documents=[Document(text=HARBOUR), Document(text=BEES)])
    # An index replaces the callback manager of its model with its own.
    corpus = VectorStoreIndex(nodes, embed_model=embed_model, callback_manager=manager)
    call(corpus.as_retriever(), "retrieve", QUESTION)

    query = embed_model.get_query_embedding(QUESTION)
    vectors = [node.embedding for node in nodes]
    carried = [([HARBOUR, BEES], vectors), ([QUESTION], [query]), ([QUESTION], [query])]
    ends = [event for event in events if isinstance(event, EmbeddingEndEvent)]
    assert [(event.chunks, event.embeddings) for event in ends] == carried
    starts = [event for event in events if isinstance(event, EmbeddingStartEvent)]
    assert [event.model_dict for event in starts] == [embed_model.to_payload()] * 3
    assert embed_model.to_payload()["model_name"] == GOOGLE

    pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
    payloads = [end.payload for _, end in pairs]
    assert [(p[EventPayload.CHUNKS], p[EventPayload.EMBEDDINGS]) for p in payloads] == carried
    assert [start.payload for start, _ in pairs] == [
        {EventPayload.SERIALIZED: embed_model.to_payload()}
    ] * 3

    assert vectors == [embed_model.get_text_embedding(text) for text in (HARBOUR, BEES)]
    shown = "".join([event.model_dump_json() for event in events] + [repr(debug.get_events())])
    assert HARBOUR in shown
    assert KEY not in shown
