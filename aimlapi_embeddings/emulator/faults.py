"""Ready-made faulty replies, to pass as `reshape` of a `Fault`.

    from aimlapi_embeddings.emulator import Emulator, Fault, faults

    Emulator(faults=[Fault(reshape=faults.shuffled)])  # the first reply has its vectors reversed

Each function takes a good reply and returns a changed one. Those that change vectors keep the
encoding of the reply, numbers or base64, unless changing it is their purpose.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from typing import Any

from aimlapi_embeddings.emulator._numbers import from_base64, to_base64
from aimlapi_embeddings.emulator._types import Reply

__all__ = [
    "as_base64",
    "as_floats",
    "cut_short",
    "doubled_index",
    "empty",
    "gzip_cut_short",
    "gzipped",
    "html",
    "narrower",
    "null_embedding",
    "odd_base64",
    "one_long",
    "one_short",
    "overstated_length",
    "ragged",
    "shuffled",
    "understated_length",
    "with_infinity",
    "with_nan",
    "without_index",
    "without_usage",
]


def _edit(reply: Reply, change: Callable[[dict[str, Any]], object]) -> Reply:
    """Apply `change` to the decoded body, in place."""
    body = json.loads(reply.body)
    change(body)
    return reply._replace(body=json.dumps(body).encode())


def _edit_last_vector(reply: Reply, change: Callable[[list[float]], list[float]]) -> Reply:
    """Change the last vector; its encoding stays as it is."""
    return _edit(reply, lambda body: _change(body["data"][-1], change))


def _change(item: dict[str, Any], change: Callable[[list[float]], list[float]]) -> None:
    vector = item["embedding"]
    item["embedding"] = (
        to_base64(change(from_base64(vector))) if isinstance(vector, str) else change(vector)
    )


def shuffled(reply: Reply) -> Reply:
    """Reverse the order of `data`; each `index` stays correct."""
    return _edit(reply, lambda body: body["data"].reverse())


def one_short(reply: Reply) -> Reply:
    """Remove the last vector."""
    return _edit(reply, lambda body: body["data"].pop())


def one_long(reply: Reply) -> Reply:
    """Add one vector more than there are texts."""
    return _edit(
        reply, lambda body: body["data"].append({**body["data"][-1], "index": len(body["data"])})
    )


def doubled_index(reply: Reply) -> Reply:
    """Give the last vector the index 0; needs a request of at least two texts."""
    return _edit(reply, lambda body: body["data"][-1].update(index=0))


def without_index(reply: Reply) -> Reply:
    """Remove every `index`."""
    return _edit(reply, lambda body: [item.pop("index") for item in body["data"]])


def without_usage(reply: Reply) -> Reply:
    """Remove `usage` and `meta`."""
    return _edit(reply, lambda body: [body.pop(name, None) for name in ("usage", "meta")])


def null_embedding(reply: Reply) -> Reply:
    """Replace the last vector by null."""
    return _edit(reply, lambda body: body["data"][-1].update(embedding=None))


def ragged(reply: Reply) -> Reply:
    """Make the last vector one number shorter than the others."""
    return _edit_last_vector(reply, lambda vector: vector[:-1])


def narrower(reply: Reply) -> Reply:
    """Make every vector one number shorter than was asked for."""

    def apply(body: dict[str, Any]) -> None:
        for item in body["data"]:
            _change(item, lambda vector: vector[:-1])

    return _edit(reply, apply)


def with_nan(reply: Reply) -> Reply:
    """Put NaN into the last vector; outside base64 the JSON then holds the literal NaN."""
    return _edit_last_vector(reply, lambda vector: [math.nan, *vector[1:]])


def with_infinity(reply: Reply) -> Reply:
    """Put minus infinity into the last vector; outside base64 the JSON holds -Infinity."""
    return _edit_last_vector(reply, lambda vector: [-math.inf, *vector[1:]])


def odd_base64(reply: Reply) -> Reply:
    """Replace the last vector by base64 of five bytes, which is not a multiple of four."""
    return _edit(reply, lambda body: body["data"][-1].update(embedding="AAAAAAA="))


def as_floats(reply: Reply) -> Reply:
    """Answer with numbers, also where base64 was asked for."""
    return _edit(
        reply,
        lambda body: [
            item.update(embedding=from_base64(item["embedding"]))
            for item in body["data"]
            if isinstance(item["embedding"], str)
        ],
    )


def as_base64(reply: Reply) -> Reply:
    """Answer with base64, also where numbers were asked for."""
    return _edit(
        reply,
        lambda body: [
            item.update(embedding=to_base64(item["embedding"]))
            for item in body["data"]
            if isinstance(item["embedding"], list)
        ],
    )


def empty(reply: Reply) -> Reply:
    """Answer with an empty body."""
    return reply._replace(body=b"")


def cut_short(reply: Reply) -> Reply:
    """Send only the first half of the body, with a `content-length` that fits it."""
    return reply._replace(body=reply.body[: len(reply.body) // 2])


def html(reply: Reply) -> Reply:
    """Answer with an HTML page, as some proxies do."""
    headers = {**reply.headers, "content-type": "text/html"}
    return Reply(reply.status, headers, b"<html><body>Please sign in</body></html>")


def gzipped(reply: Reply) -> Reply:
    """Compress the body with gzip, whether or not the client accepts that."""
    headers = {**reply.headers, "content-encoding": "gzip"}
    return reply._replace(headers=headers, body=gzip.compress(reply.body, mtime=0))


def gzip_cut_short(reply: Reply) -> Reply:
    """Compress the body with gzip and send only the first half of it."""
    return cut_short(gzipped(reply))


def understated_length(reply: Reply) -> Reply:
    """State a `content-length` that is ten bytes too small."""
    length = str(len(reply.body) - 10)
    return reply._replace(headers={**reply.headers, "content-length": length})


def overstated_length(reply: Reply) -> Reply:
    """State a `content-length` that is ten bytes too large; the connection then closes."""
    length = str(len(reply.body) + 10)
    return reply._replace(headers={**reply.headers, "content-length": length})
