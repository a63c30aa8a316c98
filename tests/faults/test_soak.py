"""A long run on a server with occasional faults loses no vector and leaks no resource.

`pytest -m soak` runs it; the figures it prints are in the README.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aimlapi_embeddings import emulator
from aimlapi_embeddings.emulator import Emulator, Fault, running
from tests.support.entry_points import KEY, MODES, OPENAI, EntryPoint, FakeServer

CALLS, TEXTS = 100, 2_000  # 200,000 texts
BATCH, CONCURRENCY = 20, 16
LATENCY = 0.25  # seconds
ILL = 0.02  # share of the requests that meet a fault
CURABLE = (
    *(Fault(status) for status in (408, 429, 500, 502, 503, 504)),
    Fault(429, retry_after="0"),
    Fault(503, retry_after="0.5"),
    *(Fault(drop=drop) for drop in ("before_headers", "in_headers", "after_headers", "in_body")),
    Fault(drop="in_body", reset=False),
    Fault(reshape=emulator.overstated_length),
    Fault(hang=True),
    Fault(close=True),
    Fault(reshape=emulator.shuffled),
    Fault(reshape=emulator.as_floats),
    Fault(reshape=emulator.gzipped),
)
MEGABYTE = 1 << 20
MOST_GROWTH = 16 * MEGABYTE  # the C library's allocator keeps some memory for each thread


class State(NamedTuple):
    """Resources of this process: bytes of memory, allocated blocks, threads and descriptors."""

    memory: int
    blocks: int
    threads: int
    descriptors: int


def faults(seed: int) -> Iterator[Fault | None]:
    """Yield random faults for ever."""
    chance = random.Random(seed)
    while True:
        yield chance.choice(CURABLE) if chance.random() < ILL else None


def settled() -> State:
    """Wait until threads and descriptors no longer change, and return the state."""
    before = None
    while (now := _look()) != before:
        before = now
        time.sleep(0.1)
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return State(memory, sys.getallocatedblocks(), *now)


def _look() -> tuple[int, int]:
    gc.collect()
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it looks into /proc")
def test_two_hundred_thousand_texts_get_their_vectors_and_leak_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = Emulator(latency=LATENCY, faults=faults(seed=4))
    start = time.perf_counter()
    states: list[State] = []
    answered = 0
    with running(server) as base_url:
        empty = settled()
        entry_point = EntryPoint("core", "sync", FakeServer()).make_plain(
            model=OPENAI,
            api_key=KEY,
            base_url=base_url,
            dimensions=8,
            batch_size=BATCH,
            max_concurrency=CONCURRENCY,
            timeout=2.0,
        )
        for call in range(CALLS):
            texts = [f"text {i} of call {call}" for i in range(TEXTS)]
            entry_point.mode = MODES[call % 2]  # each async call runs in a new event loop
            vectors = entry_point.documents(texts)
            right = (
                EntryPoint("core", "sync", FakeServer()).make(OPENAI, dimensions=8).documents(texts)
            )
            assert vectors == right, f"call {call}"
            answered += len(server.requests)
            server.requests.clear()
            del vectors, right
            states.append(settled())
        entry_point.client.close()
        left = settled()
    usage, elapsed = entry_point.client.usage, time.perf_counter() - start

    early, late = (
        states[CALLS // 10 : CALLS // 5],
        states[-CALLS // 10 :],
    )  # a tenth of the calls each
    memory = [statistics.median(state.memory for state in part) for part in (early, late)]
    blocks = [statistics.median(state.blocks for state in part) for part in (early, late)]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{CALLS * TEXTS:,} texts, {usage.requests:,} requests, {usage.retries:,} of them "
            f"repeats, in {elapsed:.0f} s; {memory[0] / MEGABYTE:.1f} MB after a tenth, "
            f"{memory[1] / MEGABYTE:.1f} MB at the end; {blocks[0]:,.0f} and "
            f"{blocks[1]:,.0f} objects; threads {empty.threads} before, at most "
            f"{max(state.threads for state in states)} between calls, {left.threads} after; "
            f"descriptors {empty.descriptors}, {max(state.descriptors for state in states)}, "
            f"{left.descriptors}\n"
        )
    assert answered == usage.requests
    assert usage.retries >= ILL / 2 * usage.requests
    assert memory[1] - memory[0] < MOST_GROWTH
    assert (
        blocks[1] - blocks[0] < usage.requests / 4
    )  # fewer than one leaked block in four requests
    # Between calls, each kept connection has two descriptors, since the server is in this process
    # too, and one thread of the server.
    assert all(state.threads <= empty.threads + CONCURRENCY for state in states)
    assert all(state.descriptors <= empty.descriptors + 2 * CONCURRENCY for state in states)
    assert left[2:] == empty[2:]
