"""Real texts in any number: what the standard library says about itself, piece by piece."""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

_ENDS = re.compile(r"\n|(?<=[.!?:;]) ")  # of lines, sentences and their parts
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def pieces(count: int) -> list[str]:
    """Take the first pieces of docstrings, in the order of the source files; some occur twice."""
    found = list(islice(_all_pieces(Path(sysconfig.get_path("stdlib"))), count))
    assert len(found) == count, f"the standard library has {len(found)} pieces"
    return found


def _all_pieces(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # files that test the parser
            continue
        for node in ast.walk(tree):
            if isinstance(node, _DOCUMENTED) and (docstring := ast.get_docstring(node)):
                yield from filter(None, map(str.strip, _ENDS.split(docstring)))
