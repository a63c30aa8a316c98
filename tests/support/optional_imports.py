"""Imports from optional extras: without them tests are skipped, or fail with `--all-extras`."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import pytest

required = False
"""Whether a missing module is a failure; set by `--all-extras`."""


def absent(what: str, remedy: str) -> NoReturn:
    """Skip the test, or the module that is being imported, and say how to enable it."""
    pytest.skip(f"{what} is not installed: {remedy}", allow_module_level=True)


def need(module: str, extra: str) -> Any:
    """Import a module that an extra of this project installs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        if required:
            raise
        absent(module, f"pip install 'aimlapi-embeddings[{extra}]'")
