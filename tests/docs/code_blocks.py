"""The Python blocks of a page of the documentation.

    python -m tests.docs.code_blocks README.md langchain

prints the blocks that the page shows below `pip install "aimlapi-embeddings[langchain]"`, as one
program that runs on the emulator; without an extra, those below the bare `pip install`. CI runs
each in an environment of its own that holds the wheel with this extra and nothing else.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
# A page of the manual, the README included. The reference has no blocks of its own.
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_PARTS = re.compile(
    r"^```python\n(?P<code>.*?)^```|^## |pip install \"?\.(?P<extra>\[\w[\w-]*\])?",
    re.M | re.S,
)
_PROGRAM = """\
import os
from aimlapi_embeddings import emulator

with emulator.running() as base_url:
    os.environ.update(AIMLAPI_API_KEY="emulator", AIMLAPI_API_BASE=base_url)
    os.environ.update(NUGEN_API_KEY="emulator", NUGEN_API_BASE=base_url)
    for code in {blocks!r}:
        exec(compile(code, {page!r}, "exec"), {{"__name__": "__main__"}})
"""


class Block(NamedTuple):
    """A block of Python.

    Attributes:
        page: Where it stands.
        line: Of its first line of code.
        extra: What the last `pip install` above it in its section installs; "" is the bare package,
            None where the section installs nothing.
        code: The code.
    """

    page: Path
    line: int
    extra: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Find the Python blocks of a page, in order."""
    text = page.read_text()
    found: list[Block] = []
    extra: str | None = None
    for part in _PARTS.finditer(text):
        if part["code"] is not None:
            line = text.count("\n", 0, part.start("code")) + 1
            found.append(Block(page, line, extra, part["code"]))
        elif part[0].startswith("##"):
            extra = None
        else:
            extra = (part["extra"] or "").strip("[]")
    return found


def program(page: Path, extra: str) -> str:
    """Write one program of the blocks that a page shows for an extra."""
    blocks = [block.code for block in blocks_of(page) if block.extra == extra]
    if not blocks:
        raise SystemExit(f"{page} has no Python block below an install of {extra or 'the core'!r}")
    return _PROGRAM.format(blocks=blocks, page=page.name)


if __name__ == "__main__":
    print(program(Path(sys.argv[1]), *(sys.argv[2:] or [""])))
