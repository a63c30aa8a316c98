"""Runs the tests of what has changed: `python -m tests.quick`, for a quick answer.

Changed is what is not committed, or the last commit where everything is. The map in
CONTRIBUTING.md says which tests belong to which folder. Of a folder that changed, the tests of the
changed modules run (`test_pacing.py` for `pacing.py`), and all of the folder where a module has
none of its name. They run for `SECONDS` at most, in random order and one test of each module after
the other; those that are marked as slow come last. What is left out has its turn another time, and
in `.ci/run`.
"""

from __future__ import annotations

import itertools
import math
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 10  # with format, lint, types and imports, the answer is there in half a minute
_ROW = re.compile(r"^\| `([\w./-]+)` \|.*\| (?:`([\w./-]+)`|-) \|$", re.M)


def rooms() -> dict[str, str | None]:
    """Read the map: the tests of each folder, None where it has none."""
    return {
        folder: tests or None
        for folder, tests in _ROW.findall((ROOT / "CONTRIBUTING.md").read_text())
    }


def changed() -> list[str]:
    """List what is not committed, else what the last commit changed; deleted files are left out."""
    found = _git("ls-files", "--modified", "--others", "--exclude-standard") + _git(
        "diff", "--name-only", "--cached"
    )
    return found or _git("diff", "--name-only", "HEAD~1")


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def choose_tests(names: list[str], folders: dict[str, str | None]) -> Iterator[str]:
    """Choose the tests of changed files."""
    for name in map(PurePosixPath, names):
        if name.parts[0] == "tests":
            if name.name.startswith("test_"):
                yield str(name)
            continue
        room = next((str(p) for p in name.parents if str(p) in folders), None)
        if room is None:
            yield "tests/docs"
        elif tests := folders[room]:
            own = f"{tests}/test_{name.stem.strip('_')}.py"
            yield own if (ROOT / own).exists() else tests


class Budget:
    """A plugin of pytest that tries all modules, and ends the session when its time is over.

    Attributes:
        over: Whether tests were left out.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = math.inf
        self.over = False

    @pytest.hookimpl(trylast=True)  # after the order was shuffled
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take one test of each module in turn, and slow ones last."""
        of_module = defaultdict[Path, Iterator[int]](itertools.count)
        turns = [
            (item.get_closest_marker("slow") is not None, next(of_module[item.path]), place)
            for place, item in enumerate(items)
        ]
        items[:] = [items[place] for *_, place in sorted(turns)]

    def pytest_collection_finish(self) -> None:
        """Begin to count."""
        self._ends = time.monotonic() + self._seconds

    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Stop between two tests."""
        if nextitem is not None and time.monotonic() > self._ends:
            self.over = True
            item.session.shouldstop = f"the {SECONDS} s for a quick answer are over"


def main() -> int:
    chosen = sorted(set(choose_tests(changed(), rooms())))
    if not chosen:
        print("nothing that has tests of its own has changed")
        return 0
    print(*chosen, sep="\n", flush=True)
    budget = Budget(SECONDS)
    code = pytest.main(["-q", "-x", *(str(ROOT / name) for name in chosen)], plugins=[budget])
    left_out = budget.over and code == pytest.ExitCode.INTERRUPTED
    return 0 if left_out else int(code)


if __name__ == "__main__":
    sys.exit(main())
