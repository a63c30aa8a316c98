"""A partial result keeps the finished vectors, takes no more memory than a result, and pickles."""

from __future__ import annotations

import asyncio
import copy
import pickle
import struct
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from aimlapi_embeddings import AuthenticationError, EmbeddingResult, PartialResult, Usage
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import OPENAI, EntryPoint

SIZE = 1536


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def partial(places: int = 4, done: tuple[int, ...] = (1, 3)) -> PartialResult:
    buffer = VectorBuffer(places)
    buffer.place(done, [packed([i + 1.0, -1.0]) for i in done])
    return PartialResult(buffer, Usage(requests=2))


def test_vectors_are_read_like_a_list() -> None:
    vectors = partial().vectors
    assert vectors == [None, [2.0, -1.0], None, [4.0, -1.0]]
    assert list(vectors) == vectors
    assert (len(vectors), vectors[1], vectors[-1], vectors[0]) == (
        4,
        [2.0, -1.0],
        [4.0, -1.0],
        None,
    )
    assert vectors[:2] == [None, [2.0, -1.0]]
    assert vectors[::-1] == [[4.0, -1.0], None, [2.0, -1.0], None]
    assert [i for i, vector in enumerate(vectors) if vector is None] == [0, 2]
    assert vectors != [None]
    assert vectors != (None, [2.0, -1.0], None, [4.0, -1.0])
    assert repr(vectors) == repr(list(vectors))
    with pytest.raises(IndexError):
        vectors[4]


def test_an_array_has_a_mask_of_the_finished_vectors() -> None:
    kept = partial()
    array = kept.array()
    assert (array.shape, array.dtype) == ((4, 2), np.dtype(np.float32))
    assert kept.mask.tolist() == [False, True, False, True]
    assert array[kept.mask].tolist() == [[2.0, -1.0], [4.0, -1.0]]
    assert np.isnan(array[~kept.mask]).all()
    assert kept.vectors == [None, [2.0, -1.0], None, [4.0, -1.0]]


def test_without_finished_vectors_the_array_is_empty() -> None:
    kept = PartialResult(VectorBuffer(3), Usage())
    assert (kept.array().shape, kept.mask.tolist()) == ((3, 0), [False] * 3)
    assert kept.vectors == [None] * 3


@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda kept: pickle.loads(pickle.dumps(kept))]
)
@pytest.mark.parametrize("viewed", [False, True])
def test_a_copy_is_equal(clone: Callable[[PartialResult], PartialResult], viewed: bool) -> None:
    kept = partial()
    if viewed:
        kept.array()
    twin = clone(kept)
    assert twin == kept
    assert (twin.usage, twin.mask.tolist()) == (Usage(requests=2), kept.mask.tolist())
    assert kept != partial(done=(1,))


def test_repr_shows_how_many_vectors_are_finished_and_no_numbers() -> None:
    shown = repr(partial())
    assert shown.startswith("PartialResult(2 of 4 vectors, usage=Usage(")


def test_reading_vectors_one_by_one_keeps_none_in_memory() -> None:
    rows = 2_000
    buffer = VectorBuffer(rows)
    buffer.place(range(rows), [packed([1.0] * SIZE)] * rows)
    kept = PartialResult(buffer, Usage())
    tracemalloc.start()
    try:
        assert sum(vector is not None for vector in kept.vectors) == rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50 * SIZE * 8  # all lists at once take 2,000 times as much as one


def test_an_error_of_a_call_holds_the_finished_vectors(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=2, max_concurrency=1)
    expected = entry_point.documents(["a", "b"])
    entry_point.fake_server.will(None, Fault(401))
    with pytest.raises(AuthenticationError) as caught:
        entry_point.documents(["a", "b", "c", "d"])
    kept = caught.value.partial
    assert kept is not None
    assert kept.vectors == [*expected, None, None]
    assert kept.mask.tolist() == [True, True, False, False]
    assert kept.array()[kept.mask] == pytest.approx(np.array(expected))


def test_a_cancellation_while_lists_are_made_has_all_vectors() -> None:
    buffer = VectorBuffer(2000)
    buffer.place(range(2000), [packed([float(i)] * SIZE) for i in range(2000)])
    result = EmbeddingResult("a model", buffer, Usage(requests=1))

    async def cancel() -> PartialResult:
        making = asyncio.ensure_future(result.avectors())
        await asyncio.sleep(0)
        making.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await making
        kept: PartialResult = caught.value.partial  # type: ignore[attr-defined]
        return kept

    kept = asyncio.run(cancel())
    assert kept.usage == Usage(requests=1)
    assert [vector and vector[0] for vector in kept.vectors] == [*map(float, range(2000))]
