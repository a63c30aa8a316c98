"""A job that embeds pieces of docstrings with a cache: `python -m tests.support.cached_job`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from aimlapi_embeddings import EmbeddingsClient
from tests.support.docstring_pieces import pieces

SIZE = 64
AT_ONCE = 8


def client_of(base_url: str, path: Path, batch: int) -> EmbeddingsClient:
    return EmbeddingsClient(
        model="text-embedding-3-small",
        api_key="no key",
        base_url=base_url,
        dimensions=SIZE,
        cache=path,
        batch_size=batch,
        max_concurrency=AT_ONCE,
    )


def main(base_url: str, path: str, texts: str, batch: str) -> None:
    with client_of(base_url, Path(path), int(batch)) as client:
        result = client.embed(pieces(int(texts)))
    print(json.dumps(msgspec.to_builtins(result.usage)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
