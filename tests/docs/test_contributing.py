"""CONTRIBUTING.md: its map is that of the folders, its recipes name files that exist."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from tests.docs.code_blocks import ROOT
from tests.quick import Budget, choose_tests, rooms

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
ENDINGS = ("py", "md", "txt", "yaml", "toml", "ipynb")


def folders() -> set[str]:
    """List the folders of the project that a reader may open."""
    packages = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    inside = [
        path for top in [*packages, ROOT / "tests"] for path in top.glob("*") if path.is_dir()
    ]
    found = {path.relative_to(ROOT).as_posix() for path in [*packages, *inside]}
    return {name for name in found if "__pycache__" not in name} | {"docs", "notebooks", ".ci"}


def test_the_map_lists_the_folders_and_no_others() -> None:
    assert set(rooms()) == folders()


@pytest.mark.parametrize("tests", sorted(filter(None, rooms().values())))
def test_the_tests_that_the_map_names_exist(tests: str) -> None:
    assert list((ROOT / tests).glob("test_*.py"))


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(rf"`([\w./-]+\.(?:{'|'.join(ENDINGS)}))`", PAGE)
    assert len(named) > 30
    places = [ROOT, ROOT / "aimlapi_embeddings", ROOT / "aimlapi_embeddings/emulator"]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@pytest.mark.parametrize("command", re.findall(r"^(\.ci/\w+)", PAGE, re.M))
def test_the_commands_exist(command: str) -> None:
    assert (ROOT / command).stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("aimlapi_embeddings/_engine/pacing.py", {"tests/engine/test_pacing.py"}),
        ("aimlapi_embeddings/_catalog/providers.py", {"tests/catalog"}),
        ("aimlapi_embeddings/_client.py", {"tests/protocol"}),
        ("aimlapi_embeddings/emulator/_server.py", {"tests/emulator/test_server.py"}),
        ("tests/faults/test_fuzz.py", {"tests/faults/test_fuzz.py"}),
        ("tests/support/sockets.py", set()),
        ("docs/reliability.md", {"tests/docs"}),
        ("README.md", {"tests/docs"}),
    ],
)
def test_the_quick_answer_runs_the_tests_of_what_has_changed(name: str, chosen: set[str]) -> None:
    assert (ROOT / name).exists()
    assert set(choose_tests([name], rooms())) == chosen


@pytest.mark.parametrize(("seconds", "over"), [(-1, True), (3600, False)])
def test_the_quick_answer_stops_between_two_tests_when_its_time_is_over(
    seconds: float, over: bool
) -> None:
    session = SimpleNamespace(shouldstop=False)
    item: Any = SimpleNamespace(session=session)
    budget = Budget(seconds)
    budget.pytest_collection_finish()
    budget.pytest_runtest_teardown(item, None)
    assert not session.shouldstop, "nothing is left out after the last test"
    budget.pytest_runtest_teardown(item, item)
    assert bool(session.shouldstop) == budget.over == over


def test_the_quick_answer_takes_one_test_of_each_module_in_turn_and_slow_ones_last() -> None:
    names = ("a 1", "a 2 slow", "a 3", "b 1", "c 1", "c 2")
    items: list[Any] = [
        SimpleNamespace(
            path=name[0], name=name, get_closest_marker=lambda mark, name=name: mark in name or None
        )
        for name in names
    ]
    Budget(0).pytest_collection_modifyitems(items)
    assert [item.name for item in items] == ["a 1", "b 1", "c 1", "c 2", "a 3", "a 2 slow"]
