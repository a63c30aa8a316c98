"""LlamaIndex: an error of a pipeline names nodes and documents; others keep their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode

from aimlapi_embeddings import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    RateLimitError,
    emulator,
)
from tests.support.entry_points import EntryPoint, FakeServer, Mode


@pytest.fixture
def llama_index(fake_server: FakeServer, mode: Mode) -> EntryPoint:
    def refuse_bad(request: emulator.Request) -> emulator.Reply:
        if b"bad" in request.body:
            return emulator.Reply(400, {}, b'{"message": "a text was refused"}')
        return emulator.answer(request)

    fake_server.answer = refuse_bad
    entry_point = EntryPoint("llama_index", mode, fake_server)
    return entry_point.make(batch_size=1, max_concurrency=1, dimensions=8)


def nodes(*texts: str) -> list[TextNode]:
    """Nodes n0, n1, ... of documents d0, d1, ..."""
    made = [TextNode(text=text, id_=f"n{i}") for i, text in enumerate(texts)]
    for i, node in enumerate(made):
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"d{i}")
    return made


def call(entry_point: EntryPoint, given: Sequence[Any]) -> Any:
    embedder = entry_point.embedder
    return entry_point.wait((embedder if entry_point.mode == "sync" else embedder.acall)(given))


def test_an_error_names_the_node_and_its_document(llama_index: EntryPoint) -> None:
    given = nodes("good one", "bad", "good two")
    with pytest.raises(BadRequestError, match="node 'n1' of document 'd1'") as caught:
        call(llama_index, given)
    assert caught.value.indices == (1,)
    assert [node.embedding is not None for node in given] == [True, False, True]


def test_a_pipeline_names_the_document(llama_index: EntryPoint) -> None:
    documents = [Document(text=text, id_=text) for text in ("good one", "bad", "good two")]
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), llama_index.embedder])
    run = pipeline.run if llama_index.mode == "sync" else pipeline.arun
    with pytest.raises(BadRequestError, match="of document 'bad'"):
        llama_index.wait(run(documents=documents))


def test_an_empty_node_is_named_before_anything_is_sent(llama_index: EntryPoint) -> None:
    given = [TextNode(text="good", id_="n0"), *(TextNode(text="", id_=f"e{i}") for i in range(7))]
    with pytest.raises(InvalidInputError, match=r"node 'e0'; .*node 'e4'; and 2 more\.$"):
        call(llama_index, given)
    assert llama_index.fake_server.requests == []


# Texts of the request that failed are in `indices` of its error, and are not at fault.
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (404, NotFoundError),
        (429, RateLimitError),
        (500, InternalServerError),
    ],
)
def test_an_error_of_the_request_names_no_node_and_others_keep_their_vectors(
    llama_index: EntryPoint, status: int, kind: type[APIStatusError]
) -> None:
    llama_index.make(batch_size=1, max_concurrency=1, dimensions=8, max_retries=0)
    llama_index.fake_server.will(None, emulator.Fault(status))
    given = nodes("a", "b", "c")
    with pytest.raises(kind) as caught:
        call(llama_index, given)
    assert "node" not in str(caught.value)
    assert [node.embedding is not None for node in given] == [True, False, False]


def insert(entry_point: EntryPoint, given: Sequence[Any]) -> VectorStoreIndex:
    """Put nodes into an index as its user does."""
    index = VectorStoreIndex([], embed_model=entry_point.embedder)
    if entry_point.mode == "sync":
        index.insert_nodes(given)
    else:
        entry_point.wait(index.ainsert_nodes(given))
    return index


def test_an_error_of_an_index_says_how_to_find_the_nodes_and_its_remedy_works(
    llama_index: EntryPoint,
) -> None:
    given = nodes("good one", "bad", "good two")
    with pytest.raises(BadRequestError) as caught:
        insert(llama_index, given)
    [remedy] = caught.value.__notes__
    assert "embed_model(nodes)" in remedy
    with pytest.raises(BadRequestError, match="node 'n1' of document 'd1'") as caught:
        call(llama_index, given)
    assert caught.value.__notes__ == [], "the remedy is not told to who has followed it"
    sent = len(llama_index.fake_server.requests)
    good = [node for node in given if node.embedding is not None]
    assert len(insert(llama_index, good).index_struct.nodes_dict) == 2
    assert len(llama_index.fake_server.requests) == sent, "the index embeds none of them again"


def test_an_error_of_the_request_does_not_point_to_nodes(llama_index: EntryPoint) -> None:
    llama_index.fake_server.will(emulator.Fault(401))
    with pytest.raises(AuthenticationError) as caught:
        insert(llama_index, nodes("a", "b"))
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("texts", [("good one", "good two"), ("good one", "bad")])
def test_nodes_of_an_iterator_are_not_lost(llama_index: EntryPoint, texts: tuple[str, ...]) -> None:
    given = nodes(*texts)
    if "bad" in texts:
        with pytest.raises(BadRequestError, match="node 'n1'"):
            call(llama_index, (node for node in given))  # type: ignore[arg-type]
    else:
        assert call(llama_index, (node for node in given)) == given  # type: ignore[arg-type]
    assert [node.embedding is not None for node in given] == ["good" in text for text in texts]


@pytest.mark.parametrize(
    ("given", "said", "indices"),
    [
        (TextNode(text="a"), r"not a TextNode\. Put the one node into a list", ()),
        ("a text", "a list of nodes, not a str", ()),
        (None, "a list of nodes, not a NoneType", ()),
        (["a", "b"], r"nodes\[0\] is a str; get_text_embedding_batch embeds texts; nodes", (0, 1)),
        ([TextNode(text="a"), 5], r"nodes\[1\] is an int, and no node", (1,)),
        (
            [NodeWithScore(node=TextNode(text="a"))] * 7,
            r"pass its \.node; .*and 2 more",
            (*range(7),),
        ),
    ],
    ids=["one node", "text", "nothing", "texts", "number", "hits"],
)
def test_what_is_no_node_is_named_before_anything_is_sent(
    llama_index: EntryPoint, given: Any, said: str, indices: tuple[int, ...]
) -> None:
    """The framework finds out that a hit takes no vector when it has paid for one."""
    with pytest.raises(InvalidInputError, match=said) as caught:
        call(llama_index, given)
    assert caught.value.indices == indices
    assert caught.value.partial is not None
    assert len(caught.value.partial) == (len(given) if indices else 0)
    assert llama_index.fake_server.requests == []
