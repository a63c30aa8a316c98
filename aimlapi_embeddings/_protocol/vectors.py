"""Where do vectors wait until they are asked for?

In one block of float32, a tenth of what Python's floats take, so that an array costs nothing more
and lists are made when they are wanted. Vectors that came as JSON numbers stay the lists they are,
since not all of them fit float32.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aimlapi_embeddings._types import Row, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT32 = 4  # bytes
# Rows between two shrinkings of the block while lists are made of it.
_SHRINK_EVERY = 256


def size_of(row: Row) -> int:
    """Count the numbers of a row."""
    return len(row) if isinstance(row, list) else len(row) // FLOAT32


def floats_of(row: bytes | bytearray) -> array[float]:
    """Read little-endian float32."""
    numbers = array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


class Matrix:
    """n places for vectors of one size; d is that of the first one placed."""

    def __init__(self, places: int) -> None:
        self._lists: list[Vector | None] = [None] * places
        self._in_block = bytearray(places)  # 1 where the block holds the row
        self._block = bytearray()
        self._width = 0  # bytes

    def __len__(self) -> int:
        return len(self._lists)

    def __contains__(self, place: int) -> bool:
        return bool(self._in_block[place]) or self._lists[place] is not None

    def place(self, places: Iterable[int], rows: Iterable[Row]) -> None:
        """Put each row at its place."""
        for i, row in zip(places, rows, strict=True):
            if isinstance(row, list):
                self._lists[i] = row
                continue
            if not self._block:
                self._width = len(row)
                self._block = bytearray(len(self) * self._width)
            self._block[i * self._width : (i + 1) * self._width] = row
            self._in_block[i] = 1

    def copy(self, place: int, source: int) -> None:
        """Put a copy of the row at `source` at `place`; nothing when there is none."""
        width = self._width
        if self._in_block[source]:
            self.place([place], [bytes(self._block[source * width : (source + 1) * width])])
        elif (numbers := self._lists[source]) is not None:
            self._lists[place] = numbers.copy()

    def vectors(self) -> list[Vector | None]:
        """Turn all rows into lists, and give the block back bit by bit."""
        width, block = self._width, self._block
        for i in range(len(self) - 1, -1, -1):
            if self._in_block[i]:
                self._lists[i] = floats_of(block[i * width : (i + 1) * width]).tolist()
                self._in_block[i] = 0
            if i % _SHRINK_EVERY == 0:
                try:
                    del block[i * width :]
                except BufferError:  # an array of the user's looks at the block: it stays
                    self._block = block = block[: i * width]
        return self._lists

    def array(self) -> NDArray[np.float32]:
        """Look at the block as n x d float32; make one from the lists where there is none."""
        import numpy as np

        if all(self._in_block):
            block = np.frombuffer(self._block, dtype="<f4").reshape(len(self), -1)
            return block.astype(np.float32, copy=False)  # copies on big-endian machines alone
        return np.array(self.vectors(), dtype=np.float32)
