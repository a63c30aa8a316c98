"""A process that writes to a cache until it is killed: `python -m tests.support.cache_writer`.

Its threads write side by side. Each prints the name of a batch after it was kept: what was printed
has to be on the disk.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from aimlapi_embeddings import VectorCache
from tests.support.cached_rows import key_of, names, row_of

PER_BATCH = 50
THREADS = 4


def main(path: str, prefix: str, batches: int) -> None:
    cache = VectorCache(path)

    def write(thread: int) -> None:
        for batch in range(batches):
            name = f"{prefix}-{thread}-{batch}-"
            some = names(PER_BATCH, name)
            cache.keep([*map(key_of, some)], [*map(row_of, some)], "a-model")
            os.write(1, f"{name}\n".encode())  # at once, also beside other threads

    with ThreadPoolExecutor(THREADS) as pool:
        for finished in [pool.submit(write, thread) for thread in range(THREADS)]:
            finished.result()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
