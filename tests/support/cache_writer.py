"""A process that writes to a cache until it is killed: `python -m tests.support.cache_writer`.

It prints the number of each batch after it was kept: what it printed has to be on the disk.
"""

from __future__ import annotations

import sys

from aimlapi_embeddings import VectorCache
from tests.support.cached_rows import key_of, names, row_of

PER_BATCH = 50


def main(path: str, prefix: str, batches: int) -> None:
    cache = VectorCache(path)
    for batch in range(batches):
        some = names(PER_BATCH, f"{prefix}-{batch}-")
        cache.keep([*map(key_of, some)], [*map(row_of, some)], "a-model")
        print(batch, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
