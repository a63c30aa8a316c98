"""Misbehaviour to order: what goes wrong with one request, and ready-made spoilers of replies."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aimlapi_embeddings.emulator._numbers import from_base64, to_base64
from aimlapi_embeddings.emulator._types import Reply

Drop = Literal["before_headers", "in_headers", "after_headers", "in_body"]


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request is to be mistreated.

    Attributes:
        status: Answer this error instead; the body is the provider's own for it.
        headers: Headers to add to the reply.
        body: A body to send instead.
        retry_after: Short for the header of that name: seconds, a date, or nonsense.
        delay: Further seconds before the reply.
        hang: Never answer; ends when the client leaves or the server stops.
        drop: Break the connection off at this point of the reply.
        reset: Drop with a reset (RST); otherwise with an orderly end (FIN).
        reshape: Change the reply freely; see the functions of this package.
        close: Close the connection after the reply, unannounced.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    retry_after: str | None = None
    delay: float = 0.0
    hang: bool = False
    drop: Drop | None = None
    reset: bool = True
    reshape: Callable[[Reply], Reply] | None = None
    close: bool = False

    def spoil(self, reply: Reply) -> Reply:
        """Change a reply the way this fault says."""
        extra = dict(self.headers)
        if self.retry_after is not None:
            extra["retry-after"] = self.retry_after
        body = reply.body if self.body is None else self.body
        reply = Reply(reply.status, {**reply.headers, **extra}, body)
        return self.reshape(reply) if self.reshape else reply


def _edit(reply: Reply, change: Callable[[dict[str, Any]], object]) -> Reply:
    """Let `change` loose on the decoded body."""
    body = json.loads(reply.body)
    change(body)
    return reply._replace(body=json.dumps(body).encode())


def _edit_last_vector(reply: Reply, change: Callable[[list[float]], list[float]]) -> Reply:
    """Change the last vector, be it numbers or base64."""
    return _edit(reply, lambda body: _change(body["data"][-1], change))


def _change(item: dict[str, Any], change: Callable[[list[float]], list[float]]) -> None:
    vector = item["embedding"]
    item["embedding"] = (
        to_base64(change(from_base64(vector))) if isinstance(vector, str) else change(vector)
    )


def shuffled(reply: Reply) -> Reply:
    """Reverse the order of `data`; each `index` stays right."""
    return _edit(reply, lambda body: body["data"].reverse())


def one_short(reply: Reply) -> Reply:
    """Lose the last vector."""
    return _edit(reply, lambda body: body["data"].pop())


def one_long(reply: Reply) -> Reply:
    """Add a vector nobody asked for."""
    return _edit(
        reply, lambda body: body["data"].append({**body["data"][-1], "index": len(body["data"])})
    )


def doubled_index(reply: Reply) -> Reply:
    """Give the last vector the index of the first; wants two texts."""
    return _edit(reply, lambda body: body["data"][-1].update(index=0))


def without_index(reply: Reply) -> Reply:
    """Leave out every index."""
    return _edit(reply, lambda body: [item.pop("index") for item in body["data"]])


def without_usage(reply: Reply) -> Reply:
    """Leave out `usage` and `meta`."""
    return _edit(reply, lambda body: [body.pop(name, None) for name in ("usage", "meta")])


def null_embedding(reply: Reply) -> Reply:
    """Put null where the last vector was."""
    return _edit(reply, lambda body: body["data"][-1].update(embedding=None))


def ragged(reply: Reply) -> Reply:
    """Make the last vector one number shorter than the others."""
    return _edit_last_vector(reply, lambda vector: vector[:-1])


def narrower(reply: Reply) -> Reply:
    """Make every vector one number shorter than it should be."""

    def apply(body: dict[str, Any]) -> None:
        for item in body["data"]:
            _change(item, lambda vector: vector[:-1])

    return _edit(reply, apply)


def with_nan(reply: Reply) -> Reply:
    """Put a NaN into the last vector; as JSON numbers that is the bare word NaN."""
    return _edit_last_vector(reply, lambda vector: [math.nan, *vector[1:]])


def with_infinity(reply: Reply) -> Reply:
    """Put minus infinity into the last vector; as JSON numbers that is the bare word -Infinity."""
    return _edit_last_vector(reply, lambda vector: [-math.inf, *vector[1:]])


def odd_base64(reply: Reply) -> Reply:
    """Give the last vector as base64 of five bytes, which are no number of floats."""
    return _edit(reply, lambda body: body["data"][-1].update(embedding="AAAAAAA="))


def as_floats(reply: Reply) -> Reply:
    """Answer numbers although base64 was asked for."""
    return _edit(
        reply,
        lambda body: [
            item.update(embedding=from_base64(item["embedding"]))
            for item in body["data"]
            if isinstance(item["embedding"], str)
        ],
    )


def as_base64(reply: Reply) -> Reply:
    """Answer base64 although numbers were asked for."""
    return _edit(
        reply,
        lambda body: [
            item.update(embedding=to_base64(item["embedding"]))
            for item in body["data"]
            if isinstance(item["embedding"], list)
        ],
    )


def empty(reply: Reply) -> Reply:
    """Answer with no body at all."""
    return reply._replace(body=b"")


def cut_short(reply: Reply) -> Reply:
    """Send the first half of the body as if it were all."""
    return reply._replace(body=reply.body[: len(reply.body) // 2])


def html(reply: Reply) -> Reply:
    """Answer a web page, as proxies do."""
    headers = {**reply.headers, "content-type": "text/html"}
    return Reply(reply.status, headers, b"<html><body>Please sign in</body></html>")


def gzipped(reply: Reply) -> Reply:
    """Compress the body, asked or not."""
    headers = {**reply.headers, "content-encoding": "gzip"}
    return reply._replace(headers=headers, body=gzip.compress(reply.body, mtime=0))


def gzip_cut_short(reply: Reply) -> Reply:
    """Compress the body and lose the end of it."""
    return cut_short(gzipped(reply))


def understated_length(reply: Reply) -> Reply:
    """Promise ten bytes fewer than there are."""
    length = str(len(reply.body) - 10)
    return reply._replace(headers={**reply.headers, "content-length": length})


def overstated_length(reply: Reply) -> Reply:
    """Promise ten bytes more than there are, then close."""
    length = str(len(reply.body) + 10)
    return reply._replace(headers={**reply.headers, "content-length": length})
