"""Keys and vectors for tests of the cache: a vector tells which key it belongs to."""

from __future__ import annotations

import hashlib
import struct

from aimlapi_embeddings._types import Row

SIZE = 64


def key_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def row_of(name: str) -> Row:
    """Make numbers of the name, all of them finite and none the same for two names."""
    digest = hashlib.sha512(name.encode()).digest()
    return struct.pack(f"<{SIZE}f", *(byte / 256 + 1 for byte in digest[:SIZE]))


def names(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]
