"""A cache keeps what came from the server, under the whole text and the choice for long ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.entry_points import OPENAI, EntryPoint

pytestmark = pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")

M2 = "togethercomputer/m2-bert-80M-32k-retrieval"
DENSE = "a b c d e f g h i j k l m n o p " * 2_000


def test_one_cache_serves_vectors_as_they_came_and_scaled_ones(
    entry_point: EntryPoint, tmp_path: Path
) -> None:
    texts, cache = ["a", "b", "c"], tmp_path / "vectors"
    unit = entry_point.make(M2, normalize=True, cache=cache).documents(texts)
    plain = entry_point.make(M2, cache=cache).documents(texts)
    again = entry_point.make(M2, normalize=True, cache=cache).documents(texts)
    assert len(entry_point.fake_server.requests) == 1
    assert [math.hypot(*vector) for vector in plain] == pytest.approx([1.471446861] * 3)
    assert [math.hypot(*vector) for vector in unit] == pytest.approx([1.0] * 3, abs=1e-6)
    assert again == unit


def test_a_cut_text_is_kept_under_the_whole_text_and_found_with_the_same_choice_alone(
    entry_point: EntryPoint, tmp_path: Path
) -> None:
    cache, server = tmp_path / "vectors", entry_point.fake_server
    entry_point.make(OPENAI, dimensions=4, too_long="truncate", cache=cache)
    vectors = entry_point.documents(["a", DENSE])
    paid = len(server.requests)
    assert entry_point.documents([DENSE, "a"]) == vectors[::-1]
    assert len(server.requests) == paid
    cut = max((text for asked in server.inputs for text in asked if len(text) > 1), key=len)
    entry_point.documents([cut[:9_000]])
    assert len(server.requests) == paid + 1
    entry_point.make(OPENAI, dimensions=4, cache=cache).documents(["a"])
    assert len(server.requests) == paid + 2
