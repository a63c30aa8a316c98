"""LlamaIndex: a subclass that embeds in its own way gets the right vectors, with a store too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import Field, computed_field

from aimlapi_embeddings import BadRequestError, emulator
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode
from tests.support.streams import read

TEXTS = [f"text {i}" for i in range(6)]


class Chunked(AIMLAPIEmbedding):
    """Hands on two texts at a time."""

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        chunks = [texts[i : i + 2] for i in range(0, len(texts), 2)]
        embed = super()._get_text_embeddings
        return [vector for chunk in chunks for vector in embed(chunk)]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        chunks = [texts[i : i + 2] for i in range(0, len(texts), 2)]
        embed = super()._aget_text_embeddings
        return [vector for chunk in chunks for vector in await embed(chunk)]


class Backwards(AIMLAPIEmbedding):
    """Hands on the last text first."""

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return super()._get_text_embeddings(texts[::-1])[::-1]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await super()._aget_text_embeddings(texts[::-1]))[::-1]


class OneByOne(AIMLAPIEmbedding):
    """Does as the base class of the framework does by itself."""

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [self._get_text_embedding(text) for text in texts]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [await self._aget_text_embedding(text) for text in texts]


class Cached(AIMLAPIEmbedding):
    """Uses the public method for one text."""

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [self.get_text_embedding(text) for text in texts]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [await self.aget_text_embedding(text) for text in texts]


@pytest.fixture
def make(fake_server: FakeServer, mode: Mode) -> Callable[..., EntryPoint]:
    def of(cls: type[AIMLAPIEmbedding], **options: Any) -> EntryPoint:
        entry_point = EntryPoint("llama_index", mode, fake_server).make(OPENAI)
        clients = {
            n: getattr(entry_point.embedder, n) for n in ("http_client", "async_http_client")
        }
        common = {"model_name": OPENAI, "api_key": "k" * 10, "dimensions": 8, **clients}
        entry_point.embedder = cls(**{**common, **options})
        return entry_point

    return of


@pytest.mark.parametrize("cached", [[], TEXTS[:1], TEXTS[1:4:2], TEXTS], ids=len)
@pytest.mark.parametrize("cls", [Chunked, Backwards, OneByOne, Cached])
def test_each_text_gets_its_own_vector(
    make: Callable[..., EntryPoint], cls: type[AIMLAPIEmbedding], cached: list[str]
) -> None:
    expected = make(AIMLAPIEmbedding).documents(TEXTS)
    subclass = make(cls, embeddings_cache=SimpleKVStore())
    subclass.documents(cached)
    assert subclass.documents(TEXTS) == expected
    assert subclass.client.usage.requests <= len(TEXTS), "what is in the store is not sent again"


def test_a_number_of_vectors_that_is_not_that_of_the_texts_is_an_error(
    make: Callable[..., EntryPoint],
) -> None:
    class Forgetful(AIMLAPIEmbedding):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return super()._get_text_embeddings(texts[1:])

        async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return await super()._aget_text_embeddings(texts[1:])

    for options in ({}, {"embeddings_cache": SimpleKVStore()}):
        with pytest.raises(ValueError, match=r"Forgetful.*5 vectors.*6 texts"):
            make(Forgetful, **options).documents(TEXTS)


@pytest.mark.parametrize("cls", [Chunked, Backwards])
def test_an_error_puts_no_vector_on_another_node(
    make: Callable[..., EntryPoint], fake_server: FakeServer, cls: type[AIMLAPIEmbedding]
) -> None:
    """Positions in its error are those of the list that the subclass handed on."""

    def refuse_bad(request: emulator.Request) -> emulator.Reply:
        if b"bad" in request.body:
            return emulator.Reply(400, {}, b'{"message": "a text was refused"}')
        return emulator.answer(request)

    texts = [*TEXTS[:5], "bad"]
    expected = make(AIMLAPIEmbedding).documents(texts)
    fake_server.answer = refuse_bad
    store = SimpleKVStore()
    subclass = make(cls, batch_size=1, max_concurrency=1, embeddings_cache=store)
    nodes = [TextNode(text=text) for text in texts]
    embedder = subclass.embedder
    with pytest.raises(BadRequestError):
        subclass.wait(embedder(nodes) if subclass.mode == "sync" else embedder.acall(nodes))
    for node, vector in zip(nodes, expected, strict=True):
        assert node.embedding in (None, vector)
    assert subclass.documents(texts[:5]) == expected[:5], "nor into the store"


class Prefixed(AIMLAPIEmbedding):
    """Has a field of its own that changes its vectors."""

    mark: str = "a: "
    note: str = Field(default="", exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> str:
        return 2 * self.mark

    def _get_query_embedding(self, query: str) -> list[float]:
        return super()._get_query_embedding(self.mark + query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await super()._aget_query_embedding(self.mark + query)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return super()._get_text_embeddings([self.mark + text for text in texts])

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await super()._aget_text_embeddings([self.mark + text for text in texts])


def test_a_dump_holds_the_fields_that_a_subclass_adds() -> None:
    """It is the key of the ingestion cache, and what an object is loaded from."""
    made = Prefixed(model_name=OPENAI, api_key="k" * 10, mark="b: ", note="left out")  # type: ignore[call-arg]
    dump = made.to_dict()
    assert dump["mark"] == "b: "
    assert dump.keys().isdisjoint({"note", "twice"})
    assert Prefixed.from_dict({**dump, "api_key": "k" * 10}).to_dict() == dump


def test_a_subclass_and_its_class_never_share_vectors_of_a_store(
    make: Callable[..., EntryPoint],
) -> None:
    store = SimpleKVStore()
    for cls, options in ((AIMLAPIEmbedding, {}), (Prefixed, {}), (Prefixed, {"mark": "b: "})):
        alone = make(cls, **options)
        expected = [alone.query("a"), *alone.documents(["a"])]
        stored = make(cls, embeddings_cache=store, **options)
        for _ in range(2):
            assert [stored.query("a"), *stored.documents(["a"])] == expected
        assert stored.client.usage.requests == 2, "the second time they are in the store"


class PrefixedBatches(AIMLAPIEmbedding):
    """Replaces one method of several, so that the others embed as our class does."""

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return super()._get_text_embeddings(["a: " + text for text in texts])


class PrefixedQueries(AIMLAPIEmbedding):
    """Replaces the sync method of queries alone."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return super()._get_query_embedding("a: " + query)


@pytest.mark.parametrize("cls", [PrefixedBatches, PrefixedQueries])
def test_methods_of_a_subclass_that_embed_differently_never_share_vectors_of_a_store(
    fake_server: FakeServer, cls: type[AIMLAPIEmbedding]
) -> None:
    def calls(**options: Any) -> list[list[float]]:
        vectors = []
        for mode in ("sync", "async"):
            entry_point = EntryPoint("llama_index", mode, fake_server).make(OPENAI)
            clients = {
                n: getattr(entry_point.embedder, n) for n in ("http_client", "async_http_client")
            }
            embedder = cls(model_name=OPENAI, api_key="k" * 10, dimensions=8, **clients, **options)
            entry_point.embedder = embedder
            one = embedder.get_text_embedding if mode == "sync" else embedder.aget_text_embedding
            vectors += [
                entry_point.wait(one("a")),
                *entry_point.documents(["a"]),
                entry_point.query("a"),
            ]
        return vectors

    expected = calls()
    store = SimpleKVStore()
    assert [calls(embeddings_cache=store) for _ in range(2)] == [expected] * 2


def test_an_error_of_a_method_that_is_not_replaced_names_nodes_and_keeps_vectors(
    fake_server: FakeServer,
) -> None:
    def refuse_bad(request: emulator.Request) -> emulator.Reply:
        if b"bad" in request.body:
            return emulator.Reply(400, {}, b'{"message": "a text was refused"}')
        return emulator.answer(request)

    fake_server.answer = refuse_bad
    entry_point = EntryPoint("llama_index", "async", fake_server).make(OPENAI)
    http = entry_point.embedder.async_http_client
    options = {"batch_size": 1, "max_concurrency": 1, "async_http_client": http}
    store = SimpleKVStore()
    made = PrefixedBatches(
        model_name=OPENAI, api_key="k" * 10, dimensions=8, embeddings_cache=store, **options
    )
    nodes = [TextNode(text=text, id_=text) for text in ("a", "bad", "c")]
    with pytest.raises(BadRequestError, match="node 'bad'"):
        entry_point.wait(made.acall(nodes))
    assert [node.embedding is not None for node in nodes] == [True, False, True]
    sent = len(fake_server.requests)
    entry_point.wait(made.aget_text_embedding_batch(["a", "c"]))
    assert len(fake_server.requests) == sent, "what was paid for is in the store"


def test_a_stream_warns_that_it_does_not_embed_in_the_way_of_a_subclass(
    make: Callable[..., EntryPoint],
) -> None:
    entry_point = make(Prefixed)
    with pytest.warns(UserWarning, match="does not call the _a?get_text_embeddings that Prefixed"):
        read(entry_point.embedder, entry_point.mode, ["a"], method="embed_documents_iter")
    with warnings.catch_warnings(action="error"):
        entry_point = make(Described)
        read(entry_point.embedder, entry_point.mode, ["a"], method="embed_documents_iter")


class Described(AIMLAPIEmbedding):
    """Embeds as its class does."""

    about: str = ""
