"""n texts give n vectors in the order of the texts, or an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimlapi_embeddings import ReplyError, emulator
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint

TEXTS = ["first text", "second text", "third text", "fourth text"]


def one_by_one(entry_point: EntryPoint, texts: list[str]) -> list[list[float]]:
    return [entry_point.documents([text])[0] for text in texts]


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
@pytest.mark.parametrize("reshape", [emulator.shuffled, emulator.without_index, emulator.as_floats])
def test_each_text_gets_its_own_vector(entry_point: EntryPoint, model: str, reshape: Any) -> None:
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
        emulator.one_short,
        emulator.one_long,
        emulator.doubled_index,
        emulator.null_embedding,
        emulator.ragged,
        emulator.with_nan,
        emulator.empty,
        emulator.html,
        emulator.cut_short,
    ],
)
def test_a_reply_that_breaks_the_contract_raises(
    entry_point: EntryPoint, model: str, reshape: Any
) -> None:
    entry_point.make(model, dimensions=16)
    entry_point.fake_server.will(Fault(reshape=reshape))
    with pytest.raises(ReplyError, match="4 texts from 0 to 3 of 4; model text-"):
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
