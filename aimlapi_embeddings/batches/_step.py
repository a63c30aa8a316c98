"""The step: which rows are sent, and what becomes of those that get no vector."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pyarrow as pa

from aimlapi_embeddings._catalog.models import one_of
from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._errors import (
    AIMLAPIError,
    ConfigurationError,
    InvalidInputError,
    ReplyError,
    ShortTraceback,
)
from aimlapi_embeddings._protocol.arguments import checked_arguments
from aimlapi_embeddings._protocol.options import check_flag, check_integer
from aimlapi_embeddings._protocol.secrets import SecretLike, as_secret
from aimlapi_embeddings._protocol.vectors import VectorBuffer
from aimlapi_embeddings._result import PartialResult
from aimlapi_embeddings._types import Role, Usage
from aimlapi_embeddings.batches._columns import (
    Layout,
    default_layout,
    read_vectors,
    reason_column,
    vector_column,
    vector_type,
)
from aimlapi_embeddings.batches._kinds import Batch, as_batch, check_batches, check_column
from aimlapi_embeddings.batches._options import (
    check_key,
    check_names,
    limiter_of,
    options_of_clients,
    shares,
)
from aimlapi_embeddings.batches._reasons import check_strings, is_kept, reasons_of, why_no_text

if TYPE_CHECKING:
    from aimlapi_embeddings.batches._columns import Mask, Matrix

_SHOWN_ROWS = 10
# Names that people try, and the option that each of them stands for.
_RENAMED = {
    "input_column": "text",
    "text_column": "text",
    "title_column": "title",
    "output_column": "vector",
    "vector_column": "vector",
    "error_column": "error",
}


class EmbedBatches:
    """Embeds a column of a table, batch by batch, inside an engine for large corpora.

    Call it with a batch: a Table or RecordBatch of PyArrow, a DataFrame of pandas or polars, or a
    dict of columns. It returns a table of the same type with a column of vectors. Other columns
    and the order of rows do not change. Its pickle has a few hundred bytes and no key. It opens
    its connections on first use in each process, and may be shared by threads. A batch without
    rows sends nothing and needs no key, so `step(empty).schema` is the schema for an engine.

    Args:
        model: Id of the model.
        text: The column of texts.
        title: The column of titles, for models that take them; null where a text has none.
        vector: The column of vectors: float32, d numbers each. A dict gets an array of n x d.
        role: `"document"` for texts that are stored and searched, `"query"` for questions.
        on_error: What happens to a row that gets no vector. `"raise"` raises an error that names
            the rows. `"keep"` gives it a null vector and a reason, for a text that is null, empty
            or refused, for a temporary failure of the service (429, 5xx, no connection) when all
            retries are used up, and where `max_usd` or `max_tokens` of the worker is reached. 401,
            403, 404, wrong options and wrong replies are raised in any case. In a dict such a row
            is NaN.
        error: The column of reasons, null where there is a vector. Made with `on_error="keep"`.
        column: The Arrow type of the vectors: `"fixed"` for fixed-size lists, `"list"` for lists
            with offsets, as Spark needs. None means `"fixed"`, but `"list"` for `on_error="keep"`
            with PyArrow below 26, which cannot read fixed-size lists with nulls back from Parquet.
        size: d, for models whose size is not known; only there.
        keep_existing: Whether rows that have a vector are not sent, so that a second pass over a
            result of `on_error="keep"` sends only the others.
        requests_per_minute: For all workers together.
        workers: How many workers share `requests_per_minute` and `tokens_per_minute`; each keeps to
            its share. With `shared_limit`, how many machines share them.
        shared_limit: The path of a file through which all workers of one machine share
            `requests_per_minute`, so that no part of it is unused while a worker is idle; see
            `SharedLimit`. Or a function that returns a limiter with `acquire` and `aacquire`,
            called in each process.
        api_key: A function that fetches the key, called once in each process. Without it the key
            comes from the environment of the worker. A string is refused: engines write arguments
            into logs and object stores.
        client_options: Options of `EmbeddingsClient` that are plain values. They apply to each
            worker separately, such as `max_concurrency`, `max_usd` and `max_tokens`. `cache` is a
            path that the workers of one machine may share. Unless `max_retries` is given,
            `retry_for` is 600 seconds.

    Attributes:
        size: Size of the vectors.

    Raises:
        ConfigurationError: Options that are wrong, or cannot be sent to other processes.

    Example:
        >>> step = EmbedBatches(model="text-embedding-3-small")  # doctest: +SKIP
        >>> for batch in step.over(dataset.to_batches()):  # doctest: +SKIP
        ...     writer.write_batch(batch)
    """

    @checked_arguments(passed_on=inspect.signature(EmbeddingsClient).parameters, renamed=_RENAMED)
    def __init__(
        self,
        *,
        model: str,
        text: str = "text",
        title: str | None = None,
        vector: str = "vector",
        role: Role = "document",
        on_error: Literal["raise", "keep"] = "raise",
        error: str = "error",
        column: Layout | None = None,
        size: int | None = None,
        keep_existing: bool = True,
        requests_per_minute: float | None = None,
        workers: int = 1,
        shared_limit: str | os.PathLike[str] | Callable[[], Any] | None = None,
        api_key: Callable[[], str | SecretLike] | None = None,
        **client_options: Any,
    ) -> None:
        given_key, api_key = as_secret(api_key), None
        with ShortTraceback():
            self._api_key = check_key(given_key)
            self._keep = one_of("on_error", on_error, ("raise", "keep")) == "keep"
            self._text, self._title, self._vector, self._error = text, title, vector, error
            check_names(text=text, title=title, vector=vector, error=error)
            self._role: Role = "query" if one_of("role", role, _ROLES) == "query" else "document"
            self._layout = default_layout(nulls=self._keep)
            if column is not None:
                self._layout = "list" if one_of("column", column, _LAYOUTS) == "list" else "fixed"
            self._keep_existing = check_flag("keep_existing", keep_existing)
            self._client_options = options_of_clients(model, client_options)
            share = shares(requests_per_minute, client_options, workers)
            self._limiter = limiter_of(shared_limit, share)
            self._client_options |= share
            self.size = self._check_client(size)

    def __call__(self, batch: Any) -> Any:
        """Return the batch with its vectors.

        Args:
            batch: n rows.

        Raises:
            InvalidInputError: Rows whose texts cannot be embedded; nothing was sent.
            AIMLAPIError: As from `EmbeddingsClient.embed`; positions count the rows of the batch.
        """
        with ShortTraceback():
            rows = as_batch(batch)
            vectors, there, reasons = self._embed(rows)
            layout: Layout = "fixed" if rows.only_fixed else self._layout
            columns = {self._vector: vector_column(vectors, there, layout)}
            if self._keep:
                columns[self._error] = reason_column(reasons)
            return rows.with_columns(columns)

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Embed one batch after the other, as the results are requested.

        Raises:
            InvalidInputError: It is one batch, and not an iterable of them.
        """
        with ShortTraceback():
            check_batches(batches)  # now, and not when the first result is asked for
        return map(self, batches)

    def schema(self, schema: Any) -> Any:
        """Return the Arrow schema of the results for batches of an Arrow schema."""
        made = {self._vector: vector_type(self._layout, self.size)}
        if self._keep:
            made[self._error] = pa.string()
        for name, kind in made.items():
            if name in schema.names:
                schema = schema.set(schema.get_field_index(name), pa.field(name, kind))
            else:
                schema = schema.append(pa.field(name, kind))
        return schema

    @property
    def client(self) -> EmbeddingsClient:
        """The client of this process, made on first use. Its `usage` is that of this process."""
        if "_made" not in self.__dict__:
            # One step, so that threads which come at the same moment get the same one.
            self.__dict__.setdefault("_made", self._new_client())
        client: EmbeddingsClient = self.__dict__["_made"]
        return client

    def close(self) -> None:
        """Close the connections of this process. The step can be used again."""
        if "_made" in self.__dict__:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if "size" not in self.__dict__:  # a traceback may show it half built
            return "EmbedBatches()"
        model = self._client_options["model"]
        return f"EmbedBatches(model={model!r}, {self._text!r} -> {self._vector!r} x {self.size})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_made"}

    def _check_client(self, size: int | None) -> int:
        """Check the client's options before any worker begins; return the size of vectors."""
        options = {k: v for k, v in self._client_options.items() if k != "cache"}
        known = EmbeddingsClient(api_key="only-to-check-the-options", **options).dimensions
        if size is not None:
            size = check_integer("size", size, 1)
        model = self._client_options["model"]
        if known is None and size is None:
            raise ConfigurationError(
                f"the size of the vectors of {model} is not known, and a column of vectors needs "
                "it: pass size=, or dimensions= where the model takes it."
            )
        if known is not None and size not in (None, known):
            raise ConfigurationError(
                f"size={size} contradicts the {known} numbers of each vector of {model}. Leave it "
                "out; it is for models whose size is not known."
            )
        return known or size or 0

    def _new_client(self) -> EmbeddingsClient:
        options = dict(self._client_options)
        if self._limiter is not None:
            options["rate_limiter"] = self._limiter()
        return EmbeddingsClient(api_key=self._api_key and self._api_key(), **options)

    def _embed(self, batch: Batch) -> tuple[Matrix, Mask | None, list[str | None]]:
        """Return n x d numbers, which rows have a vector (None: all), and why the others do not."""
        check_column(batch, "text", self._text)
        texts = batch.values(self._text)
        check_strings("text", self._text, texts)
        existing, has = self._existing(batch)
        vectors: Matrix = existing
        there: Mask | None = has
        # Rows whose text cannot be sent; what has a vector does not need its text.
        bad = {i: why for i, text in enumerate(texts) if (why := why_no_text(text))}
        missing = {i: why for i, why in bad.items() if not has[i]}
        if missing and not self._keep:
            raise self._invalid(missing, len(texts))
        rows = [i for i in range(len(texts)) if i not in bad]
        while not all(has[i] for i in rows):  # else, or without rows, nothing is to be sent
            known = {place: existing[i].tobytes() for place, i in enumerate(rows) if has[i]}
            try:
                sent, done, refused = self._send(batch, texts, rows, known)
            except InvalidInputError as failure:  # a text too long, by the rules of the client
                if not self._keep or not failure.refused:
                    raise
                missing |= {rows[place]: why for place, why in failure.refused.items()}
                rows = [i for i in rows if i not in missing]
                continue
            reasons = {rows[place]: why for place, why in refused.items()}
            if len(rows) < len(texts):
                existing[rows] = sent
                has[rows] = True if done is None else done
            else:
                vectors, there = sent, done
            break
        else:
            reasons = {}
        reasons |= {
            i: f"{InvalidInputError.__name__}: the text {why}" for i, why in missing.items()
        }
        return vectors, there, [reasons.get(i) for i in range(len(texts))]

    def _existing(self, batch: Batch) -> tuple[Matrix, Mask]:
        """Return the vectors that are there, n x d, and which rows have one."""
        if self._keep_existing and self._vector in batch.names:
            check_column(batch, "vector", self._vector)
            return read_vectors(self._vector, batch.arrow(self._vector), self.size)
        return np.zeros((batch.rows, self.size), np.float32), np.zeros(batch.rows, np.bool_)

    def _send(
        self, batch: Batch, texts: list[Any], rows: list[int], known: Mapping[int, bytes]
    ) -> tuple[Matrix, Mask | None, dict[int, str]]:
        """Embed the texts of k rows.

        Returns:
            k x d numbers, which of the k have a vector (None: all), and why the others do not.
        """
        try:
            result = self.client.embed(
                [texts[i] for i in rows],
                role=self._role,
                titles=self._titles(batch, rows),
                known=known,
            )
            vectors, done, reasons = result.array(), None, dict[int, str]()
        except AIMLAPIError as failure:
            partial = failure.partial
            if not self._keep or not is_kept(failure) or partial is None:
                if len(rows) < len(texts):
                    failure.add_note(f"Positions count the {len(rows)} rows that have a text.")
                raise
            vectors, done = partial.array(), partial.mask
            reasons = reasons_of(failure, np.flatnonzero(~done).tolist())
            if not done.any():
                vectors = np.zeros((len(rows), self.size), np.float32)
        if vectors.shape[1] != self.size:
            raise ReplyError(
                f"the server sent vectors of {vectors.shape[1]} numbers, and size={self.size} was "
                "announced. Pass the right size."
            )
        return vectors, done, reasons

    def _titles(self, batch: Batch, rows: list[int]) -> list[str | None] | None:
        if self._title is None:
            return None
        check_column(batch, "title", self._title)
        titles = batch.values(self._title)
        check_strings("title", self._title, titles)
        # A column has no other way to say that there is no title than null, NaN or "".
        return [titles[i] if isinstance(titles[i], str) and titles[i] else None for i in rows]

    def _invalid(self, bad: Mapping[int, str], rows: int) -> InvalidInputError:
        shown = "; ".join(f"row {i} {why}" for i, why in list(bad.items())[:_SHOWN_ROWS])
        more = f"; and {len(bad) - _SHOWN_ROWS} more" if len(bad) > _SHOWN_ROWS else ""
        error = InvalidInputError(
            f"{len(bad)} of {rows} rows of the batch cannot be embedded, by their column "
            f"{self._text!r}: {shown}{more}. Nothing was sent; leave them out, or give them a null "
            "vector and a reason with on_error='keep'.",
            tuple(bad),
        )
        error.partial = PartialResult(VectorBuffer(rows, self.size), Usage())
        return error


_ROLES = ("document", "query")
_LAYOUTS = ("fixed", "list")
