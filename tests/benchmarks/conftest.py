"""Times are measured when they are asked for, never in the suite."""

from __future__ import annotations

import pytest


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out unless `--benchmark-only` is given."""
    return None if config.getoption("--benchmark-only") else True
