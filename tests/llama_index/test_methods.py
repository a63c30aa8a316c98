"""LlamaIndex's methods, indexes and settings with our class."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import MetadataMode, TextNode

from aimlapi_embeddings import ConfigurationError
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding
from tests.support.entry_points import GOOGLE, EntryPoint, FakeServer, Mode

DOCUMENT = {"model": GOOGLE, "task_type": "RETRIEVAL_DOCUMENT"}
QUERY = {"model": GOOGLE, "task_type": "RETRIEVAL_QUERY"}


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    """LlamaIndex's methods in both modes, on the fake server."""
    return EntryPoint("llama_index", mode, fake_server)


@pytest.fixture
def embedding(fake_server: FakeServer) -> AIMLAPIEmbedding:
    embedder: AIMLAPIEmbedding = EntryPoint("llama_index", "sync", fake_server).make().embedder
    return embedder


def nodes() -> list[TextNode]:
    return [
        TextNode(text="The harbour is dredged every spring.", id_="harbour"),
        TextNode(text="Bees dance to tell where the clover is.", id_="bees"),
        TextNode(text="The lighthouse keeper writes a log.", id_="keeper"),
    ]


# Names


@pytest.mark.parametrize(
    ("cls", "name"), [(AIMLAPIEmbedding, "AIMLAPIEmbedding"), (NugenEmbedding, "NugenEmbedding")]
)
def test_class_name_is_the_name_of_the_class(cls: type[BaseEmbedding], name: str) -> None:
    assert issubclass(cls, BaseEmbedding)
    assert cls.class_name() == name


# Methods


def call(entry_point: EntryPoint, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a method by the name of its sync form."""
    twin = {"__call__": "acall"}.get(name, f"a{name}")
    method = getattr(entry_point.embedder, name if entry_point.mode == "sync" else twin)
    return entry_point.wait(method(*arguments, **options))


@pytest.mark.parametrize(
    ("name", "argument", "sent"),
    [
        ("get_query_embedding", "q", [QUERY | {"input": ["q"]}]),
        ("get_text_embedding", "a", [DOCUMENT | {"input": ["a"]}]),
        ("get_text_embedding_batch", ["a", "b"], [DOCUMENT | {"input": ["a", "b"]}]),
        ("get_text_embedding_batch", [], []),
        (
            "get_agg_embedding_from_queries",
            ["q", "r"],
            [QUERY | {"input": ["q"]}, QUERY | {"input": ["r"]}],
        ),
    ],
)
def test_each_method_sends_its_role(
    llama_index: EntryPoint, name: str, argument: Any, sent: list[dict[str, Any]]
) -> None:
    call(llama_index.make(), name, argument)
    assert llama_index.fake_server.bodies == sent


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("task_type", r"AIMLAPIEmbedding\(..., task_type=...\)"),
        ("dimensions", "dimensions=..."),
        ("model", "model=..."),
        ("model_name", "model_name=..."),
        ("normalize", "normalize=..."),
        ("additional_kwargs", "additional_kwargs=..."),
        ("titles", r"client\.embed\(texts, titles=...\)"),
        ("role", "get_query_embedding"),
    ],
)
def test_an_argument_that_would_change_the_vectors_is_refused_and_not_swallowed(
    llama_index: EntryPoint, name: str, remedy: str
) -> None:
    llama_index.make()
    for method, argument in (("get_text_embedding_batch", ["a"]), ("__call__", nodes())):
        with pytest.raises(ConfigurationError, match=f"takes no {name}.*{remedy}") as caught:
            call(llama_index, method, argument, **{name: 1})
        assert caught.value.partial is not None
        assert list(caught.value.partial.vectors) == [None] * len(argument)
    assert llama_index.fake_server.requests == []


def test_arguments_of_the_framework_are_left_to_it(llama_index: EntryPoint) -> None:
    """It hands those of an index to every step of a pipeline."""
    embedder = llama_index.make().embedder
    options = {"embed_model": embedder, "insert_batch_size": 1, "use_async": False}
    assert call(llama_index, "get_text_embedding_batch", ["a"], **options) == [
        call(llama_index, "get_text_embedding", "a")
    ]


def test_an_aggregate_is_the_mean_or_the_result_of_the_given_function(
    llama_index: EntryPoint,
) -> None:
    llama_index.make(dimensions=8)
    one, other = llama_index.query("one"), llama_index.query("other")
    mean = call(llama_index, "get_agg_embedding_from_queries", ["one", "other"])
    assert mean == pytest.approx([(a + b) / 2 for a, b in zip(one, other, strict=True)])
    last = call(llama_index, "get_agg_embedding_from_queries", ["one", "other"], lambda all: all[1])
    assert last == other


def test_nodes_are_embedded_with_their_metadata_for_embedding(llama_index: EntryPoint) -> None:
    node = TextNode(
        text="It is dredged.",
        metadata={"title": "The harbour", "page": 3},
        excluded_embed_metadata_keys=["page"],
    )
    given = [node, *nodes()]
    assert call(llama_index.make(), "__call__", given) is given
    assert llama_index.fake_server.inputs == [[n.get_content(MetadataMode.EMBED) for n in given]]
    assert llama_index.fake_server.inputs[0][0] == "title: The harbour\n\nIt is dredged."
    alone = llama_index.documents([n.get_content(MetadataMode.EMBED) for n in reversed(given)])
    assert [n.embedding for n in reversed(given)] == alone


# Indexes


def test_an_index_finds_the_nearest_node(llama_index: EntryPoint) -> None:
    index = VectorStoreIndex(nodes(), embed_model=llama_index.make().embedder)
    retriever = index.as_retriever(similarity_top_k=2)
    retrieve = retriever.retrieve if llama_index.mode == "sync" else retriever.aretrieve
    hits = llama_index.wait(retrieve("Where do bees dance?"))
    assert hits[0].node_id == "bees"
    assert hits[0].score > 2 * hits[1].score
    assert [body["task_type"] for body in llama_index.fake_server.bodies] == [
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
    ]


def test_settings_use_our_object_as_the_embedding_model(
    embedding: AIMLAPIEmbedding, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_callback_manager", None)
    monkeypatch.setattr(Settings, "_embed_model", None)
    client = embedding.client
    Settings.embed_model = embedding
    hits = VectorStoreIndex(nodes()).as_retriever(similarity_top_k=1).retrieve("The harbour?")
    assert [hit.node_id for hit in hits] == ["harbour"]
    assert embedding.callback_manager is Settings.callback_manager
    assert embedding.client is client, "a new callback manager needs no new client"
