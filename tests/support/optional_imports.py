"""Imports from optional extras: without them tests are skipped, or fail with `--all-extras`."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, NoReturn

import pytest

required = False
"""Whether a missing module is a failure; set by `--all-extras`."""


def need(module: str, extra: str) -> Any:
    """Import a module that an extra of this project installs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        _absent(error, extra)


def folder(package: str, extra: str) -> Path:
    """Find the folder of a package that an extra of this project installs; do not import it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        _absent(ModuleNotFoundError(f"No module named {package!r}"), extra)
    return Path(spec.origin).parent


def _absent(error: ModuleNotFoundError, extra: str) -> NoReturn:
    """Skip the test, or the module that is being imported, and say how to enable it."""
    if required:
        raise error
    pytest.skip(f"{error}: pip install 'aimlapi-embeddings[{extra}]'", allow_module_level=True)
