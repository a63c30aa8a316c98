"""Runs the tests of what has changed: `python -m tests.quick`, for a quick answer.

Changed is what is not committed, or the last commit where everything is. The map in
CONTRIBUTING.md says which tests belong to which folder. Of a folder that changed, the tests of the
changed modules run (`test_pacing.py` for `pacing.py`), and all of the folder where a module has
none of its name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
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


def main() -> int:
    chosen = sorted(set(choose_tests(changed(), rooms())))
    if not chosen:
        print("nothing that has tests of its own has changed")
        return 0
    print(*chosen, sep="\n", flush=True)
    return subprocess.call([sys.executable, "-m", "pytest", "-q", "-x", *chosen], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
