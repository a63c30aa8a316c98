"""Equal set-ups compare equal, and hash alike."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager
from llama_index.core.storage.kvstore import SimpleKVStore

from tests.support.adapter_classes import ADAPTERS, LLAMA_INDEX, make


@pytest.fixture(params=ADAPTERS)
def cls(request: pytest.FixtureRequest) -> type[Any]:
    adapter: type[Any] = request.param
    return adapter


def extra(cls: type[Any], value: Any) -> dict[str, Any]:
    return {"additional_kwargs" if cls in LLAMA_INDEX else "model_kwargs": {"extra": value}}


def test_equal_set_ups_are_equal_and_hash_alike(cls: type[Any]) -> None:
    one, other = make(cls, dimensions=8), make(cls, dimensions=8)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_is_equal(cls: type[Any], copied: Any) -> None:
    original = make(cls, **extra(cls, [1, True, None]), default_headers={"X-Team": "search"})
    twin = copied(original)
    assert twin == original
    twin.dimensions = 8
    assert twin != original
    assert hash(twin) == hash(original), "a set finds an object whose fields were assigned"


@pytest.mark.parametrize(
    "options",
    [
        {"dimensions": 8},
        {"api_key": "another key"},
        {"base_url": "https://elsewhere"},
        {"timeout": 3},
        {"default_headers": {"X-Team": "search"}},
        {"http_client": None, "max_retries": 1},
    ],
    ids=str,
)
def test_a_different_option_makes_a_difference(cls: type[Any], options: dict[str, Any]) -> None:
    assert make(cls, **options) != make(cls)


def test_1_and_true_are_different_in_extra_fields(cls: type[Any]) -> None:
    assert make(cls, **extra(cls, 1)) != make(cls, **extra(cls, True))


def test_classes_of_two_providers_or_frameworks_are_never_equal() -> None:
    made = [make(cls) for cls in ADAPTERS]
    assert all((a == b) is (a is b) for a in made for b in made)
    assert made[0] != "another thing"


@pytest.mark.parametrize("cls", LLAMA_INDEX)
def test_what_only_watches_or_remembers_makes_no_difference(cls: type[Any]) -> None:
    watched = make(cls, callback_manager=CallbackManager([]), embeddings_cache=SimpleKVStore())
    assert watched == make(cls)
