"""Tables for the step that embeds a column, of each kind, and what has to come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from aimlapi_embeddings import EmbeddingsClient, emulator
from aimlapi_embeddings.batches import EmbedBatches
from tests.support.entry_points import OPENAI
from tests.support.optional_imports import need

pd: Any = need("pandas", "engines")
pl: Any = need("polars", "engines")

SIZE = 8
TEXTS = ["red fox", "blue sea", "red fox", "grey wolf", "green tree"]


@contextmanager
def step(**options: Any) -> Iterator[EmbedBatches]:
    """Make a step with small vectors, and close its connections."""
    with EmbedBatches(**{"model": OPENAI, "dimensions": SIZE, **options}) as made:
        yield made


def table(texts: Sequence[str | None] = TEXTS, **columns: Any) -> pa.Table:
    """Make an Arrow table with columns on both sides of the texts."""
    count = len(texts)
    return pa.table(
        {
            "id": pa.array(range(10, 10 + count), pa.int16()),
            "text": pa.array(texts, pa.string()),
            "tags": pa.array([["a", None]] * count, pa.list_(pa.string())),
            **columns,
        }
    )


def pandas_frame(arrow: pa.Table) -> Any:
    frame = arrow.to_pandas()
    return frame.set_index(pd.Index([f"row {i}" for i in range(len(frame))], name="name"))


KINDS: dict[str, Callable[[pa.Table], Any]] = {
    "table": lambda arrow: arrow,
    "record batch": lambda arrow: arrow.combine_chunks().to_batches()[0],
    "pandas": pandas_frame,
    "pandas with Arrow": lambda arrow: arrow.to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.from_arrow,
    "dict of arrays": lambda arrow: {
        name: np.array(arrow[name].to_pylist(), dtype=object) for name in arrow.column_names
    },
    "dict of lists": pa.Table.to_pydict,
    "dict of Arrow": lambda arrow: {name: arrow[name] for name in arrow.column_names},
}


def vectors_of(result: Any, name: str = "vector") -> NDArray[np.float32]:
    """Read the vectors of a result, n x d; NaN where a row has none."""
    column = result[name] if not isinstance(result, pa.RecordBatch) else result.column(name)
    rows = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    missing = [np.nan] * SIZE
    return np.array([missing if row is None or row is pd.NA else row for row in rows], np.float32)


def expected(texts: Sequence[str | None], **options: Any) -> NDArray[np.float32]:
    """Embed each text by a call of its own; NaN where there is none."""
    vectors = np.full((len(texts), SIZE), np.nan, np.float32)
    with EmbeddingsClient(model=OPENAI, dimensions=SIZE, **options) as client:
        for i, text in enumerate(texts):
            if text:
                vectors[i] = client.embed([text]).array()[0]
    return vectors


def inputs(server: emulator.Emulator) -> list[Any]:
    """List the texts of each request that a server got."""
    return [json.loads(request.body)["input"] for request in server.requests]
