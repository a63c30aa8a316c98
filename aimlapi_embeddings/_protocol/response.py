"""Reply -> vectors in input order, usage, and who answered.

How this works: one msgspec type decodes and checks both forms of a vector, base64 and numbers, at
the speed of the faster libraries for either. A body that it refuses is decoded a second time by
rules that accept harmless differences: a byte order mark, `index: 0.0`, other spellings of base64.
They also read null or NaN for a number, and null for a vector, to tell whose it is.
Vectors are placed by `index`. Whatever could put a vector on the wrong text, or a wrong number
into an index, is a ReplyError: a short, long, doubled or ragged reply, another size than the
model has, NaN, infinity, vectors of zeros alone. `usage` and `meta` are read leniently instead,
since a cost that cannot be read is no reason to lose vectors that can.
"""

from __future__ import annotations

import binascii
import codecs
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from aimlapi_embeddings._errors import ReplyError
from aimlapi_embeddings._protocol.error_body import READ_BODY, content_encoding, read_error
from aimlapi_embeddings._protocol.vectors import FLOAT32, floats_of, size_of
from aimlapi_embeddings._types import Reply, Row, Served, Usage


# `gc=False`: items cannot be part of a cycle. Counted by the collector, they bring about a
# collection of all objects, which takes 100 ms where a large framework is loaded.
class _Item(msgspec.Struct, gc=False):
    embedding: bytes | list[float]
    index: int | None = None


class _Body(msgspec.Struct):
    data: list[_Item]
    usage: Any = None
    meta: Any = None
    model: Any = None


class _Bill(msgspec.Struct):
    usage: Any = None
    meta: Any = None


class _LenientItem(msgspec.Struct, gc=False):
    embedding: str | list[float | None] | None
    index: int | float | None = None


class _LenientBody(msgspec.Struct):
    data: list[_LenientItem]
    usage: Any = None
    meta: Any = None
    model: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_bill = msgspec.json.Decoder(_Bill).decode
_decode_leniently = msgspec.json.Decoder(_LenientBody).decode
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SHOWN_BODY = 80  # bytes
_LONGEST_NAME = 200  # characters; a longer one names no model
# RFC 4648, 5: the URL-safe alphabet. Line breaks come from encoders made for mail.
_TO_STANDARD_BASE64 = str.maketrans("-_", "+/", "\r\n")


# As Python writes them, among numbers; no JSON.
_NO_NUMBER = rb"(?<=[\[,\s])(?:NaN|-?Infinity)(?=\s*[,\]])"


class ParsedReply(NamedTuple):
    """What a good reply brings.

    Attributes:
        rows: Vectors of one size, in the order of the texts.
        usage: What they cost.
        served: Who answered.
    """

    rows: list[Row]
    usage: Usage
    served: Served


def parse_reply(
    reply: Reply,
    expected: int,
    *,
    size: int | None = None,
    credits_per_usd: int | None = None,
) -> ParsedReply:
    """Read a good reply.

    Args:
        reply: Status 2xx.
        expected: How many texts were sent.
        size: How many numbers each vector has to have, or None when that is not known.
        credits_per_usd: Converts credits to dollars where the reply has credits alone.

    Returns:
        `expected` vectors of one size in the order of the texts, what they cost, who answered.

    Raises:
        ReplyError: The body does not hold exactly that. `indices` is the place of a vector that is
            at fault, among those of this reply; empty where the reply as a whole is.
    """
    body = _decode_body(reply)
    rows = _in_order(body.data, expected, reply)
    served = read_served(body.model, body.meta, reply.headers)
    _check_sizes(rows, size, served)
    for i, row in enumerate(rows):
        if not is_finite(row):
            raise _unusable(i, "holds NaN, infinity or null")
        if is_zero(row):
            raise _unusable(
                i,
                "is all zeros, which no search can rank; the server seems to have failed without "
                "saying so",
            )
    usage = read_usage(body.usage, body.meta, reply.headers, credits_per_usd)
    return ParsedReply(rows, usage, served)


def _decode_body(reply: Reply) -> _Body:
    try:
        return _decode(reply.body)
    except _NOT_DECODED as error:
        try:
            return _forgiving(reply.body)
        except (*_NOT_DECODED, ValueError):
            problem = error
    encoding = content_encoding(reply)
    raise ReplyError(
        f"the reply (status {reply.status}) is not a list of embeddings: {problem}"
        f"{_server_message(reply)}{f'; {encoding}' if encoding else ''}; it starts "
        f"{bytes(reply.body[:_SHOWN_BODY])!r}. Check base_url, or ask the provider."
    ) from problem


def _forgiving(content: bytes | bytearray) -> _Body:
    content = re.sub(_NO_NUMBER, b"null", content.removeprefix(codecs.BOM_UTF8))
    body = _decode_leniently(content)
    items = []
    for item in body.data:
        index = item.index
        if isinstance(index, float) and not index.is_integer():
            raise ValueError("an index is not a whole number")
        items.append(_Item(_row(item.embedding), None if index is None else int(index)))
    return _Body(items, body.usage, body.meta, body.model)


def _row(embedding: str | list[float | None] | None) -> Row:
    """Read a vector; null stands for an empty one, and inside for NaN, as many servers write it."""
    if isinstance(embedding, str):
        return _from_base64(embedding)
    return [math.nan if number is None else number for number in embedding or ()]


def _from_base64(text: str) -> bytes:
    text = text.translate(_TO_STANDARD_BASE64).rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


def _server_message(reply: Reply) -> str:
    """Quote the server's message in a body that has no vectors, or nothing."""
    content = bytes(reply.body)
    if len(content) > READ_BODY:
        return ""
    found = read_error(content)
    readable = found.data is not None or content.lstrip().startswith(b"<")  # an HTML page
    return f"; the server says {found.message!r}" if readable and found.message else ""


def _in_order(data: Sequence[_Item], expected: int, reply: Reply) -> list[Row]:
    if len(data) != expected:
        message = _server_message(reply)
        raise ReplyError(f"{expected} texts were sent, but {len(data)} vectors came back{message}.")
    # Some servers leave the index out; then, and only then, the order counts.
    if all(item.index is None for item in data):
        return [item.embedding for item in data]
    rows: list[Row | None] = [None] * expected
    for item in data:
        i = item.index or 0  # Google's, as all of protobuf's, leave a 0 out
        if not 0 <= i < expected or rows[i] is not None:
            found = [item.index for item in data]
            raise ReplyError(
                f"the vectors' indexes are not 0 to {expected - 1}, each once: {str(found)[:120]}. "
                "Ask the provider, or set batch_size=1, where the order does not matter."
            )
        rows[i] = item.embedding
    return rows  # type: ignore[return-value]  # n distinct places were filled


def _check_sizes(rows: Sequence[Row], size: int | None, served: Served) -> None:
    if not rows:
        return
    wanted = size if size is not None else size_of(rows[0])
    for i, row in enumerate(rows):
        if not row:
            raise _unusable(i, "is empty or null")
        if not isinstance(row, list) and len(row) % FLOAT32:
            raise ReplyError(
                f"vector {i} of the reply is {len(row)} bytes long, not four for each number."
            )
        if (found := size_of(row)) != wanted:
            raise ReplyError(
                f"vector {i} of the reply has {found} numbers, but "
                + (
                    f"{wanted} are in vector 0."
                    if size is None
                    else f"{wanted} were expected{_why_another_size(row, wanted, served)}."
                )
            )


def _unusable(i: int, what: str) -> ReplyError:
    """Make the error of a vector that only its own text can be the cause of."""
    error = ReplyError(f"vector {i} of the reply {what}.")
    error.indices = (i,)
    return error


def _why_another_size(row: Row, wanted: int, served: Served) -> str:
    """Name what may have happened: another model, or another format of numbers."""
    model = f"; the server names the model {served.model!r}" if served.model else ""
    if isinstance(row, list) or len(row) not in (2 * wanted, 8 * wanted):
        return model
    return f"{model}; the bytes may be float{8 * len(row) // wanted} instead of float32"


def is_zero(row: Row) -> bool:
    """Tell whether all numbers of a row are zero."""
    if isinstance(row, list):
        return not any(row)
    # 0.0 and -0.0 consist of these two bytes; most rows begin with another.
    return not (row[0] & 0x7F or row.strip(b"\x00\x80") or any(floats_of(row)))


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


def cost_of(reply: Reply, credits_per_usd: int | None = None) -> Usage:
    """Read what a reply cost whose vectors cannot be used: it is paid for all the same.

    Args:
        reply: Status 2xx.
        credits_per_usd: As for `parse_reply`.

    Returns:
        What the reply tells; zeros where it tells nothing.
    """
    bill = _Bill()
    with suppress(*_NOT_DECODED):
        bill = _decode_bill(reply.body.removeprefix(codecs.BOM_UTF8))
    return read_usage(bill.usage, bill.meta, reply.headers, credits_per_usd)


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


def read_served(model: Any, meta: Any, headers: Mapping[str, str]) -> Served:
    """Read who answered: `meta` or the gateway's headers, else the model that the body names.

    Source: github aimlapi/api-docs @ 42154be3 (2026-10-05), Liquid-AI/d1-router.md: `meta.model`,
    `meta.provider`, `x-aimlapi-model`, `x-aimlapi-provider`.
    """
    named = meta if isinstance(meta, dict) else {}
    return Served(
        _name(named.get("model"), headers.get("x-aimlapi-model"), model),
        _name(named.get("provider"), headers.get("x-aimlapi-provider")),
    )


def _name(*candidates: Any) -> str | None:
    for name in candidates:
        if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME:
            return name
    return None


def _number(source: Any, key: str) -> float | None:
    """Read a number that may be missing, null, text, or nonsense."""
    value = source.get(key) if isinstance(source, dict) else None
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
