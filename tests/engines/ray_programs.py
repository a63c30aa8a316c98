"""What runs in Ray, in a process of its own: `python -m tests.engines.ray_programs FOLDER ROWS`.

It reads FOLDER/in, writes FOLDER/out, then runs LlamaIndex's pipeline, and writes what it saw into
FOLDER/seen.json. Key and address of the server are in its environment, and so in that of the
workers: they are there when the node starts, and nothing else carries them.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from llama_index.core import Document
from llama_index.ingestion.ray import RayIngestionPipeline, RayTransformComponent

from aimlapi_embeddings.batches import EmbedBatches
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

MODEL = {"model": "text-embedding-3-small", "dimensions": 16}
ROWS_IN_A_BLOCK = 500
# Ray's own: two actors that each claim a whole CPU of two would wait for a third for ever.
LITTLE = {"num_cpus": 0.25}
DOCUMENTS = [f"document number {i}" for i in range(40)]


def embed_corpus(folder: Path, rows: int) -> None:
    """Embed a column of Parquet files with two workers."""
    dataset = ray.data.read_parquet(str(folder / "in")).repartition(rows // ROWS_IN_A_BLOCK)
    embedded = dataset.map_batches(
        EmbedBatches,
        fn_constructor_kwargs={**MODEL, "on_error": "keep"},
        batch_format="pyarrow",
        batch_size=None,  # a whole block
        compute=ray.data.ActorPoolStrategy(size=2),
        **LITTLE,
    )
    (folder / "lineage").write_bytes(embedded.serialize_lineage())
    embedded.write_parquet(str(folder / "out"))


def run_pipeline() -> list[Any]:
    """Embed documents with LlamaIndex's pipeline for Ray."""
    pipeline = RayIngestionPipeline(
        transformations=[
            RayTransformComponent(
                transform_class=AIMLAPIEmbedding,
                transform_kwargs={"model_name": MODEL["model"], "dimensions": MODEL["dimensions"]},
                map_batches_kwargs={"batch_size": 20, "concurrency": 1, **LITTLE},
            )
        ]
    )
    nodes = pipeline.run(documents=[Document(text=text, id_=text) for text in DOCUMENTS])
    return [[node.get_content(), node.embedding] for node in nodes]


def share_a_limit() -> float:
    """Run the recipe of the manual; return the seconds that six requests took at ten a second."""
    page = (Path(__file__).parents[2] / "docs/engines.md").read_text()
    recipe = re.search(r"```py\n(import asyncio.*?)```", page, re.S)
    assert recipe is not None
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(recipe[1], names)
    began = time.monotonic()
    for _ in range(2):  # as two workers would
        with EmbedBatches(**MODEL, shared_limit=names["ClusterLimit"], batch_size=1) as step:
            step(pa.table({"text": ["one", "two", "three"]}))
    return time.monotonic() - began


def main(folder: Path, rows: int) -> None:
    began = time.monotonic()
    ray.init(
        num_cpus=4,  # whatever there are: the workers wait for the server most of the time
        object_store_memory=200 * 2**20,
        include_dashboard=False,
        configure_logging=False,
        _temp_dir=str(folder / "ray"),
    )
    seconds = {"init": time.monotonic() - began}
    began = time.monotonic()
    embed_corpus(folder, rows)
    seconds["corpus"] = time.monotonic() - began
    began = time.monotonic()
    nodes = run_pipeline()
    seconds["pipeline"] = time.monotonic() - began
    shared = share_a_limit()
    ray.shutdown()
    seen = {
        "shared": shared,
        "seconds": seconds,
        "nodes": nodes,
        "rows": pq.read_table(folder / "out").num_rows,
    }
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
