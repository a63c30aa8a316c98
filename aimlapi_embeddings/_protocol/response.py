"""Reply -> vectors in input order, usage.

How this works: one msgspec type decodes and checks both forms of a vector, base64 and numbers, at
the speed of the faster libraries for either. Vectors are placed by `index`. Whatever could put a
vector on the wrong text, or a wrong number into an index, is a ReplyError: a short, long, doubled
or ragged reply, NaN and infinity. `usage` and `meta` are read with patience instead, since a cost
that cannot be read is no reason to lose vectors that can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aimlapi_embeddings._errors import ReplyError
from aimlapi_embeddings._protocol.vectors import FLOAT32, floats_of, size_of
from aimlapi_embeddings._types import Reply, Row, Usage


class _Item(msgspec.Struct):
    embedding: bytes | list[float]
    index: int | None = None


class _Body(msgspec.Struct):
    data: list[_Item]
    usage: Any = None
    meta: Any = None


_decode = msgspec.json.Decoder(_Body).decode


def parse_reply(
    reply: Reply,
    expected: int,
    *,
    dimensions: int | None = None,
    credits_per_usd: int | None = None,
) -> tuple[list[Row], Usage]:
    """Read a good reply.

    Args:
        reply: Status 2xx.
        expected: How many texts were sent.
        dimensions: The size that was asked for, or None.
        credits_per_usd: To tell dollars from credits when only these are told.

    Returns:
        `expected` vectors of one size in the order of the texts, and what they cost.

    Raises:
        ReplyError: The body does not hold exactly that.
    """
    try:
        body = _decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReplyError(
            f"the reply (status {reply.status}) is not a list of embeddings: {error}; it starts "
            f"{bytes(reply.body[:80])!r}. Check base_url, or ask the provider."
        ) from error
    rows = _in_order(body.data, expected)
    _check_sizes(rows, dimensions)
    for i, row in enumerate(rows):
        if not is_finite(row):
            raise ReplyError(f"vector {i} of the reply holds NaN or infinity.")
    return rows, read_usage(body.usage, body.meta, reply.headers, credits_per_usd)


def _in_order(data: Sequence[_Item], expected: int) -> list[Row]:
    if len(data) != expected:
        raise ReplyError(f"{expected} texts were sent, but {len(data)} vectors came back.")
    # Some servers leave the index out; then, and only then, the order counts.
    if all(item.index is None for item in data):
        return [item.embedding for item in data]
    rows: list[Row | None] = [None] * expected
    for item in data:
        i = item.index
        if i is None or not 0 <= i < expected or rows[i] is not None:
            found = [item.index for item in data]
            raise ReplyError(
                f"the vectors' indexes are not 0 to {expected - 1}, each once: {str(found)[:120]}."
            )
        rows[i] = item.embedding
    return rows  # type: ignore[return-value]  # n distinct places were filled


def _check_sizes(rows: Sequence[Row], dimensions: int | None) -> None:
    if not rows:
        return
    wanted = dimensions if dimensions is not None else size_of(rows[0])
    for i, row in enumerate(rows):
        broken = not isinstance(row, list) and len(row) % FLOAT32
        if broken or not row:
            what = f"{len(row)} bytes long, not four for each number" if row else "empty"
            raise ReplyError(f"vector {i} of the reply is {what}.")
        if size_of(row) != wanted:
            asked = "were asked for" if dimensions is not None else "are in vector 0"
            raise ReplyError(
                f"vector {i} of the reply has {size_of(row)} numbers, but {wanted} {asked}."
            )


def is_finite(row: Row) -> bool:
    """Tell whether all numbers of a row are finite."""
    if isinstance(row, list):
        return math.isfinite(sum(row)) or all(map(math.isfinite, row))
    # The last byte of a little-endian float32 holds the upper seven bits of the exponent: NaN and
    # infinity have them all set, and so have only numbers above 1.7e38. Looking at these bytes
    # takes 2 us for 1,536 numbers, making Python floats of them 20.
    high = row[FLOAT32 - 1 :: FLOAT32]
    if b"\x7f" not in high and b"\xff" not in high:
        return True
    return all(map(math.isfinite, floats_of(row)))


def read_usage(
    usage: Any, meta: Any, headers: Mapping[str, str], credits_per_usd: int | None
) -> Usage:
    """Read the cost wherever it is: `usage`, `meta.usage`, or the gateway's headers."""
    total = _number(usage, "total_tokens")
    prompt = _number(usage, "prompt_tokens")
    spent = meta.get("usage") if isinstance(meta, dict) else None
    credits = _number(spent, "credits_used") or _number(headers, "x-aimlapi-credits-used") or 0
    usd = _number(spent, "usd_spent") or _number(headers, "x-aimlapi-usd-spent")
    if usd is None and credits_per_usd:
        usd = credits / credits_per_usd
    return Usage(
        # Voyage reports a null prompt_tokens and Nugen none; an embedding has no other tokens.
        prompt_tokens=int(prompt if prompt is not None else total or 0),
        total_tokens=int(total if total is not None else prompt or 0),
        credits_used=int(credits),
        usd_spent=float(usd or 0.0),
    )


def _number(source: Any, key: str) -> float | None:
    """Read a number that may be missing, null, text, or nonsense."""
    value = source.get(key) if hasattr(source, "get") else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
