"""The step inside Ray Data, on a real node: a killed worker, a storm of refusals, and no key left.

Ray runs in a process of its own with a hard timeout, since its way to fail is to wait for ever, and
its own warnings would be errors here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimlapi_embeddings import EmbeddingsClient, emulator
from aimlapi_embeddings.emulator import Fault, Request
from tests.docs.code_blocks import ROOT
from tests.support.entry_points import KEY
from tests.support.key_exposure import forms
from tests.support.optional_imports import need

need("llama_index.ingestion.ray", "engines")
from tests.engines import ray_programs  # noqa: E402

HARD_LIMIT = 240.0  # seconds; a sixth of it is usual
STORM = 3.0  # seconds


class Server:
    """Counts what was paid for, refuses everything for some seconds, and kills workers.

    Args:
        kills: At so many texts each, one worker is killed.
        storm: At so many texts the storm of refusals begins.
    """

    def __init__(self, kills: tuple[int, ...], storm: int) -> None:
        self.emulator = emulator.Emulator(latency=0.25, judge=self._judge)
        self.paid: Counter[str] = Counter()
        self.refused = 0
        self.killed: list[int] = []
        self._kills, self._storm = list(kills), storm
        self._storm_ends = 0.0
        self._lock = threading.Lock()
        self.url = ""

    def _judge(self, request: Request) -> Fault | None:
        texts = json.loads(request.body)["input"]
        with self._lock:
            if self._storm and self.paid.total() >= self._storm:
                self._storm, self._storm_ends = 0, time.monotonic() + STORM
            if time.monotonic() < self._storm_ends:
                self.refused += 1
                return Fault(status=429, retry_after="1")
            self.paid.update(texts)
            if self._kills and self.paid.total() >= self._kills[0]:
                del self._kills[0]
                self.killed.append(self._kill())
            return None

    def _kill(self) -> int:
        """Kill one of the workers that were given our address; they are told by their name."""
        names = processes(self.url).items()
        pid = min(pid for pid, name in names if name.startswith(b"ray::MapWorker"))
        os.kill(pid, signal.SIGKILL)
        return pid


def processes(url: str) -> dict[int, bytes]:
    """Find the processes of this run, by what is in their environment, and their names."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if url.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
    return found


class Run(NamedTuple):
    folder: Path
    server: Server
    seen: dict[str, Any]
    texts: list[str]


def run(folder: Path, rows: int, server: Server, limit: float) -> Run:
    """Embed a corpus of so many distinct texts."""
    texts = [f"text number {i} of the corpus" for i in range(rows)]
    (folder / "in").mkdir()
    for i, start in enumerate(range(0, rows, rows // 4)):
        ids = range(start, start + rows // 4)
        part = pa.table({"id": ids, "text": texts[start : start + rows // 4]})
        pq.write_table(part, folder / "in" / f"{i}.parquet")
    (folder / "token").write_text(secrets.token_hex(32))  # Ray's own, which it wants in a file
    with emulator.running(server.emulator) as url:
        server.url = url
        environment = {
            **os.environ,
            "AIMLAPI_API_BASE": url,
            "AIMLAPI_API_KEY": KEY,
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
            "RAY_enable_metrics_collection": "0",
            "SSL_CERT_DIR": os.devnull,
        }
        with (folder / "log").open("wb") as log:
            program = [sys.executable, "-m", ray_programs.__name__, str(folder), str(rows)]
            process = subprocess.Popen(program, cwd=ROOT, env=environment, stdout=log, stderr=log)
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                code = None
            finally:  # a driver that was stopped leaves its node behind
                for pid in {*processes(url)} - {os.getpid()}:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()
    assert code == 0, (code, (folder / "log").read_text(errors="replace")[-4000:])
    return Run(folder, server, json.loads((folder / "seen.json").read_text()), texts)


@pytest.fixture(scope="module")
def finished() -> Iterator[Run]:
    """10,000 texts, one worker killed, one storm. The folder's name is short, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="r") as name:
        yield run(Path(name), 10_000, Server(kills=(2_000,), storm=5_000), HARD_LIMIT)


def vectors(texts: list[str]) -> np.ndarray:
    """Embed texts without Ray."""
    with (
        emulator.running() as url,
        EmbeddingsClient(**ray_programs.MODEL, base_url=url, api_key="any") as client,
    ):
        return client.embed(texts).array()


def check_rows(done: Run) -> None:
    """Check all rows by value."""
    result = pq.read_table(done.folder / "out").sort_by("id")
    assert result["id"].to_pylist() == list(range(len(done.texts)))
    assert result["text"].to_pylist() == done.texts
    assert result["error"].null_count == len(done.texts)
    found = result["vector"].combine_chunks()
    assert found.null_count == 0
    np.testing.assert_array_equal(
        found.flatten().to_numpy().reshape(len(done.texts), -1), vectors(done.texts)
    )


def paid_twice(done: Run) -> Counter[int]:
    """Count the texts of each block that were paid for more than once."""
    rows = ray_programs.ROWS_IN_A_BLOCK
    place = {text: i for i, text in enumerate(done.texts)}
    assert max(done.server.paid[text] for text in done.texts) <= 1 + len(done.server.killed)
    return Counter(place[t] // rows for t in done.texts if done.server.paid[t] > 1)


@pytest.mark.timeout(HARD_LIMIT + 60)
class TestRay:
    def test_every_row_has_its_own_vector(self, finished: Run) -> None:
        check_rows(finished)

    def test_only_the_block_of_the_killed_worker_is_paid_twice(self, finished: Run) -> None:
        assert len(finished.server.killed) == 1
        assert finished.server.refused > 0, "there was a storm"
        twice = paid_twice(finished)
        assert len(twice) <= 1
        assert twice.total() <= ray_programs.ROWS_IN_A_BLOCK

    def test_the_pipeline_of_llama_index_embeds_every_document(self, finished: Run) -> None:
        texts = [text for text, _ in finished.seen["nodes"]]
        assert sorted(texts) == sorted(ray_programs.DOCUMENTS)
        found = np.array([vector for _, vector in finished.seen["nodes"]], np.float32)
        np.testing.assert_array_equal(found, vectors(texts))

    def test_a_limit_that_an_actor_keeps_is_shared(self, finished: Run) -> None:
        assert 0.5 <= finished.seen["shared"] < 30.0

    def test_no_file_of_the_run_holds_the_key(self, finished: Run) -> None:
        names = {path.name for path in finished.folder.rglob("*") if path.is_file()}
        assert {"lineage", "log", "raylet.out", "seen.json"} <= names
        assert holding(finished.folder) == []

    def test_a_file_that_holds_the_key_would_be_found(self, tmp_path: Path) -> None:
        for i, form in enumerate(forms()):
            (tmp_path / f"{i}.log").write_bytes(b"\0" * 2**20 + form.encode() + b"\0")
        assert len(holding(tmp_path)) == len(forms())


def holding(folder: Path) -> list[str]:
    """List the files below a folder in which the key can be read, in any encoding."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    needles = [form.encode() for form in forms()]
    return [
        str(path.relative_to(folder))
        for path in files
        if any(needle in path.read_bytes() for needle in needles)
    ]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_three_killed_workers_among_fifty_thousand_texts() -> None:
    with tempfile.TemporaryDirectory(prefix="r") as name:
        server = Server(kills=(8_000, 20_000, 32_000), storm=14_000)
        done = run(Path(name), 50_000, server, 800.0)
        check_rows(done)
        twice = paid_twice(done)
        seconds = done.seen["seconds"]
        print(f"{seconds}; refused: {server.refused}; paid twice: {twice}")  # noqa: T201
        assert len(server.killed) == 3
        assert len(twice) <= 3
