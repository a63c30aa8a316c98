"""Streams of documents through both adapters and the core: the same vectors, the same errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import InvalidInputError
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint
from tests.support.streams import Source, from_task, read

TEXTS = [f"text {i}" for i in range(25)]


def method_of(entry_point: EntryPoint) -> str:
    return "embed_iter" if entry_point.name == "core" else "embed_documents_iter"


def stream(entry_point: EntryPoint, texts: Any, **options: Any) -> Any:
    method = method_of(entry_point)
    return read(entry_point.embedder, entry_point.mode, texts, method=method, **options)


@pytest.mark.parametrize("as_source", [list, Source, from_task])
def test_a_stream_has_the_vectors_of_the_list(entry_point: EntryPoint, as_source: Any) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=4)
    if as_source is from_task and entry_point.mode == "sync":
        as_source = iter
    expected = entry_point.documents(TEXTS)
    assert stream(entry_point, TEXTS, as_source=as_source).got == expected
    results = stream(entry_point, TEXTS, as_source=as_source, batches_of=10).got
    assert [vector for result in results for vector in result.vectors] == expected


def test_documents_titles_and_task_types_reach_the_wire(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE)
    assert len(stream(entry_point, ["a", ("b", "title")]).got) == 2
    stream(entry_point, ["c"], task_type="CLUSTERING")
    sent = [
        (body["input"], body["task_type"], body.get("title"))
        for body in entry_point.fake_server.bodies
    ]
    assert sorted(sent, key=str) == [
        (["a"], "RETRIEVAL_DOCUMENT", None),
        (["b"], "RETRIEVAL_DOCUMENT", "title"),
        (["c"], "CLUSTERING", None),
    ]


def test_a_bad_text_raises_or_gives_none(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4)
    reading = stream(entry_point, ["a", None, "b"])
    assert len(reading.got) == 1
    assert isinstance(reading.error, InvalidInputError)
    got = stream(entry_point, ["a", None, "b"], on_invalid="none").got
    assert [vector is None for vector in got] == [False, True, False]


def test_a_stream_shows_a_bar_where_the_object_shows_bars(
    entry_point: EntryPoint, capsys: pytest.CaptureFixture[str]
) -> None:
    if entry_point.name == "core":
        entry_point.make(OPENAI, dimensions=4)
        stream(entry_point, TEXTS, progress=True)
    else:
        entry_point.make(OPENAI, dimensions=4, show_progress=True)
        stream(entry_point, TEXTS)
    assert "25/25" in capsys.readouterr().err


def test_a_job_that_is_begun_again_pays_for_the_missing_texts(
    entry_point: EntryPoint, tmp_path: Path
) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=5, cache=tmp_path / "cache")
    first = stream(entry_point, TEXTS, most=7, window=10)
    paid = sum(map(len, entry_point.fake_server.inputs))
    assert 7 <= paid < len(TEXTS)
    again = stream(entry_point, TEXTS)
    assert again.got[:7] == first.got
    assert again.stream.usage.cached >= 7
    assert sum(map(len, entry_point.fake_server.inputs)) <= len(TEXTS) + 10
