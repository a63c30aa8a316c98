"""What it costs to begin: imports, and the first call of a fresh process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.bench import CHECKOUT, importing_from, pinned, row

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
_COMPILED = tempfile.TemporaryDirectory()

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


def milliseconds(code: str, before: str, checkout: Path = CHECKOUT) -> float:
    """Time a piece of code in a fresh process that has run another one before.

    Run twice, since pip compiles what it installs, and an import from a checkout may compile first.
    """
    timed = f"{before}\nfrom time import perf_counter\nstart = perf_counter()\n{code}\n"
    env = importing_from(checkout) | {"PYTHONPYCACHEPREFIX": _COMPILED.name}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", f"{timed}print(perf_counter() - start)"],
            check=True,
            env=env,
            preexec_fn=pinned(0),
            capture_output=True,
            text=True,
        )
    return float(done.stdout) * 1000


def first_call(url: str, checkout: Path = CHECKOUT) -> float:
    """Time construction and one query in a fresh process, without the import of the core."""
    return milliseconds(_OURS % url, "from aimlapi_embeddings import EmbeddingsClient", checkout)


def markdown(url: str, rounds: int) -> str:
    """Measure and write both tables."""
    lines = [
        "### Imports",
        "",
        row("import", "after", "adds, ms", "goal"),
        row(*["---"] * 4),
    ]
    for package, before, goal in IMPORTS:
        added = statistics.median(milliseconds(f"import {package}", before) for _ in range(rounds))
        met = "met" if added <= goal else "not met"
        lines.append(row(f"`{package}`", f"`{before}`", f"{added:.0f}", f"{goal:.0f}: {met}"))
    imports = "import httpx, json; from array import array; from binascii import a2b_base64"
    pairs = [(first_call(url), milliseconds(_BARE % url, imports)) for _ in range(rounds)]
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
