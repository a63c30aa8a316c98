"""What an extra brings may be absent: then its tests are skipped, or fail with `--all-extras`."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import pytest

required = False
"""Whether absence is a failure; set by `--all-extras`."""


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the test, or the whole module while it is imported, and say what would run it."""
    pytest.skip(f"{what} is not here: {remedy}", allow_module_level=True)


def need(module: str, extra: str) -> Any:
    """Import a module that one of the project's extras brings."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        if required:
            raise
        absent(module, f"pip install 'aimlapi-embeddings[{extra}]'")
