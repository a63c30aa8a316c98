"""The numbers of a vector: which ones a model can give, and how base64 carries them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Literal

Grid = Literal["float32", "float16", "bfloat16", "decimal"]


def to_base64(vector: list[float]) -> str:
    """Pack as little-endian float32, the one form base64 has on these APIs."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def from_base64(text: str) -> list[float]:
    """Undo `to_base64`."""
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def _float32(vector: list[float]) -> list[float]:
    packing = f"<{len(vector)}f"
    return list(struct.unpack(packing, struct.pack(packing, *vector)))


def _float16(vector: list[float]) -> list[float]:
    packing = f"<{len(vector)}e"
    return list(struct.unpack(packing, struct.pack(packing, *vector)))


def _bfloat16(vector: list[float]) -> list[float]:
    """Keep the upper half of each float32, which is what a bfloat16 is."""
    data = bytearray(struct.pack(f"<{len(vector)}f", *vector))
    data[0::4] = data[1::4] = bytes(len(vector))
    return list(struct.unpack(f"<{len(vector)}f", data))


def _decimal(vector: list[float]) -> list[float]:
    """Nine places, as printed by servers that never saw a float32."""
    return [round(x, 9) for x in vector]


GRIDS: Mapping[Grid, Callable[[list[float]], list[float]]] = {
    "float32": _float32,
    "float16": _float16,
    "bfloat16": _bfloat16,
    "decimal": _decimal,
}
