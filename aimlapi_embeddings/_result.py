"""What a call gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aimlapi_embeddings._protocol.vectors import Matrix
from aimlapi_embeddings._types import Usage, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class EmbeddingResult:
    """n texts -> n vectors of d floats, in the order of the texts.

    Attributes:
        model: The id that was asked for.
        usage: What this call cost.
    """

    def __init__(self, model: str, matrix: Matrix, usage: Usage) -> None:
        self.model = model
        self.usage = usage
        self._matrix = matrix

    def __len__(self) -> int:
        return len(self._matrix)

    def __repr__(self) -> str:
        return f"EmbeddingResult({len(self)} vectors, model={self.model!r}, usage={self.usage!r})"

    @property
    def vectors(self) -> list[Vector]:
        """The n vectors as lists of d Python floats. Made once, on first use."""
        return cast(list[Vector], self._matrix.vectors())

    def array(self) -> NDArray[np.float32]:
        """Return n x d float32, made without the detour over Python floats.

        It looks at the memory that the vectors wait in: copy it before you change it, if they are
        to be asked for again.

        Raises:
            ImportError: NumPy is not installed; nothing else in this package needs it.
        """
        try:
            import numpy as np
        except ImportError as error:
            raise ImportError("array() needs NumPy: pip install numpy") from error
        return self._matrix.array() if len(self) else np.empty((0, 0), dtype=np.float32)
