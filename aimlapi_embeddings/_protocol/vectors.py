"""The buffer that keeps the vectors of a call until they are asked for.

Vectors that came as base64 stand in one block of float32, a tenth of what Python's floats take: an
array is a view of it, and lists are made when they are wanted. Vectors that came as JSON numbers
stay the lists they are, since not all of them fit float32.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aimlapi_embeddings._errors import ReplyError
from aimlapi_embeddings._slices import Work, at_once
from aimlapi_embeddings._types import Row, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOAT32 = 4  # bytes
# Rows between two shrinkings of the block while lists are made of it.
_SHRINK_EVERY = 256
_LISTS_PER_STEP = 16  # half a millisecond of 1,536 numbers each
# A vector whose length is 1 but for this is left as it is: rounding to float32 makes up to 6e-8. So
# what was scaled once, and came back from a cache, stays the same bit for bit.
_UNIT_BUT_FOR = 1e-6
_LEAST_EXACT = 1e-300  # below, floats lose digits
_ROWS_PER_SCALING = 256


def size_of(row: Row) -> int:
    """Count the numbers of a row."""
    return len(row) if isinstance(row, list) else len(row) // FLOAT32


def floats_of(row: bytes | bytearray) -> array[float]:
    """Read little-endian float32."""
    numbers = array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def bytes_of(numbers: Vector) -> bytes:
    """Write little-endian float32."""
    packed = array("f", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unit_of(numbers: Vector) -> Vector:
    """Scale a vector to length 1; one of zeros stays as it is."""
    length = math.hypot(*numbers)
    if length == 0.0 or abs(length - 1.0) <= _UNIT_BUT_FOR:
        return numbers
    if not _LEAST_EXACT <= length < math.inf:
        largest = max(map(abs, numbers))
        numbers = [number / largest for number in numbers]
        length = math.hypot(*numbers)
    return [number / length for number in numbers]


class VectorBuffer:
    """n places for vectors of d numbers each.

    With `normalize`, each vector is scaled to length 1 when it is first read, in its place: all
    readers see the same numbers. Those of the block stay float32, so lists and arrays are equal.

    Args:
        places: n.
        size: d where it is known before a vector came; else that of the first one placed.
        normalize: Whether vectors are scaled to length 1.
    """

    def __init__(self, places: int, size: int | None = None, *, normalize: bool = False) -> None:
        self._lists: list[Vector | None] = [None] * places
        self._in_block = bytearray(places)  # 1 where the block holds the row
        self._unscaled = bytearray(places)  # 1 where the row is still to be scaled to length 1
        self._normalize = normalize
        self._block = bytearray()
        self._size = size or 0
        self._block_is_viewed = False  # by an array: it can be neither resized nor given back
        self._lists_are_made = False

    def __len__(self) -> int:
        return len(self._lists)

    def place(self, places: Iterable[int], rows: Iterable[Row]) -> None:
        """Put each row at its place."""
        self._lists_are_made = False
        for i, row in zip(places, rows, strict=True):
            self._unscaled[i] = self._normalize
            self._size = self._size or size_of(row)
            if isinstance(row, list):
                self._lists[i] = row
                continue
            width = len(row)
            if i * width > len(self._block):
                self._extend(i)
            self._block[i * width : (i + 1) * width] = row  # which may make it longer
            self._in_block[i] = 1

    def _extend(self, places: int) -> None:
        """Fill the block with zeros up to so many places.

        It grows with the replies: all of it at once would take 70 ms for 120 MB.
        """
        self._block += bytes(places * self._size * FLOAT32 - len(self._block))

    def copy(self, place: int, source: int) -> None:
        """Put a copy of the row at `source` at `place`; nothing when there is none."""
        if self._in_block[source]:
            self.place([place], [bytes(self._row(source))])
        elif (numbers := self._lists[source]) is not None:
            self.place([place], [numbers.copy()])

    def holds(self, place: int) -> bool:
        """Tell whether there is a vector at a place."""
        return bool(self._in_block[place]) or self._lists[place] is not None

    def vector(self, place: int) -> Vector | None:
        """Return one vector as a list; what the block holds stays there."""
        if self._unscaled[place]:
            self._scale(place)
        numbers = self._lists[place]
        if numbers is None and self._in_block[place]:
            return floats_of(self._row(place)).tolist()
        return numbers

    def _scale(self, place: int) -> None:
        """Scale one vector to length 1, where it stands."""
        if self._in_block[place]:
            width = self._size * FLOAT32
            unit = unit_of(floats_of(self._row(place)).tolist())
            self._block[place * width : (place + 1) * width] = bytes_of(unit)
        elif (numbers := self._lists[place]) is not None:
            self._lists[place] = unit_of(numbers)
        self._unscaled[place] = 0

    def vectors(self) -> list[Vector | None]:
        """Turn all rows into lists, once, and give the block back piece by piece, unless viewed."""
        return at_once(self.making_vectors())

    def making_vectors(self) -> Work[list[Vector | None]]:
        """Do the same in steps."""
        if self._lists_are_made:
            return self._lists
        width = self._size * FLOAT32
        for i in range(len(self) - 1, -1, -1):
            self._lists[i] = self.vector(i)
            if not self._block_is_viewed:
                self._in_block[i] = 0
                if i % _SHRINK_EVERY == 0:
                    del self._block[i * width :]
            if i % _LISTS_PER_STEP == 0:
                yield
        self._lists_are_made = True
        return self._lists

    def array(self) -> NDArray[np.float32]:
        """Return n x d float32, a view of the block where there is one; missing rows are NaN.

        Raises:
            ReplyError: A number that came as JSON does not fit float32.
        """
        import numpy as np

        if viewed := any(self._in_block):
            if not self._block_is_viewed:
                self._extend(len(self))
            self._block_is_viewed = True
            rows = np.frombuffer(self._block, dtype="<f4").reshape(len(self), -1)
            self._scale_block(rows)
            rows = rows.astype(np.float32, copy=False)  # copies on big-endian machines alone
        else:
            rows = np.empty((len(self), self._size), dtype=np.float32)
        if viewed and 0 not in self._in_block:
            return rows
        with np.errstate(over="ignore"):
            for i in range(len(self)):
                if viewed and self._in_block[i]:
                    continue
                numbers = self.vector(i)
                rows[i] = np.nan if numbers is None else numbers
                if numbers is not None and not np.isfinite(rows[i]).all():
                    raise ReplyError(
                        f"vector {i} holds a number beyond the range of float32, which an array "
                        "cannot keep; read it from `vectors`."
                    )
        return rows

    def _scale_block(self, rows: NDArray[np.float32]) -> None:
        """Scale those rows of the block that are not yet, in pieces that fit the processor's cache.

        Lengths and quotients are of float64, as those of single vectors.
        """
        import numpy as np

        todo = np.frombuffer(self._unscaled, np.uint8) & np.frombuffer(self._in_block, np.uint8)
        for start in range(0, len(rows) if todo.any() else 0, _ROWS_PER_SCALING):
            piece = slice(start, start + _ROWS_PER_SCALING)
            numbers = rows[piece].astype(np.float64)
            lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))
            kept = (todo[piece] == 0) | (lengths == 0) | (abs(lengths - 1) <= _UNIT_BUT_FOR)
            lengths[kept] = 1.0
            rows[piece] = numbers / lengths[:, None]
        for place in todo.nonzero()[0].tolist():
            self._unscaled[place] = 0

    def _row(self, place: int) -> bytearray:
        width = self._size * FLOAT32
        return self._block[place * width : (place + 1) * width]
