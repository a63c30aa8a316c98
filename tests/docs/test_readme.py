"""The code in the README runs, and its tables are current."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from aimlapi_embeddings import emulator
from tests.docs.readme_tables import README, renewed

CODE = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with emulator.running() as base_url:
        for provider in ("AIMLAPI", "NUGEN"):
            monkeypatch.setenv(f"{provider}_API_KEY", "emulator")
            monkeypatch.setenv(f"{provider}_API_BASE", base_url)
        yield


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("code", CODE, ids=lambda code: code.splitlines()[0][:60])
def test_the_readmes_code_runs(code: str) -> None:
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})


def test_the_readme_has_code() -> None:
    assert len(CODE) >= 5


def test_the_readmes_tables_are_current() -> None:
    text = README.read_text()
    assert text == renewed(text), "run: python -m tests.docs.readme_tables"
