"""What it costs to begin: imports, and the first call of a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys

from tests.benchmarks.bench import pinned

# What is imported, what every such package must import before, most milliseconds it may add.
IMPORTS: list[tuple[str, str, float]] = [
    ("aimlapi_embeddings", "import httpx", 40),
    (
        "langchain_aimlapi_embeddings",
        "import httpx, pydantic; from langchain_core.embeddings import Embeddings; "
        "from langchain_core.utils import from_env, secret_from_env",
        60,
    ),
    (
        "llama_index_aimlapi_embeddings",
        "import httpx; from llama_index.core.base.embeddings.base import BaseEmbedding",
        60,
    ),
]
FIRST_CALL = 1.2

_BARE = """
client = httpx.Client(headers={"Authorization": "Bearer k"})
reply = client.post("%s/v1/embeddings", json={"model": "text-embedding-3-small",
    "input": ["query 0"], "encoding_format": "base64"})
assert array("f", a2b_base64(json.loads(reply.content)["data"][0]["embedding"])).tolist()
"""
_OURS = """
client = EmbeddingsClient(model="text-embedding-3-small", api_key="k", base_url="%s")
assert client.embed(["query 0"], role="query").vectors[0]
"""


def milliseconds(code: str, before: str) -> float:
    """Time a piece of code in a fresh process that has run another one before."""
    timed = f"{before}\nfrom time import perf_counter\nstart = perf_counter()\n{code}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{timed}print(perf_counter() - start)"],
        check=True,
        preexec_fn=pinned(0),
        capture_output=True,
        text=True,
    )
    return float(done.stdout) * 1000


def markdown(url: str, rounds: int) -> str:
    """Measure and write both tables."""
    lines = [
        "### Imports",
        "",
        "| import | after | adds, ms | goal |",
        "| --- | --- | --- | --- |",
    ]
    for package, before, goal in IMPORTS:
        added = statistics.median(milliseconds(f"import {package}", before) for _ in range(rounds))
        met = "met" if added <= goal else "not met"
        lines.append(f"| `{package}` | `{before}` | {added:.0f} | {goal:.0f}: {met} |")
    imports = "import httpx, json; from array import array; from binascii import a2b_base64"
    ours = "from aimlapi_embeddings import EmbeddingsClient"
    pairs = [
        (milliseconds(_OURS % url, ours), milliseconds(_BARE % url, imports)) for _ in range(rounds)
    ]
    ratio = statistics.median(a / b for a, b in pairs)
    met = "met" if ratio <= FIRST_CALL else "not met"
    lines += [
        "",
        "### First call: construct, and one query, certificates loaded",
        "",
        f"bare httpx {statistics.median(b for _, b in pairs):.1f} ms, "
        f"ours {statistics.median(a for a, _ in pairs):.1f} ms: "
        f"{ratio:.2f} ({FIRST_CALL:.2f}: {met})",
        "",
    ]
    return "\n".join(lines)
