"""The step inside each engine, in a few lines, as the manual shows them.

Every test reads the same Parquet files and finds each vector on its own text. Ray has a module of
its own, since it needs a process of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from aimlapi_embeddings import ConfigurationError, emulator
from aimlapi_embeddings.batches import EmbedBatches
from tests.support.batches import SIZE, expected, pd, pl, step, vectors_of
from tests.support.entry_points import OPENAI
from tests.support.optional_imports import need

TEXTS = [f"text number {i}" for i in range(60)]
OPTIONS = {"model": OPENAI, "dimensions": SIZE}

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of three Parquet files with 20 texts each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for start in range(0, 60, 20):
        ids = range(start, start + 20)
        part = pa.table({"id": ids, "text": TEXTS[start : start + 20]})
        pq.write_table(part, folder / f"{start}.parquet")
    return folder


def check(result: pa.Table) -> None:
    """Find each vector on its own text."""
    result = result.sort_by("id")
    assert result["text"].to_pylist() == TEXTS
    np.testing.assert_array_equal(vectors_of(result), expected(TEXTS))


def test_pyarrow_datasets(files: Path, tmp_path: Path) -> None:
    dataset = pads.dataset(files)
    with (
        step() as embed,
        pq.ParquetWriter(tmp_path / "out.parquet", embed.schema(dataset.schema)) as writer,
    ):
        for batch in embed.over(dataset.to_batches(batch_size=8)):
            writer.write_batch(batch)
    check(pq.read_table(tmp_path / "out.parquet"))


def test_pyarrow_writes_a_dataset_of_what_comes(files: Path, tmp_path: Path) -> None:
    dataset = pads.dataset(files)
    with step() as embed:
        batches = embed.over(dataset.to_batches())
        schema = embed.schema(dataset.schema)
        pads.write_dataset(batches, tmp_path / "out", schema=schema, format="parquet")
    check(pq.read_table(tmp_path / "out"))


def test_pandas(files: Path, tmp_path: Path) -> None:
    with step() as embed:
        frame = embed(pd.read_parquet(files))
    assert np.stack(frame["vector"]).shape == (60, SIZE)
    frame.to_parquet(tmp_path / "out.parquet")
    check(pq.read_table(tmp_path / "out.parquet"))


@pytest.mark.parametrize("column", ["fixed", "list"])
def test_pandas_reads_its_file_back_with_the_backend_of_pyarrow(
    files: Path, tmp_path: Path, column: str, server: emulator.Emulator
) -> None:
    with step(column=column) as embed:
        frame = embed(pd.read_parquet(files))
        frame.to_parquet(tmp_path / "out.parquet")
        read = pd.read_parquet(tmp_path / "out.parquet", dtype_backend="pyarrow")
        sent = len(server.requests)
        again = embed(read)
    assert len(server.requests) == sent, "what was read back has its vectors"
    assert again.index.equals(frame.index)
    check(pa.Table.from_pandas(again, preserve_index=False))


def test_polars_eager(files: Path) -> None:
    with step() as embed:
        frame = embed(pl.read_parquet(files))
    assert frame.schema["vector"] == pl.Array(pl.Float32, SIZE)
    check(frame.to_arrow())


def test_polars_lazy(files: Path) -> None:
    with step() as embed:
        lazy = pl.scan_parquet(files)
        schema = embed(lazy.head(0).collect()).schema
        frame = lazy.map_batches(embed, schema=schema).filter(pl.col("id") >= 0).collect()
    check(frame.to_arrow())


def test_polars_streaming(files: Path, tmp_path: Path) -> None:
    with step() as embed:
        lazy = pl.scan_parquet(files)
        schema = embed(lazy.head(0).collect()).schema
        embedded = lazy.map_batches(embed, schema=schema, streamable=True)
        embedded.sink_parquet(tmp_path / "out.parquet")
    check(pq.read_table(tmp_path / "out.parquet"))


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
@pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")
def test_dask(files: Path, scheduler: str, server: emulator.Emulator) -> None:
    dask = need("dask", "engines")
    frames = need("dask.dataframe", "engines")
    with step() as embed, dask.config.set(scheduler=scheduler):
        frame = frames.read_parquet(files)
        embedded = frame.map_partitions(embed, meta=embed(frame._meta))
        assert not server.requests, "nothing is sent to find out the columns"
        result = embedded.compute()
    assert len(server.requests) == 3
    check(pa.Table.from_pandas(result, preserve_index=False))


@pytest.mark.parametrize("form", [None, "numpy", "arrow"])
def test_datasets_of_hugging_face(
    files: Path, tmp_path: Path, form: str | None, server: emulator.Emulator
) -> None:
    datasets = need("datasets", "engines")
    rows = datasets.load_dataset(
        "parquet", data_dir=str(files), split="train", cache_dir=str(tmp_path / "cache")
    )
    for _ in range(2):
        with step() as embed:
            found = rows.with_format(form).map(embed, batched=True, batch_size=20)
        assert len(server.requests) == 3, "a rerun takes the result from the cache of datasets"
    check(found.with_format("arrow")[:])


def test_daft(files: Path) -> None:
    daft = need("daft", "engines")
    functions = need("daft.functions", "engines")
    provider = need("aimlapi_embeddings.batches.daft", "engines").DaftProvider()
    embedded = functions.embed_text(daft.col("text"), provider=provider, **OPTIONS)
    frame = daft.read_parquet(str(files)).with_column("vector", embedded)
    check(frame.to_arrow().set_column(2, "vector", plain(frame.to_arrow()["vector"])))


def plain(column: Any) -> Any:
    """Return the fixed-size lists that are below a type of Daft's."""
    chunks = [getattr(chunk, "storage", chunk) for chunk in column.chunks]
    return pa.chunked_array(chunks)


def test_daft_keeps_rows_without_text_as_null() -> None:
    daft = need("daft", "engines")
    functions = need("daft.functions", "engines")
    provider = need("aimlapi_embeddings.batches.daft", "engines").DaftProvider(on_error="keep")
    frame = daft.from_pydict({"text": ["a", None, ""]})
    embedded = functions.embed_text(daft.col("text"), provider=provider, **OPTIONS)
    found = frame.with_column("vector", embedded).to_pydict()["vector"]
    np.testing.assert_array_equal(found[0], expected(["a"])[0])
    assert found[1:] == [None, None]


def test_daft_without_a_model_says_so() -> None:
    provider = need("aimlapi_embeddings.batches.daft", "engines").DaftProvider()
    with pytest.raises(ConfigurationError, match="needs model="):
        provider.get_text_embedder()


@pytest.mark.jvm
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
def test_spark(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = need("pyspark.sql", "pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    try:
        frame = session.read.parquet(str(files))
        embed = EmbedBatches(**OPTIONS, column="list")
        schema = "id long, text string, vector array<float>"
        frame.mapInArrow(embed.over, schema).write.parquet(str(tmp_path / "out"))
    finally:
        session.stop()
    check(pq.read_table(tmp_path / "out"))
