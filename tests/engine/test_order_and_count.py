"""n texts give n vectors in the order of the texts, or an exception."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from aimlapi_embeddings import ReplyError
from aimlapi_embeddings.emulator import Fault, Reply, faults
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint

TEXTS = ["first text", "second text", "third text", "fourth text"]


def one_by_one(entry_point: EntryPoint, texts: list[str]) -> list[list[float]]:
    return [entry_point.documents([text])[0] for text in texts]


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
@pytest.mark.parametrize("reshape", [faults.shuffled, faults.without_index, faults.as_floats])
def test_vectors_land_on_their_texts(entry_point: EntryPoint, model: str, reshape: Any) -> None:
    entry_point.make(model, dimensions=16)
    expected = one_by_one(entry_point, TEXTS)
    entry_point.fake_server.will(Fault(reshape=reshape))
    assert entry_point.documents(TEXTS) == expected


def test_each_text_of_many_requests_gets_its_own_vector(entry_point: EntryPoint) -> None:
    texts = [f"text number {i}" for i in range(57)]
    entry_point.make(OPENAI, dimensions=8, batch_size=5, max_concurrency=4)
    vectors = entry_point.documents(texts)
    assert len(entry_point.fake_server.requests) == 12
    assert vectors == one_by_one(entry_point, texts)


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
@pytest.mark.parametrize(
    "reshape",
    [
        faults.one_short,
        faults.one_long,
        faults.doubled_index,
        faults.null_embedding,
        faults.ragged,
        faults.with_nan,
        faults.empty,
        faults.html,
        faults.cut_short,
    ],
)
def test_a_reply_that_breaks_the_contract_raises(
    entry_point: EntryPoint, model: str, reshape: Any
) -> None:
    entry_point.make(model, dimensions=16)
    entry_point.fake_server.will(Fault(reshape=reshape))
    with pytest.raises(ReplyError, match=r"\[(?:4 texts from 0 to|text) 3 of 4.*; model text-"):
        entry_point.documents(TEXTS)
    assert len(entry_point.fake_server.requests) == 1


def test_vectors_of_another_size_than_requested_raise(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=16)
    entry_point.fake_server.will(Fault(body=_reply([[1.0, 2.0]])))
    with pytest.raises(ReplyError, match="2 numbers, but 16 were expected"):
        entry_point.query("q")


def test_sizes_that_differ_between_replies_raise(entry_point: EntryPoint) -> None:
    entry_point.make("qwen3-embedding-8b", provider="nugen", batch_size=1)  # of no known size
    entry_point.fake_server.will(
        Fault(body=_reply([[1.0, 2.0]])), Fault(body=_reply([[1.0, 2.0, 3.0]]))
    )
    with pytest.raises(ReplyError, match="changed the model"):
        entry_point.documents(["a", "b"])


def test_no_texts_give_no_vectors_and_no_request(entry_point: EntryPoint) -> None:
    assert entry_point.make().documents([]) == []
    assert entry_point.fake_server.requests == []


def test_vectors_are_lists_of_python_floats(entry_point: EntryPoint) -> None:
    for vector in (*entry_point.make(OPENAI).documents(["a"]), entry_point.query("q")):
        assert type(vector) is list
        assert {type(number) for number in vector} == {float}


def _reply(vectors: list[list[float]]) -> bytes:
    data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return json.dumps({"data": data}).encode()


@pytest.mark.parametrize("spoil", [faults.null_embedding, faults.with_nan])
def test_a_vector_that_cannot_be_used_names_its_text(
    entry_point: EntryPoint, spoil: Callable[[Reply], Reply]
) -> None:
    """Two texts are the same, so a place in the reply is not a place in the call."""
    entry_point.make(OPENAI, batch_size=3, max_concurrency=1)
    entry_point.fake_server.will(None, Fault(reshape=spoil))
    with pytest.raises(ReplyError, match=r"\[text 6 of 8, 'f'; model") as caught:
        entry_point.documents(["a", "a", "b", "c", "d", "e", "f", "g"])
    assert caught.value.indices == (6,)
    assert pickle.loads(pickle.dumps(caught.value)).indices == (6,)


def test_a_reply_that_cannot_be_used_names_all_its_texts(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, batch_size=3, max_concurrency=1)
    entry_point.fake_server.will(None, Fault(reshape=faults.one_short))
    with pytest.raises(ReplyError) as caught:
        entry_point.documents(["a", "a", "b", "c", "d", "e", "f", "g"])
    assert caught.value.indices == (4, 5, 6)
