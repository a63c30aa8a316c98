"""`python -m aimlapi_embeddings.cache PATH` tells what a cache holds, and prunes it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from aimlapi_embeddings._errors import AIMLAPIError, CacheError
from aimlapi_embeddings.cache._vector_cache import VectorCache

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0, or 1 where the file cannot be used.
    """
    parser = argparse.ArgumentParser(
        prog="python -m aimlapi_embeddings.cache",
        description="Tell what a file of cached vectors holds. It is changed only where asked.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument(
        "--older-than",
        type=_age,
        metavar="AGE",
        help="delete vectors that were written longer ago, such as 90d, 12h or 4w",
    )
    parser.add_argument(
        "--max-bytes",
        type=_size,
        metavar="SIZE",
        help="then delete the oldest until the file is no larger, such as 500M or 2G",
    )
    asked = parser.parse_args(arguments)
    try:
        if not asked.path.expanduser().exists():  # which would be made
            raise CacheError(f"there is no file {str(asked.path)!r}.")
        with VectorCache(asked.path) as cache:
            if asked.older_than is not None or asked.max_bytes is not None:
                deleted = cache.prune(older_than=asked.older_than, max_bytes=asked.max_bytes)
                print(f"deleted {deleted:,} vectors")
            print(_description(cache))
    except AIMLAPIError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _description(cache: VectorCache) -> str:
    contents, now = cache.contents(), time.time()
    lines = [f"{cache.path}: {_shown_size(cache.nbytes)}, {len(cache):,} vectors"]
    for each in contents:
        newest, oldest = _shown_age(now - each.newest), _shown_age(now - each.oldest)
        ages = f"{oldest} old" if newest == oldest else f"{newest} to {oldest} old"
        name = each.model or "(no model named)"
        lines.append(f"  {name}: {each.rows:,} vectors, {_shown_size(each.nbytes)}, {ages}")
    return "\n".join(lines)


def _age(text: str) -> timedelta:
    number, unit = _read(text, _SECONDS)
    return timedelta(seconds=number * _SECONDS[unit])


def _size(text: str) -> int:
    number, unit = _read(text.removesuffix("B").removesuffix("b"), _BYTES)
    return int(number * _BYTES[unit])


def _read(text: str, units: dict[str, int]) -> tuple[float, str]:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]?)", text.strip().lower())
    if not found or found[2] not in units:
        named = ", ".join(unit for unit in units if unit)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number with one of {named}")
    return float(found[1]), found[2]


def _shown_size(number: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"


def _shown_age(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"


if __name__ == "__main__":
    sys.exit(main())
