"""A job that is killed and started again pays for what is missing, and for nothing twice.

`python -m tests.cache.test_killed_jobs 50000` runs it in full and tells the figures.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aimlapi_embeddings import Usage, VectorCache
from tests.support import till_server
from tests.support.cached_job import AT_ONCE, SIZE, client_of
from tests.support.cached_rows import row_of
from tests.support.docstring_pieces import pieces

KILLS = 3


@dataclass
class Outcome:
    """What a job of several lives has cost.

    Attributes:
        distinct: Different texts of the job.
        paid: Texts that the server was sent, all lives together.
        lost: At each kill, the texts of each request that was paid for and is not in the cache.
        kept: Vectors in the cache after each kill.
        last: Usage of the life that was not killed.
        again: Usage of a run after it.
        paid_again: Texts that this run sent.
    """

    distinct: int
    paid: int
    lost: list[list[int]]
    kept: list[int]
    last: Usage
    again: Usage
    paid_again: int


def run_job(path: Path, count: int, batch: int, latency: float) -> Outcome:
    texts = pieces(count)
    distinct = len({*texts})
    lost: list[list[int]] = []
    kept: list[int] = []
    with till_server.running(latency) as (base_url, till):

        def job() -> subprocess.Popen[str]:
            module = ("-m", "tests.support.cached_job")
            return subprocess.Popen(
                [sys.executable, *module, base_url, path, str(count), str(batch)],
                stdout=subprocess.PIPE,
                text=True,
            )

        for kill in range(KILLS):
            begun = len(till.requests)
            with job() as life:
                till.wait_for_texts(till.texts + distinct * (kill + 1) // 8)
                time.sleep(latency / 2)
                life.send_signal(signal.SIGKILL)
            assert life.returncode == -signal.SIGKILL
            till.wait_until_quiet()
            lost.append(lost_of(till.requests[begun:], base_url, path, batch))
            with VectorCache(path) as cache:
                kept.append(len(cache))
        usages = []
        for _ in range(2):
            paid = till.texts
            with job() as life:
                said, _ = life.communicate()
            assert life.returncode == 0
            usages.append(Usage(**json.loads(said)))
        check_vectors(texts, base_url, path, batch)
        return Outcome(distinct, till.texts, lost, kept, *usages, till.texts - paid)


def lost_of(requests: list[list[str]], base_url: str, path: Path, batch: int) -> list[int]:
    """Count the texts of each request that is not in the cache; none is there in part."""
    lost = []
    with client_of(base_url, path, batch) as client:
        for texts in requests:
            missing = client.estimate(texts).to_send
            assert missing in (0, len(texts)), "a request is kept as a whole, or not at all"
            lost += [missing] if missing else []
    return lost


def check_vectors(texts: list[str], base_url: str, path: Path, batch: int) -> None:
    with client_of(base_url, path, batch) as client:
        expected = np.frombuffer(b"".join(bytes(row_of(text)) for text in texts), "<f4")  # type: ignore[arg-type]
        assert (client.embed(texts).array() == expected.reshape(-1, SIZE)).all()


def check(outcome: Outcome, count: int) -> None:
    in_flight = sum(map(sum, outcome.lost))
    assert outcome.paid == outcome.distinct + in_flight
    assert all(len(requests) <= AT_ONCE for requests in outcome.lost), "what was in flight, no more"
    assert outcome.kept == sorted(outcome.kept)
    assert outcome.kept[-1] < outcome.distinct, "the kills came before the end"
    assert outcome.last.cached > 0
    assert outcome.paid_again == 0
    assert outcome.again == Usage(cached=count)


def test_a_job_killed_three_times_pays_for_each_text_once_and_for_what_was_in_flight(
    path: Path,
) -> None:
    check(run_job(path, 3000, 20, 0.02), 3000)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        count = int(sys.argv[1])
        outcome = run_job(Path(folder) / "vectors.db", count, 250, 0.05)
        print(outcome)  # noqa: T201
        check(outcome, count)
