"""What a call gives back: all vectors, or those that were finished before an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape
from operator import eq
from types import MappingProxyType
from typing import TYPE_CHECKING, cast, overload

from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._slices import in_slices
from aimlapi_embeddings._types import Served, Usage, Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_SHOWN_NUMBERS = 4


class EmbeddingResult:
    """n texts -> n vectors of d floats, in the order of the texts.

    It has a length, can be iterated and indexed (`result[0]`, `result[:10]`), and is shown as a
    small table in a notebook.

    Attributes:
        model: The id that was asked for.
        usage: What this call cost.
        model_served: The model that answered, as the server names it; None when it does not.
        provider_served: The vendor or host behind the gateway that answered, or None.
        request_ids: The server's ids of the requests, in the order of their replies, for the
            provider's support. Empty where the server sends none.
        possibly_truncated: Positions of texts of which the provider may have embedded only the
            beginning: by an estimate they are longer than the model takes, and the provider cuts
            such texts without a message. Only texts that this call sent; empty with
            `too_long="error"`.
        truncated: How many characters of a text are in its vector, by position, for texts that
            this client cut because of `too_long="truncate"`. So `texts[i][result.truncated[i]:]`
            is not in the vector. Vectors of a `VectorCache` are included; vectors passed as
            `known` are not.
    """

    def __init__(
        self,
        model: str,
        buffer: VectorBuffer,
        usage: Usage,
        served: Served | None = None,
        possibly_truncated: tuple[int, ...] = (),
        truncated: Mapping[int, int] = MappingProxyType({}),
        request_ids: tuple[str, ...] = (),
    ) -> None:
        self.model = model
        self.usage = usage
        self.model_served, self.provider_served = served or Served()
        self.possibly_truncated = possibly_truncated
        self.truncated = dict(truncated)
        self.request_ids = request_ids
        self._buffer = buffer

    def __len__(self) -> int:
        return len(self._buffer)

    def __iter__(self) -> Iterator[Vector]:
        return iter(self.vectors)

    @overload
    def __getitem__(self, index: int) -> Vector: ...
    @overload
    def __getitem__(self, index: slice) -> list[Vector]: ...
    def __getitem__(self, index: int | slice) -> Vector | list[Vector]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [cast(Vector, self._buffer.vector(place)) for place in places]
        return cast(Vector, self._buffer.vector(places))

    def __repr__(self) -> str:
        return f"EmbeddingResult({len(self)} vectors, model={self.model!r}, usage={self.usage!r})"

    def _repr_html_(self) -> str:
        """Return the small table that notebooks show."""
        first = self[0] if len(self) else []
        shown = ", ".join(f"{number:.4f}" for number in first[:_SHOWN_NUMBERS])
        more = ", \u2026" if len(first) > _SHOWN_NUMBERS else ""
        rows = {
            "model": escape(self.model),
            "vectors": f"{len(self):,}",
            "dimensions": f"{len(first):,}",
            "tokens": f"{self.usage.total_tokens:,}",
            "credits": f"{self.usage.credits_used:,}",
            "US dollars": f"{self.usage.usd_spent:.6f}",
            "first vector": f"{shown}{more}",
        }
        if self.usage.cached:
            rows["from the cache"] = f"{self.usage.cached:,} texts"
        if self.possibly_truncated:
            rows["possibly truncated"] = f"{len(self.possibly_truncated):,} texts"
        if self.truncated:
            rows["truncated"] = f"{len(self.truncated):,} texts"
        cells = "".join(f"<tr><th>{name}</th><td>{cell}</td></tr>" for name, cell in rows.items())
        return f"<table>{cells}</table>"

    @property
    def vectors(self) -> list[Vector]:
        """The n vectors as lists of d Python floats. Made once, on first use."""
        with self._keeping_vectors():
            return cast(list[Vector], self._buffer.vectors())

    async def avectors(self) -> list[Vector]:
        """Return `vectors`, made in slices of 5 ms, between which the event loop runs.

        Making lists of 20,000 vectors of 1,536 numbers takes a second.
        """
        with self._keeping_vectors():
            made = await in_slices(self._buffer.making_vectors(), collect=True)
        return cast(list[Vector], made)

    @contextmanager
    def _keeping_vectors(self) -> Iterator[None]:
        """Keep all vectors in the error that interrupts the making of lists."""
        try:
            yield
        except BaseException as error:
            attach_partial(error, lambda: PartialResult(self._buffer, self.usage, self.truncated))
            raise

    def array(self) -> NDArray[np.float32]:
        """Return an array of n x d float32, made without Python floats.

        Vectors that came as base64 are not copied: the array is a view of the memory that
        `vectors` is made from. Copy it before you change it, if `vectors` is to be read later.
        Without texts the shape is (0, d), and (0, 0) where the size of the vectors is not known.

        Raises:
            ImportError: NumPy is not installed; nothing else in this package needs it.
            ReplyError: The server sent a number that float32 cannot hold.
        """
        with _needs_numpy("array()"):
            return self._buffer.array()


class PartialResult:
    """What was finished before an error: a place for each of n texts, some without a vector.

    Attributes:
        usage: What was spent, on failed requests too.
        truncated: As in `EmbeddingResult`, for texts that have a vector.
        start: For an error of a stream, the position in the stream of the first of these places;
            all before it were yielded. 0 for an error of a call.

    Example:
        >>> error.partial.array()[error.partial.mask]  # doctest: +SKIP
    """

    def __init__(
        self,
        buffer: VectorBuffer,
        usage: Usage,
        truncated: Mapping[int, int] = MappingProxyType({}),
        start: int = 0,
    ) -> None:
        self.usage = usage
        self.truncated = dict(truncated)
        self.start = start
        self._buffer = buffer

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartialResult):
            return NotImplemented
        same = (self.usage, self.start) == (other.usage, other.start)
        return same and self.vectors == other.vectors

    __hash__ = None  # type: ignore[assignment]  # vectors can be changed

    def __repr__(self) -> str:
        done = sum(map(self._buffer.holds, range(len(self))))
        return f"PartialResult({done} of {len(self)} vectors, usage={self.usage!r})"

    @property
    def vectors(self) -> Sequence[Vector | None]:
        """A vector for each text that was finished, None for the others.

        Each list is made when it is read, so that an error costs no more memory than a result:
        `list(error.partial.vectors)` makes them all.
        """
        return _LazyVectors(self._buffer)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where there is a vector: an array of n booleans.

        Raises:
            ImportError: NumPy is not installed.
        """
        with _needs_numpy("mask"):
            import numpy as np
        return np.fromiter(map(self._buffer.holds, range(len(self))), np.bool_, len(self))

    def array(self) -> NDArray[np.float32]:
        """Return n x d float32; rows of texts that were not finished are NaN, and False in `mask`.

        Vectors that came as base64 are not copied. Where there is no vector at all and the size of
        the model's vectors is not known, d is 0.

        Raises:
            ImportError: NumPy is not installed.
            ReplyError: The server sent a number that float32 cannot hold.
        """
        with _needs_numpy("array()"):
            return self._buffer.array()


def attach_partial(error: BaseException, partial: Callable[[], PartialResult]) -> None:
    """Attach what was finished to the error that ends a call, Ctrl-C and cancellation included.

    asyncio may hand another CancelledError to whoever awaits a task.
    """
    with suppress(AttributeError):  # an exception of the user's with slots
        error.partial = partial()  # type: ignore[attr-defined]


def nothing_finished(texts: object = ()) -> PartialResult:
    """Return a place without a vector for each text; for an error before any request."""
    places = len(texts) if isinstance(texts, Sequence) and not isinstance(texts, str) else 0
    return PartialResult(VectorBuffer(places), Usage())


def partial_of(error: BaseException) -> PartialResult | None:
    """Return what was finished before an error; None where nothing was attached to it."""
    found = getattr(error, "partial", None)
    return found if isinstance(found, PartialResult) else None


class _LazyVectors(Sequence[Vector | None]):
    """The vectors of a buffer, each made into a list when it is read; equal to a list of them."""

    def __init__(self, buffer: VectorBuffer) -> None:
        self._buffer = buffer

    def __len__(self) -> int:
        return len(self._buffer)

    @overload
    def __getitem__(self, index: int) -> Vector | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[Vector | None]: ...
    def __getitem__(self, index: int | slice) -> Vector | list[Vector | None] | None:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self._buffer.vector(place) for place in places]
        return self._buffer.vector(places)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | _LazyVectors):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list's

    def __repr__(self) -> str:
        return repr(list(self))


@contextmanager
def _needs_numpy(what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{what} needs NumPy: pip install numpy") from error
