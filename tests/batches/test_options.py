"""A step is configured by plain values and travels to workers without a key."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from aimlapi_embeddings import (
    ConfigurationError,
    EmbeddingsClient,
    InternalServerError,
    emulator,
)
from aimlapi_embeddings.batches import EmbedBatches, SharedLimit
from aimlapi_embeddings.emulator import Fault
from tests.support.batches import SIZE, TEXTS, expected, step, table, vectors_of
from tests.support.entry_points import KEY, OPENAI, Clock
from tests.support.key_exposure import all_of, assert_hidden


class Hidden:
    def get_secret_value(self) -> str:
        return KEY


@pytest.mark.parametrize("key", [KEY, Hidden(), KEY.encode()])
def test_a_key_that_is_no_function_is_refused_without_showing_it(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="holds no key") as caught:
        EmbedBatches(model=OPENAI, api_key=key)
    assert_hidden(all_of(caught.value))


def fetch_key() -> str:
    fetched.append(os.getpid())
    return KEY


fetched: list[int] = []


def test_a_function_that_fetches_the_key_is_called_once_on_first_use(
    server: emulator.Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIMLAPI_API_KEY")
    fetched.clear()
    with step(api_key=fetch_key) as embed:
        assert fetched == []
        embed(table())
        embed(table())
        assert fetched == [os.getpid()]
    assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {KEY}"}


def test_without_a_key_a_step_can_be_made_and_only_sending_fails(
    server: emulator.Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIMLAPI_API_KEY")
    with step() as embed:
        assert embed.size == SIZE
        with pytest.raises(ConfigurationError, match="set AIMLAPI_API_KEY"):
            embed(table())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"http_client": httpx.Client()}, "cannot carry http_client: connections belong"),
        ({"async_http_client": None}, "cannot carry async_http_client"),
        (
            {"rate_limiter": object()},
            "cannot carry rate_limiter: it belongs to one process; use requests_per",
        ),
        ({"vectors": "v"}, "no argument 'vectors'; did you mean 'vector'"),
        ({"text_column": "body"}, "no argument 'text_column'; it is called 'text' here"),
        ({"input_column": "body"}, "it is called 'text' here"),
        ({"title_column": "head"}, "it is called 'title' here"),
        ({"vector_column": "v"}, "it is called 'vector' here"),
        ({"output_column": "v"}, "it is called 'vector' here"),
        ({"error_column": "e"}, "it is called 'error' here"),
        ({"model_name": OPENAI}, "it is called 'model' here"),
        ({"chunk_size": 8}, "it is called 'batch_size' here"),
        ({"model": "new", "family": "voyage", "dimensions": None}, "vectors of new is not known"),
        ({"size": 9}, "size=9 contradicts the 8 numbers"),
        ({"size": 0}, "size=0 is not an integer"),
        ({"dimensions": 4000}, "dimensions=4000 is not a size"),
        ({"on_error": "kept"}, "did you mean 'keep'"),
        ({"column": "lists"}, "did you mean 'list'"),
        ({"role": "documents"}, "did you mean 'document'"),
        ({"keep_existing": 1}, "keep_existing=1"),
        ({"text": ""}, "text='' is not the name of a column"),
        ({"text": "vector"}, "text='vector' and vector='vector' are the same column"),
        ({"title": "text"}, "are the same column"),
        ({"workers": 0}, "workers=0"),
        ({"shared_limit": "a file"}, "shared_limit shares requests_per_minute"),
        ({"shared_limit": 5, "requests_per_minute": 60}, "shared_limit=5 does not name a file"),
        ({"shared_limit": "", "requests_per_minute": 60}, "shared_limit='' does not name a file"),
        ({"cache": 5}, "cache=5 is neither a VectorCache nor the path of a file"),
    ],
)
def test_options_that_cannot_work_are_refused_when_the_step_is_made(
    options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        EmbedBatches(**{"model": OPENAI, "dimensions": SIZE, **options})


def test_a_missing_model_gets_the_words_of_the_client() -> None:
    make: Any = EmbedBatches
    with pytest.raises(ConfigurationError, match=r"model is missing\. There is no default"):
        make()
    with pytest.raises(TypeError, match=r"write EmbedBatches\(model=...\)"):
        make(OPENAI)


def test_a_key_under_an_unknown_name_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="no argument 'apikey'") as caught:
        EmbedBatches(model=OPENAI, apikey=KEY)
    assert_hidden(all_of(caught.value))


def test_the_size_of_an_unknown_model_is_told_by_the_user() -> None:
    embed = EmbedBatches(model="new-model", family="voyage", size=12)
    assert embed.size == 12
    assert embed(table([])).schema.field("vector").type.list_size == 12


def test_a_used_step_pickles_small_and_without_the_key(server: emulator.Emulator) -> None:
    with step(on_error="keep") as embed:
        embed(table())
        pickled = pickle.dumps(embed)
        assert len(pickled) < 450
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert_hidden(pickle.dumps(embed, protocol).decode("latin-1"))
        with pickle.loads(pickled) as twin:
            np.testing.assert_array_equal(vectors_of(twin(table())), expected(TEXTS))
            assert repr(twin) == repr(embed)


def test_equal_steps_pickle_to_the_same_bytes() -> None:
    """Hugging Face's datasets tell by them whether a result in their cache is current."""
    assert pickle.dumps(EmbedBatches(model=OPENAI)) == pickle.dumps(EmbedBatches(model=OPENAI))


def embed_in_child(connection: Any, embed: EmbedBatches, batch: Any) -> None:
    connection.send((embed(batch), embed.client.usage.requests))
    embed.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")
def test_a_child_process_has_a_client_of_its_own(server: emulator.Emulator, method: str) -> None:
    context = multiprocessing.get_context(method)
    with step() as embed:
        embed(table())
        ours, theirs = context.Pipe()
        child = context.Process(target=embed_in_child, args=(theirs, embed, table(TEXTS[:2])))
        child.start()
        assert ours.poll(60)
        result, requests = ours.recv()
        child.join(60)
        assert (child.exitcode, requests) == (0, 1)
        assert embed.client.usage.requests == 1
    np.testing.assert_array_equal(vectors_of(result), expected(TEXTS[:2]))


def test_threads_that_begin_together_share_one_client(server: emulator.Emulator) -> None:
    with step() as embed:
        together = threading.Barrier(8, timeout=30)
        found: list[Any] = []

        def begin() -> None:
            together.wait()
            embed(table())
            found.append(embed.client)

        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [embed.client] * 8
        assert embed.client.usage.requests == 8


def test_a_closed_step_can_be_used_again(server: emulator.Emulator) -> None:
    with step() as embed:
        embed.close()  # nothing is open yet
        first = embed(table())
        embed.close()
        assert embed(table()).equals(first)


def test_a_job_repeats_for_minutes_unless_told_otherwise(
    server: emulator.Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(EmbeddingsClient, "_clock", clock)
    server.judge = lambda request: Fault(status=503)
    for options, least, most in (({}, 500, 700), ({"retry_for": 50}, 30, 80)):
        before = clock.now
        with step(**options) as embed, pytest.raises(InternalServerError):
            embed(table())
        assert least < clock.now - before < most
    before = len(server.requests)
    with step(max_retries=1) as embed, pytest.raises(InternalServerError):
        embed(table())
    assert len(server.requests) == before + 2


def test_workers_of_one_machine_share_a_cache(server: emulator.Emulator, tmp_path: Path) -> None:
    with step(cache=tmp_path / "cache") as one, step(cache=tmp_path / "cache") as other:
        first = one(table())
        assert other(table()).equals(first)
        assert other.client.usage.requests == 0
        assert other.client.usage.cached == len(TEXTS)
        assert pickle.loads(pickle.dumps(other)).size == SIZE


def test_files_are_named_alike_by_workers_in_other_folders(
    server: emulator.Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("driver", "worker", "home"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "driver")
    given = {"requests_per_minute": 60_000, "cache": "cache", "shared_limit": "limit"}
    sent = [
        pickle.dumps(EmbedBatches(model=OPENAI, dimensions=SIZE, **given)),
        pickle.dumps(SharedLimit("limit", 60_000)),
    ]
    monkeypatch.chdir(tmp_path / "worker")
    with pickle.loads(sent[0]) as embed:
        embed(table())
    pickle.loads(sent[1]).acquire()
    SharedLimit("~/limit", 60_000).acquire()
    assert not [*Path.cwd().iterdir()]
    assert {each.name for each in (tmp_path / "driver").iterdir()} >= {"cache", "limit"}
    assert [*(tmp_path / "home").iterdir()] == [tmp_path / "home" / "limit"]


def test_repr_is_short_and_shows_no_key(server: emulator.Emulator) -> None:
    with step() as embed:
        embed(table())
        assert repr(embed) == f"EmbedBatches(model={OPENAI!r}, 'text' -> 'vector' x {SIZE})"
        assert repr(EmbedBatches.__new__(EmbedBatches)) == "EmbedBatches()"
