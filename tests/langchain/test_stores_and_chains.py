"""LangChain's in-memory store and chains, and one object used by many loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from aimlapi_embeddings import emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support.emulator_server import serving
from tests.support.entry_points import GOOGLE, KEY, EntryPoint, FakeServer

HARBOUR = Document("The harbour is dredged every spring.", metadata={"place": "sea"}, id="harbour")
BEES = Document("Bees dance to tell where the clover is.", metadata={"place": "land"}, id="bees")
KEEPER = Document("The lighthouse keeper writes a log.", metadata={"place": "sea"}, id="keeper")
CORPUS = [HARBOUR, BEES, KEEPER]


@pytest.fixture
def embeddings(fake_server: FakeServer) -> AIMLAPIEmbeddings:
    embedder: AIMLAPIEmbeddings = (
        EntryPoint("langchain", "sync", fake_server).make(dimensions=256).embedder
    )
    return embedder


@pytest.fixture
def store(embeddings: AIMLAPIEmbeddings) -> InMemoryVectorStore:
    return InMemoryVectorStore.from_documents(CORPUS, embeddings)


def test_a_store_returns_hits_by_falling_similarity(store: InMemoryVectorStore) -> None:
    hits = store.similarity_search_with_score("Where do bees dance?", k=3)
    documents, scores = zip(*hits, strict=True)
    assert documents[0] == BEES
    assert list(scores) == sorted(scores, reverse=True)
    assert scores[0] > 2 * scores[1]


def test_a_store_applies_its_filter(store: InMemoryVectorStore) -> None:
    hits = store.similarity_search(
        "Where do bees dance?", k=3, filter=lambda document: document.metadata["place"] == "sea"
    )
    assert {hit.id for hit in hits} == {"harbour", "keeper"}


def test_a_store_sends_its_corpus_in_one_request_and_the_question_as_a_query(
    store: InMemoryVectorStore, fake_server: FakeServer
) -> None:
    store.similarity_search("q")
    assert [(body["task_type"], body["input"]) for body in fake_server.bodies] == [
        ("RETRIEVAL_DOCUMENT", [document.page_content for document in CORPUS]),
        ("RETRIEVAL_QUERY", ["q"]),
    ]


async def test_async_methods_of_a_store_find_the_same_as_the_sync_ones(
    embeddings: AIMLAPIEmbeddings, store: InMemoryVectorStore
) -> None:
    question = "Where do bees dance?"
    filled = await InMemoryVectorStore.afrom_documents(CORPUS, embeddings)
    found = await filled.asimilarity_search_with_score(question, k=3)
    assert found == store.similarity_search_with_score(question, k=3)
    await filled.adelete(["bees"])
    await filled.aadd_documents([Document("Bees dance.", id="more bees")])
    nearest = await filled.amax_marginal_relevance_search(question, k=1)
    assert [hit.id for hit in nearest] == ["more bees"]


def quote(prompt: PromptValue) -> str:
    """Stand in for a chat model: repeat the first passage."""
    return prompt.to_string().splitlines()[1]


@pytest.fixture
def chain(store: InMemoryVectorStore) -> Runnable[str, str]:
    def join(documents: list[Document]) -> str:
        return "\n".join(document.page_content for document in documents)

    prompt = ChatPromptTemplate.from_template("Passages:\n{passages}\nQuestion: {question}")
    retriever = store.as_retriever(search_kwargs={"k": 2})
    passages = {"passages": retriever | join, "question": RunnablePassthrough()}
    return passages | prompt | RunnableLambda(quote) | StrOutputParser()


QUESTIONS = {
    "What does the lighthouse keeper write?": KEEPER.page_content,
    "When is the harbour dredged?": HARBOUR.page_content,
}


def test_a_retrieval_chain_answers(chain: Runnable[str, str]) -> None:
    assert chain.batch(list(QUESTIONS)) == list(QUESTIONS.values())


async def test_a_retrieval_chain_answers_in_async_methods(chain: Runnable[str, str]) -> None:
    for question, answer in QUESTIONS.items():
        assert await chain.ainvoke(question) == answer
    assert await chain.abatch(list(QUESTIONS)) == list(QUESTIONS.values())


async def test_an_embedding_method_can_be_a_step_of_a_chain(
    embeddings: AIMLAPIEmbeddings, fake_server: FakeServer
) -> None:
    step = RunnableLambda(embeddings.embed_query, embeddings.aembed_query)
    texts = [f"text {i}" for i in range(5)]
    vectors = step.batch(texts)
    assert await step.abatch(texts) == vectors
    assert vectors == [embeddings.embed_query(text) for text in texts]
    assert {body["task_type"] for body in fake_server.bodies} == {"RETRIEVAL_QUERY"}


class NoThreads(ThreadPoolExecutor):
    """An executor that refuses blocking calls of an event loop."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"{fn} was handed to a thread")


async def test_async_methods_stay_in_the_running_loop(
    embeddings: AIMLAPIEmbeddings, fake_server: FakeServer
) -> None:
    asyncio.get_running_loop().set_default_executor(NoThreads())
    threads: set[threading.Thread] = set()

    def answer(request: emulator.Request) -> emulator.Reply:
        threads.add(threading.current_thread())
        return emulator.answer(request)

    fake_server.answer = answer
    embeddings.chunk_size = 1
    store = InMemoryVectorStore(embeddings)
    await store.aadd_documents(CORPUS)
    await store.asimilarity_search("q")
    assert len(fake_server.requests) == len(CORPUS) + 1
    assert threads == {threading.current_thread()}


def test_one_object_serves_several_event_loops_one_after_the_other() -> None:
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        embeddings = AIMLAPIEmbeddings(model=GOOGLE, api_key=KEY, base_url=base_url)
        for _ in range(3):
            asyncio.run(embeddings.aembed_query("q"))
    assert len(server.requests) == 3


def test_thirty_two_threads_share_one_object(embeddings: AIMLAPIEmbeddings) -> None:
    everyone = threading.Barrier(32)
    with serving(together=4, latency=0.002) as (server, base_url):
        shared = AIMLAPIEmbeddings(
            model=GOOGLE,
            api_key=KEY,
            base_url=base_url,
            dimensions=256,
            chunk_size=1,
            max_concurrency=4,
        )

        def embed(i: int) -> list[list[float]]:
            everyone.wait()
            return [*shared.embed_documents([f"a {i}", f"b {i}"]), shared.embed_query(f"q {i}")]

        with ThreadPoolExecutor(32) as pool:
            results = list(pool.map(embed, range(32)))
        shared.client.close()
    assert results == [
        [*embeddings.embed_documents([f"a {i}", f"b {i}"]), embeddings.embed_query(f"q {i}")]
        for i in range(32)
    ]
    assert len(server.requests) == 3 * 32
    assert server.peak_in_flight == 4
