"""The step that embeds a column: on PyArrow, and inside Ray from Parquet to Parquet."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from drivers import driver, of_ours
from floor import KEY, MODEL
from server import VECTORS, vector
from works import AT_HAND_IN_RAY, STEP, STEP_IN_RAY, STEP_ON_PARQUET, Work

_ROWS = 2_500  # in a block of Ray, and in a batch without it
_WORKERS = 2


def options_of(base_url: str, work: Work) -> dict[str, Any]:
    return {"model": MODEL, "base_url": base_url, **of_ours(work)}


@driver(STEP)
def step(base_url: str, work: Work) -> Any:
    """All texts in one table, as one call has them in one list."""
    import pyarrow as pa

    from aimlapi_embeddings.batches import EmbedBatches

    options = options_of(base_url, work) | {"batch_size": work.batch}
    ours = EmbedBatches(api_key=lambda: KEY, **options)

    def documents(texts: Sequence[str]) -> Any:
        return matrix(ours(pa.table({"text": texts})))

    return SimpleNamespace(documents=documents)


def matrix(table: Any) -> Any:
    """View a column of vectors as n x d numbers."""
    import numpy as np

    rows = [np.asarray(chunk.flatten()) for chunk in table["vector"].chunks]
    numbers = rows[0] if len(rows) == 1 else np.concatenate(rows)
    return numbers.reshape(table.num_rows, -1)


@driver(STEP_ON_PARQUET)
def step_on_parquet(base_url: str, work: Work) -> Any:
    """One process, without an engine."""
    import pyarrow.parquet as pq

    from aimlapi_embeddings.batches import EmbedBatches

    ours = EmbedBatches(api_key=lambda: KEY, **options_of(base_url, work))

    _use_all_cpus()

    def embed(source: Path, target: Path) -> None:
        target.mkdir()
        file = pq.ParquetFile(source)
        with pq.ParquetWriter(target / "0.parquet", ours.schema(file.schema_arrow)) as writer:
            for batch in ours.over(file.iter_batches(_ROWS)):
                writer.write_batch(batch)

    return SimpleNamespace(documents=lambda texts: _from_parquet_to_parquet(texts, embed))


@driver(STEP_IN_RAY)
def step_in_ray(base_url: str, work: Work) -> Any:
    """Two workers, each with half of the requests in flight."""
    from aimlapi_embeddings.batches import EmbedBatches

    os.environ["AIMLAPI_API_KEY"] = KEY  # before the node starts
    options = options_of(base_url, work)
    options["max_concurrency"] = (work.concurrency or 8) // _WORKERS
    return _in_ray(EmbedBatches, options)


@driver(AT_HAND_IN_RAY)
def at_hand_in_ray(base_url: str, work: Work) -> Any:
    """Sends nothing, so that what is left is Ray's own."""
    rows = [vector(i, work.dimensions) for i in range(VECTORS)]

    class AtHand:
        def __init__(self) -> None:
            import numpy as np

            self.rows = np.array(rows, np.float32)

        def __call__(self, table: Any) -> Any:
            import pyarrow as pa

            found = self.rows[table["id"].to_numpy() % VECTORS]
            column = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
            return table.append_column("vector", column)

    return _in_ray(AtHand, {})


def _in_ray(step: Any, options: dict[str, Any]) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="r"))  # paths of sockets must be short
    (folder / "token").write_text(secrets.token_hex(32))
    os.environ |= {
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
    }
    import ray

    _use_all_cpus()
    ray.init(
        num_cpus=4, include_dashboard=False, configure_logging=False, _temp_dir=str(folder / "ray")
    )

    def embed(source: Path, target: Path) -> None:
        dataset = ray.data.read_parquet(str(source))
        blocks = max(1, dataset.count() // _ROWS)
        dataset.repartition(blocks).map_batches(
            step,
            fn_constructor_kwargs=options,
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=_WORKERS),
            num_cpus=0.25,
        ).write_parquet(str(target))

    return SimpleNamespace(documents=lambda texts: _from_parquet_to_parquet(texts, embed))


def _use_all_cpus() -> None:
    """Undo the runner's choice of one CPU, where Ray's dozen processes wait for each other."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def _from_parquet_to_parquet(texts: Sequence[str], embed: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "in.parquet"), Path(name, "out")
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), source)
        embed(source, target)
        return matrix(pq.read_table(target).sort_by("id"))
