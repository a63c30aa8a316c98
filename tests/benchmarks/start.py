"""What it costs to begin: imports, and the first call of a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping

from tests.benchmarks.bench import Figures, pinned

# Statement, what it is compared with, most milliseconds it may add.
IMPORTS: list[tuple[str, str, float]] = [
    ("import aimlapi_embeddings", "import httpx", 40),
    (
        "import langchain_aimlapi_embeddings",
        "import langchain_core.embeddings, langchain_core.utils, langchain_core.rate_limiters,"
        " pydantic, httpx",
        60,
    ),
    (
        "import llama_index_aimlapi_embeddings",
        "import httpx; from llama_index.core.base.embeddings.base import BaseEmbedding",
        60,
    ),
]

_BARE = """
import httpx, json
from array import array
from binascii import a2b_base64
client = httpx.Client(headers={"Authorization": "Bearer k"})
reply = client.post("%s/v1/embeddings", json={"model": "text-embedding-3-small",
    "input": ["query 0"], "encoding_format": "base64"})
assert array("f", a2b_base64(json.loads(reply.content)["data"][0]["embedding"])).tolist()
"""
_OURS = """
from aimlapi_embeddings import EmbeddingsClient
client = EmbeddingsClient(model="text-embedding-3-small", api_key="k", base_url="%s")
assert client.embed(["query 0"], role="query").vectors[0]
"""


def seconds(code: str) -> float:
    """Time a fresh process from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, preexec_fn=pinned(0))
    return time.perf_counter() - start


def compared(ours: str, base: str, rounds: int) -> Figures:
    """Time two statements in turn; medians of both and of what ours adds, in milliseconds."""
    pairs = [(seconds(ours) * 1000, seconds(base) * 1000) for _ in range(rounds)]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "base": statistics.median(b for _, b in pairs),
        "added": statistics.median(a - b for a, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def markdown(url: str, rounds: int) -> str:
    """Measure and write both tables."""
    lines = [
        "### Imports",
        "",
        "| statement | ms | ms of what it needs anyway | added | goal |",
        "| --- | --- | --- | --- | --- |",
    ]
    for ours, base, goal in IMPORTS:
        row: Mapping[str, float] = compared(ours, base, rounds)
        met = "met" if row["added"] <= goal else "not met"
        lines.append(
            f"| `{ours}` | {row['ours']:.0f} | {row['base']:.0f} | {row['added']:.0f} "
            f"| {goal:.0f}: {met} |"
        )
    row = compared(_OURS % url, _BARE % url, rounds)
    met = "met" if row["ratio"] <= 1.2 else "not met"
    lines += [
        "",
        "### First call: a fresh process, import, construct, one query",
        "",
        f"bare httpx {row['base']:.0f} ms, ours {row['ours']:.0f} ms: "
        f"{row['ratio']:.2f} (1.20: {met})",
        "",
    ]
    return "\n".join(lines)
