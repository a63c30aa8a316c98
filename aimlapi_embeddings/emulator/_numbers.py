"""Number formats: which numbers a model's vectors hold, and how base64 encodes a vector."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Literal

NumberFormat = Literal["float32", "float16", "bfloat16", "decimal"]


def to_base64(vector: list[float]) -> str:
    """Encode as base64 of little-endian float32, the only base64 form of these APIs."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def from_base64(text: str) -> list[float]:
    """Decode what `to_base64` encoded."""
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _float32(vector: list[float]) -> list[float]:
    packing = f"<{len(vector)}f"
    return list(struct.unpack(packing, struct.pack(packing, *vector)))


def _float16(vector: list[float]) -> list[float]:
    packing = f"<{len(vector)}e"
    return list(struct.unpack(packing, struct.pack(packing, *vector)))


def _bfloat16(vector: list[float]) -> list[float]:
    """Keep the upper two bytes of each float32: that is its bfloat16, rounded toward zero."""
    data = bytearray(struct.pack(f"<{len(vector)}f", *vector))
    data[0::4] = data[1::4] = bytes(len(vector))
    return list(struct.unpack(f"<{len(vector)}f", data))


def _decimal(vector: list[float]) -> list[float]:
    """Round to nine decimal places; such numbers are not exact in float32."""
    return [round(x, 9) for x in vector]


ROUNDING: Mapping[NumberFormat, Callable[[list[float]], list[float]]] = {
    "float32": _float32,
    "float16": _float16,
    "bfloat16": _bfloat16,
    "decimal": _decimal,
}
"""Rounds a vector to the numbers that a format can hold."""
