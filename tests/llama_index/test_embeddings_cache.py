"""LlamaIndex: vectors that the user's `embeddings_cache` holds already."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.storage.kvstore import SimpleKVStore

from aimlapi_embeddings import BadRequestError, InvalidInputError, emulator
from tests.support import progress_bars
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer, Mode
from tests.support.stalls import longest_gap
from tests.support.streams import read

TEXTS = [f"text {i}" for i in range(6)]


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    return EntryPoint("llama_index", mode, fake_server)


@pytest.fixture
def store() -> SimpleKVStore:
    return SimpleKVStore()


def refuse_bad(request: emulator.Request) -> emulator.Reply:
    """The server of a user whose text 4 is at fault."""
    if b"bad" in request.body:
        return emulator.Reply(400, {}, b'{"message": "a text was refused"}')
    return emulator.answer(request)


def one_text(llama_index: EntryPoint, text: str) -> list[float]:
    """Embed a document by the method that takes one."""
    name = "get_text_embedding" if llama_index.mode == "sync" else "aget_text_embedding"
    vector: list[float] = llama_index.wait(getattr(llama_index.embedder, name)(text))
    return vector


def test_what_was_embedded_once_is_not_sent_again(
    llama_index: EntryPoint, store: SimpleKVStore
) -> None:
    llama_index.make(embeddings_cache=store)
    first = [llama_index.query("q"), *llama_index.documents(TEXTS)]
    sent = len(llama_index.fake_server.requests)
    assert [llama_index.query("q"), *llama_index.documents(TEXTS)] == first
    embedder = llama_index.embedder
    one = (
        embedder.get_text_embedding if llama_index.mode == "sync" else embedder.aget_text_embedding
    )
    assert llama_index.wait(one(TEXTS[0])) == first[1]
    assert len(llama_index.fake_server.requests) == sent


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *itertools.combinations(
            [
                {},
                {"model": OPENAI},
                {"dimensions": 8},
                {"task_type": "CLUSTERING"},
                {"document_prefix": "passage: "},
                {"base_url": "https://elsewhere.example"},
                {"additional_kwargs": {"auto_truncate": False}},
            ],
            2,
        )
    ],
    ids=str,
)
def test_vectors_of_two_set_ups_never_cross(
    llama_index: EntryPoint, store: SimpleKVStore, one: dict[str, Any], other: dict[str, Any]
) -> None:
    alone = [llama_index.make(**options).documents(["a"]) for options in (one, other)]
    sent = len(llama_index.fake_server.requests)
    kept = [
        llama_index.make(embeddings_cache=store, **options).documents(["a"])
        for options in (one, other)
    ]
    assert kept == alone
    assert len(llama_index.fake_server.requests) == sent + 2


def test_documents_and_queries_never_cross(llama_index: EntryPoint, store: SimpleKVStore) -> None:
    llama_index.make(embeddings_cache=store)
    llama_index.documents(["a"])
    llama_index.query("a")
    tasks = [body["task_type"] for body in llama_index.fake_server.bodies]
    assert tasks == ["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"id": None},
        {"id": "text"},
        {"id": []},
        {"id": [1.0] * 8},
        {"id": [math.nan] * 768},
        {"id": [math.inf, -math.inf] * 384},
        {"id": ["1.0"] * 768},
    ],
    ids=["nothing", "null", "text", "empty", "size", "NaN", "infinite", "strings"],
)
@pytest.mark.parametrize("query", [False, True])
def test_an_entry_that_cannot_be_a_vector_is_a_miss(
    llama_index: EntryPoint, store: SimpleKVStore, entry: dict[str, Any], query: bool
) -> None:
    llama_index.make(embeddings_cache=store)
    role = "query" if query else "document"
    collection = f"embeddings-{llama_index.client.cache_namespace}-{role}"
    store.put("a", entry, collection=collection)
    vector = llama_index.query("a") if query else llama_index.documents(["a"])[0]
    assert len(vector) == 768
    assert list(store.get("a", collection=collection).values()) == [vector], "it is put right"


def test_the_callers_list_is_not_the_caches(llama_index: EntryPoint, store: SimpleKVStore) -> None:
    llama_index.make(embeddings_cache=store, dimensions=8)
    first = llama_index.documents(["a"])[0]
    expected = [*first]
    first[:] = [0.0] * 8
    second = llama_index.documents(["a", "a"])
    second[0][:] = [0.0] * 8
    assert second[1] == expected
    assert llama_index.documents(["a"]) == [expected]


def test_errors_speak_of_the_callers_list(llama_index: EntryPoint, store: SimpleKVStore) -> None:
    llama_index.fake_server.answer = refuse_bad
    llama_index.make(embeddings_cache=store, batch_size=1, max_concurrency=1)
    llama_index.documents(TEXTS[:3])
    texts = [*TEXTS[:4], "bad", TEXTS[5]]
    with pytest.raises(BadRequestError, match="text 4 of 6") as caught:
        llama_index.documents(texts)
    assert caught.value.indices == (4,)
    assert [v is not None for v in caught.value.partial.vectors] == [True] * 4 + [False, True]
    sent = len(llama_index.fake_server.requests)
    llama_index.documents([text for text in texts if text != "bad"])
    assert len(llama_index.fake_server.requests) == sent, "what was paid for is not paid again"


def test_texts_that_are_none_are_named_in_the_callers_list(
    llama_index: EntryPoint, store: SimpleKVStore
) -> None:
    llama_index.make(embeddings_cache=store).documents(TEXTS[:2])
    with pytest.raises(InvalidInputError) as caught:
        llama_index.documents([*TEXTS[:2], None, ""])  # type: ignore[list-item]
    assert caught.value.indices == (2, 3)
    for nothing in (None, 5, "a text"):
        with pytest.raises(InvalidInputError, match="list of strings"):
            llama_index.documents(nothing)  # type: ignore[arg-type]


def test_the_bar_speaks_of_the_callers_list(
    llama_index: EntryPoint, store: SimpleKVStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama_index.make(embeddings_cache=store, batch_size=1, max_concurrency=1)
    llama_index.documents(TEXTS[:4])
    made = progress_bars.record(monkeypatch)
    llama_index.documents(TEXTS, show_progress=True)
    assert [bar.moves[-3:] for bar in made] == [[(4, 6), (5, 6), (6, 6)]]


def test_a_text_that_occurs_twice_is_looked_up_and_stored_once(llama_index: EntryPoint) -> None:
    class Counting(SimpleKVStore):
        calls: list[str] = []  # noqa: RUF012

        def get(self, key: str, **options: Any) -> Any:
            self.calls.append(f"get {key}")
            return super().get(key, **options)

        def put(self, key: str, val: Any, **options: Any) -> None:
            self.calls.append(f"put {key}")
            super().put(key, val, **options)

    llama_index.make(embeddings_cache=Counting()).documents(["a", "b", "a"])
    assert Counting.calls == ["get a", "get b", "put a", "put b"]


def test_a_subclass_may_still_replace_the_method_that_embeds(
    fake_server: FakeServer, store: SimpleKVStore
) -> None:
    made = EntryPoint("llama_index", "sync", fake_server).make(embeddings_cache=store).embedder

    class Stripping(type(made)):  # type: ignore[misc]
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            vectors: list[list[float]] = super()._get_text_embeddings([t.strip() for t in texts])
            return vectors

    stripping = Stripping(
        model=GOOGLE, api_key="k" * 10, http_client=made.http_client, embeddings_cache=store
    )
    assert len(stripping.get_text_embedding_batch([" a ", "b"])) == 2
    stripping.get_text_embedding_batch([" a ", " c "])
    assert fake_server.inputs == [["a", "b"], ["c"]]


class Busy(SimpleKVStore):
    """A store in memory, whose methods take some time and never wait, as all of them do."""

    def __init__(self, *, is_full: bool) -> None:
        super().__init__()
        self.is_full = is_full

    async def aget(self, key: str, collection: str = "") -> dict[str, Any] | None:
        return {"id": self.vector()} if self.is_full else None

    async def aput(self, key: str, val: dict[str, Any], collection: str = "") -> None:
        self.vector()

    def vector(self) -> list[float]:
        ends = time.perf_counter() + 0.0005
        while time.perf_counter() < ends:
            pass
        return [0.25] * 8


@pytest.mark.parametrize("is_full", [True, False], ids=["found", "stored"])
def test_other_tasks_run_while_many_vectors_are_looked_up_and_stored(
    fake_server: FakeServer, is_full: bool
) -> None:
    texts = [f"text {i}" for i in range(1000)]

    async def main() -> float:
        entry_point = EntryPoint("llama_index", "async", fake_server)
        store = Busy(is_full=is_full)
        embedder = entry_point.make(OPENAI, dimensions=8, embeddings_cache=store).embedder
        gap, _ = await longest_gap(lambda: embedder.aget_text_embedding_batch(texts))
        return gap

    # The store alone takes half a second. The best of three, on a busy machine.
    assert min(asyncio.run(main()) for _ in range(3)) < 0.25


def test_a_stream_warns_that_it_does_without_the_store(
    llama_index: EntryPoint, store: SimpleKVStore, tmp_path: Path
) -> None:
    llama_index.make(embeddings_cache=store).documents(["a"])

    def stream() -> None:
        read(llama_index.embedder, llama_index.mode, ["a"], method="embed_documents_iter")

    with pytest.warns(UserWarning, match="embeddings_cache.*cache=") as told:
        stream()
    assert [warning.filename for warning in told] == [read.__code__.co_filename]
    assert llama_index.fake_server.inputs == [["a"], ["a"]]
    llama_index.make(embeddings_cache=store, cache=tmp_path / "vectors.db")
    stream()  # which is told of nothing: its texts are kept
