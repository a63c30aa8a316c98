"""The progress bar of both adapters."""

from __future__ import annotations

from typing import Any

import pytest

from aimlapi_embeddings import BadRequestError, emulator
from tests.support import progress_bars
from tests.support.entry_points import EntryPoint, FakeServer, Mode, Package

BY_FIELD: dict[str, Any] = {"show_progress": True}
REQUESTED: list[tuple[Package, dict[str, Any], dict[str, Any]]] = [
    ("langchain", BY_FIELD, {}),
    *(
        ("llama_index", {**options, "embed_batch_size": window}, argument)
        for options, argument in [
            (BY_FIELD, {"show_progress": False}),
            ({}, BY_FIELD),
            ({"num_workers": 2}, BY_FIELD),
        ]
        for window in (100, 4, 2)
    ),
]
"""How a bar is requested: the package, options of the object, options of the call."""


@pytest.mark.parametrize(("package", "options", "argument"), REQUESTED, ids=repr)
def test_one_bar_advances_when_each_request_finishes(
    package: Package,
    options: dict[str, Any],
    argument: dict[str, Any],
    mode: Mode,
    fake_server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = progress_bars.record(monkeypatch)

    def answer_once_the_bar_has_moved(request: emulator.Request) -> emulator.Reply:
        if len(fake_server.requests) > 1:
            assert made[0].moved.wait(5), "the bar stands still while requests finish"
        return emulator.answer(request)

    fake_server.answer = answer_once_the_bar_has_moved
    entry_point = EntryPoint(package, mode, fake_server)
    entry_point.make(batch_size=2, max_concurrency=1, **options)
    entry_point.documents(list("abcde"), **argument)
    assert [bar.moves for bar in made] == [[(0, 5), (2, 5), (4, 5), (5, 5)]]
    assert made[0].disable, "it is closed at the end"


def test_no_bar_is_shown_for_a_query_or_unless_requested(
    adapter: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    adapter.make().documents(["a"])
    adapter.make(show_progress=True).query("q")
    assert made == []


def test_the_bar_is_closed_when_the_call_fails(
    adapter: EntryPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = progress_bars.record(monkeypatch)
    adapter.fake_server.will(emulator.Fault(400))
    adapter.make(show_progress=True)
    with pytest.raises(BadRequestError):
        adapter.documents(["a"])
    assert [bar.disable for bar in made] == [True]


def test_the_bar_shows_its_caption_and_the_texts_that_are_done(
    adapter: EntryPoint, capsys: pytest.CaptureFixture[str]
) -> None:
    caption = {"langchain": "Embedding", "llama_index": "Generating embeddings"}[adapter.name]
    adapter.make(show_progress=True, batch_size=2).documents(list("abcde"))
    shown = capsys.readouterr().err
    assert f"{caption}: 100%" in shown
    assert "5/5" in shown
