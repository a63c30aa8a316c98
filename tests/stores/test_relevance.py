"""Relevance scores of stores that take vectors for unit vectors: `normalize=True` makes them so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import optional_imports
from tests.support.entry_points import EntryPoint, FakeServer, Mode
from tests.support.vector_stores import chroma_client

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:`langchain-community` is being sunset"),
]

M2 = "togethercomputer/m2-bert-80M-32k-retrieval"  # vectors of length 1.47
NUGEN = "qwen3-embedding-8b"  # vectors of length 25.5 to 27.1
BEES = "Bees dance to tell where the clover is."
TEXTS = [
    BEES,
    "Bees dance to tell where the heather blooms.",
    "Bees dance in summer meadows.",
]


def faiss(embedder: Any, folder: Path) -> Any:
    optional_imports.need("faiss", "stores")
    stores = optional_imports.need("langchain_community.vectorstores", "stores")
    return stores.FAISS.from_texts(TEXTS, embedder)


def chroma(embedder: Any, folder: Path) -> Any:
    store = optional_imports.need("langchain_chroma", "stores")
    return store.Chroma.from_texts(TEXTS, embedder, client=chroma_client(folder))


@pytest.mark.parametrize(("model", "provider"), [(M2, "aimlapi"), (NUGEN, "nugen")])
@pytest.mark.parametrize("make_store", [faiss, chroma])
def test_relevance_scores_are_in_0_to_1_with_normalize_and_not_without(
    make_store: Any, mode: Mode, fake_server: FakeServer, tmp_path: Path, model: str, provider: str
) -> None:
    def scores(*, normalize: bool) -> list[float]:
        entry_point = EntryPoint("langchain", mode, fake_server)
        entry_point.make(model, provider=provider, dimensions=None, normalize=normalize)
        store = make_store(entry_point.embedder, tmp_path / str(normalize))
        name = "similarity_search_with_relevance_scores"
        search = getattr(store, name if mode == "sync" else f"a{name}")
        found = entry_point.wait(search(BEES, k=3))
        assert found[0][0].page_content == BEES
        return [float(score) for _, score in found]

    # The frameworks warn of scores outside of 0 to 1, and warnings are errors.
    unit = scores(normalize=True)
    assert unit[0] == pytest.approx(1.0, abs=1e-5)
    assert all(0.0 <= score <= 1.0 + 1e-6 for score in unit)
    with pytest.warns(UserWarning, match="Relevance scores must be between 0 and 1"):
        assert min(scores(normalize=False)) < 0
