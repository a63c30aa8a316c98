"""`normalize=True` scales each vector to length 1, once, whoever reads it."""

from __future__ import annotations

import base64
import copy
import json
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, EmbeddingsClient, ReplyError, emulator
from aimlapi_embeddings._protocol.vectors import VectorBuffer, unit_of
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode

pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")

M2 = "togethercomputer/m2-bert-80M-32k-retrieval"
NUGEN = "qwen3-embedding-8b"
LONG = [(M2, "aimlapi", 1.471446861), (NUGEN, "nugen", 26.0)]
TEXTS = ["a text", "another", "a text", "a third one"]

number = st.floats(min_value=-1e6, max_value=1e6, width=32)
rows = st.lists(
    st.tuples(st.booleans(), st.lists(number, min_size=3, max_size=3)), min_size=1, max_size=8
)


def result(entry_point: EntryPoint, texts: list[str], **options: Any) -> Any:
    client = entry_point.client
    call = client.embed if entry_point.mode == "sync" else client.aembed
    return entry_point.wait(call(texts, **options))


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


# Through every entry point


@pytest.mark.parametrize(("model", "provider", "length"), LONG, ids=["m2-bert", "nugen"])
def test_vectors_of_other_lengths_get_length_1_and_keep_their_direction(
    entry_point: EntryPoint, model: str, provider: str, length: float
) -> None:
    plain = entry_point.make(model, provider=provider).documents(TEXTS)
    unit = entry_point.make(model, provider=provider, normalize=True).documents(TEXTS)
    assert [math.hypot(*vector) for vector in plain] == pytest.approx([length] * 4, rel=0.05)
    assert [math.hypot(*vector) for vector in unit] == pytest.approx([1.0] * 4, abs=1e-6)
    for before, after in zip(plain, unit, strict=True):
        scale = math.hypot(*before)
        assert after == pytest.approx([number / scale for number in before], rel=1e-6)
    query = entry_point.query("a text")
    assert math.hypot(*query) == pytest.approx(1.0, abs=1e-6)
    assert entry_point.fake_server.bodies[0] == entry_point.fake_server.bodies[1]


def test_vectors_are_left_as_they_came_by_default(entry_point: EntryPoint) -> None:
    vector = entry_point.make(M2).query("a")
    assert math.hypot(*vector) == pytest.approx(1.471446861, rel=1e-6)
    assert entry_point.make(M2, normalize=False).query("a") == vector


def test_vectors_of_length_1_stay_the_same_bit_for_bit(entry_point: EntryPoint) -> None:
    plain = entry_point.make(OPENAI).documents(TEXTS)
    assert entry_point.make(OPENAI, normalize=True).documents(TEXTS) == plain


@pytest.mark.parametrize("value", [1, "yes", None])
def test_anything_but_true_and_false_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"normalize=.* is neither True nor False"):
        EmbeddingsClient(model=GOOGLE, api_key=KEY, normalize=value)


def answer_with(core: EntryPoint, vectors: list[list[float]], *, in_base64: bool) -> None:
    """Let the server answer with these vectors, one for each text."""

    def reply(request: emulator.Request) -> emulator.Reply:
        count = len(json.loads(request.body)["input"])
        sent: list[Any] = vectors[:count]
        if in_base64:
            sent = [base64.b64encode(packed(vector)).decode() for vector in sent]
        data = [{"index": i, "embedding": vector} for i, vector in enumerate(sent)]
        return emulator.Reply(200, {}, json.dumps({"data": data}).encode())

    core.fake_server.answer = reply


@pytest.mark.parametrize("in_base64", [True, False])
def test_all_that_read_a_result_see_the_same_numbers(core: EntryPoint, in_base64: bool) -> None:
    vectors = [[3.0, 4.0], [0.1, -0.7], [1e-30, 2e-30]]
    answer_with(core, vectors, in_base64=in_base64)
    core.make(OPENAI, dimensions=2, normalize=True)
    readers: list[Callable[[Any], Any]] = [
        lambda found: [found[i] for i in range(3)],
        lambda found: found[:],
        lambda found: found.vectors,
        lambda found: [*found],
        lambda found: core.wait(found.avectors()),
    ]
    expected = readers[0](result(core, ["a", "b", "c"]))
    assert expected[0] == pytest.approx([0.6, 0.8])
    for first in (*readers, lambda found: found.array()):
        found = result(core, ["a", "b", "c"])
        first(found)
        assert all(reader(found) == expected for reader in readers)
        assert found.array().tolist() == np.float32(expected).tolist()
        assert pickle.loads(pickle.dumps(found)).vectors == expected


def test_an_error_carries_scaled_vectors(core: EntryPoint) -> None:
    core.make(M2, normalize=True, batch_size=1, max_concurrency=1, max_retries=0)
    core.fake_server.will(None, emulator.Fault(401))
    with pytest.raises(Exception, match="401") as caught:
        result(core, ["a", "b"])
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert math.hypot(*partial.vectors[0]) == pytest.approx(1.0, abs=1e-6)
    assert np.linalg.norm(partial.array()[0]) == pytest.approx(1.0, abs=1e-6)
    assert partial.vectors[1] is None
    assert partial.mask.tolist() == [True, False]


def test_known_vectors_are_scaled_and_a_callers_list_is_not_changed(core: EntryPoint) -> None:
    known = [3.0, 4.0, *[0.0] * 766]
    found = result(core.make(M2, normalize=True), ["a", "b"], known={0: known})
    assert found.vectors[0][:3] == [0.6, 0.8, 0.0]
    assert known[:3] == [3.0, 4.0, 0.0]
    again = result(core, ["a", "b"], known=dict(enumerate(found.vectors)))
    assert again.vectors == found.vectors


@pytest.mark.parametrize("in_base64", [True, False])
def test_a_vector_of_zeros_is_an_error_and_is_not_scaled(core: EntryPoint, in_base64: bool) -> None:
    answer_with(core, [[0.0, 0.0]], in_base64=in_base64)
    core.make(OPENAI, dimensions=2, normalize=True)
    with pytest.raises(ReplyError, match="all zeros"):
        result(core, ["a"])


def test_a_result_without_vectors_has_an_empty_array_of_the_models_size(core: EntryPoint) -> None:
    found = result(core.make(M2, normalize=True), [])
    assert found.array().shape == (0, 768)
    assert found.vectors == []


def test_a_copied_or_assigned_adapter_scales_too() -> None:
    fake_server = FakeServer()
    entry_point = EntryPoint("langchain", "sync", fake_server).make(M2)
    entry_point.embedder.normalize = True
    for embedder in (entry_point.embedder, copy.deepcopy(entry_point.embedder)):
        assert math.hypot(*embedder.embed_query("a")) == pytest.approx(1.0, abs=1e-6)


def test_the_choice_is_part_of_what_names_the_vectors() -> None:
    plain, unit = (
        AIMLAPIEmbeddings(model=M2, api_key=KEY, normalize=choice) for choice in (False, True)
    )
    assert plain.cache_namespace != unit.cache_namespace
    assert plain.client.identity["normalize"] is False
    assert unit.client.identity["normalize"] is True


# The buffer


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def filled(given_rows: list[tuple[bool, list[float]]]) -> VectorBuffer:
    buffer = VectorBuffer(len(given_rows), normalize=True)
    for i, (in_base64, row) in enumerate(given_rows):
        buffer.place([i], [packed(row) if in_base64 else list(row)])
    return buffer


@settings(max_examples=200)
@given(rows)
def test_lists_and_arrays_are_equal_whichever_is_made_first(
    given_rows: list[tuple[bool, list[float]]],
) -> None:
    lists_first, array_first = filled(given_rows), filled(given_rows)
    lists = lists_first.vectors()
    array = array_first.array()
    assert lists_first.array().tolist() == np.float32(lists).tolist()
    assert array_first.vectors() == [
        made.tolist() if in_base64 else unit_of(row)
        for made, (in_base64, row) in zip(array, given_rows, strict=True)
    ]
    assert np.allclose(np.float64(lists), array, rtol=1e-6, atol=1e-12)
    for vector, (_, row) in zip(lists, given_rows, strict=True):
        assert vector is not None
        if any(row):
            assert math.hypot(*vector) == pytest.approx(1.0, abs=1.1e-6)
        else:
            assert vector == row


@example([5e-324, 5e-324])
@example([1.7e308, -1.7e308])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_what_was_scaled_is_not_changed_by_another_scaling(vector: list[float]) -> None:
    unit = unit_of(vector)
    assert not any(vector) or math.hypot(*unit) == pytest.approx(1.0, abs=1.1e-6)
    assert unit_of(unit) is unit
    as_float32 = np.float32(unit).tolist()
    assert unit_of(as_float32) is as_float32


def test_an_array_is_still_a_view_of_the_buffer() -> None:
    buffer = filled([(True, [3.0, 4.0]), (True, [6.0, 8.0])])
    first = buffer.array()
    assert np.shares_memory(first, buffer.array())
    assert first.tolist() == np.float32([[0.6, 0.8]] * 2).tolist()


def test_a_row_placed_after_an_array_was_made_is_scaled_at_the_next_reading() -> None:
    buffer = VectorBuffer(3, normalize=True)
    buffer.place([0], [packed([3.0, 4.0])])
    assert np.isnan(buffer.array()[1:]).all()
    buffer.place([1], [packed([0.0, 2.0])])
    buffer.copy(2, 0)
    assert buffer.array().tolist() == np.float32([[0.6, 0.8], [0.0, 1.0], [0.6, 0.8]]).tolist()
    assert buffer.vectors() == buffer.array().tolist()


def test_many_rows_are_scaled_in_pieces() -> None:
    numbers = np.random.default_rng(1).normal(size=(1_000, 8)).astype("<f4")
    buffer = VectorBuffer(1_000, normalize=True)
    buffer.place(range(1_000), [row.tobytes() for row in numbers])
    lengths = np.linalg.norm(buffer.array(), axis=1)
    assert lengths == pytest.approx(np.ones(1_000), abs=1e-6)
