"""Streams cut long texts and scale vectors as `embed` does."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aimlapi_embeddings import EmbeddingResult, InvalidInputError
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode

pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")

M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
NUGEN = "qwen3-embedding-8b"
PROSE = "some words of a long text that goes on and on " * 2_000
DENSE = "a b c d e f g h i j k l m n o p " * 2_000


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


def streamed(core: EntryPoint, texts: list[str], **options: Any) -> list[Any]:
    if core.mode == "sync":
        return list(core.client.embed_iter(texts, **options))

    async def collect() -> list[Any]:
        return [item async for item in core.client.aembed_iter(texts, **options)]

    return core.wait(collect())


def embedded(core: EntryPoint, texts: list[str]) -> EmbeddingResult:
    call = core.client.embed if core.mode == "sync" else core.client.aembed
    return core.wait(call(texts))


def test_a_stream_gives_the_vectors_of_embed_and_lists_truncated_texts(core: EntryPoint) -> None:
    texts = ["short", PROSE, DENSE, "short too", PROSE, "the end"]
    core.make(OPENAI, dimensions=4, too_long="truncate")
    expected = embedded(core, texts)
    assert list(expected.truncated) == [1, 2, 4]
    assert streamed(core, texts) == expected.vectors
    results = streamed(core, texts, batches_of=3)
    assert [vector for result in results for vector in result.vectors] == expected.vectors
    positions = {
        3 * n + i: kept for n, result in enumerate(results) for i, kept in result.truncated.items()
    }
    assert positions == expected.truncated


def test_a_stream_refuses_a_text_that_may_be_cut_silently_in_its_turn(core: EntryPoint) -> None:
    core.make(M2.format("32k"), too_long="error")
    long = "word " * 40_000
    assert [vector is None for vector in streamed(core, ["a", long, "b"], on_invalid="none")] == [
        False,
        True,
        False,
    ]
    with pytest.raises(InvalidInputError) as caught:
        streamed(core, ["a", long, "b"])
    assert caught.value.indices == (1,)
    assert "tokens of 32,768" in caught.value.refused[1]


@pytest.mark.parametrize(("model", "provider"), [(M2.format("32k"), "aimlapi"), (NUGEN, "nugen")])
def test_a_stream_scales_each_vector_as_embed_does(
    core: EntryPoint, model: str, provider: str
) -> None:
    texts = [f"text {i}" for i in range(7)]
    core.make(model, provider=provider, normalize=True)
    expected = embedded(core, texts).vectors
    assert [math.hypot(*vector) for vector in expected] == pytest.approx([1.0] * 7, abs=1e-6)
    assert streamed(core, texts) == expected
    results = streamed(core, texts, batches_of=4)
    assert [vector for result in results for vector in result.vectors] == expected
