"""Each fault of the fault matrix ends in the correct vectors, or in an error that names it."""

from __future__ import annotations

import functools
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aimlapi_embeddings import AIMLAPIError, APIStatusError
from aimlapi_embeddings.emulator import Emulator, Fault, running
from tests.support.entry_points import KEY, OPENAI, Clock, EntryPoint, FakeServer, Mode, Package
from tests.support.fault_matrix import MATRIX
from tests.support.fault_rows import RETRIES, TIMEOUT, Row

pytestmark = pytest.mark.usefixtures("unencrypted")
LATENCY = 0.05  # seconds; enough for several requests to be in flight together
LONG = 20.0  # seconds; a call takes this long only if it waits for a reply that never comes
USUAL = {"model": OPENAI, "dimensions": 8, "batch_size": 2, "max_concurrency": 1}


@functools.cache
def right(model: str, texts: int) -> list[list[float]]:
    """The vectors of a call without faults."""
    entry_point = EntryPoint("core", "sync", FakeServer()).make(model, dimensions=8)
    return entry_point.documents([f"text {i}" for i in range(texts)])


@contextmanager
def serving(row: Row) -> Iterator[tuple[Emulator, str]]:
    """Serve with the faults of a row, or reserve a port on which nobody listens."""
    server = Emulator(faults=row.faults, **(row.server or {}))
    if row.server is None:
        with socket.socket() as bound:  # the port is taken, but nobody listens on it
            bound.bind(("127.0.0.1", 0))
            yield server, f"http://127.0.0.1:{bound.getsockname()[1]}"
    else:
        with running(server) as base_url:
            yield server, base_url


def embed(entry_point: EntryPoint, row: Row) -> list[list[float]] | AIMLAPIError:
    try:
        return entry_point.documents([f"text {i}" for i in range(row.texts)])
    except AIMLAPIError as error:
        return error
    finally:
        entry_point.client.close()


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_a_fault_ends_in_the_correct_vectors_or_in_its_documented_error(
    row: Row, package: Package, mode: Mode, clock: Clock
) -> None:
    options = {**USUAL, "max_retries": RETRIES, "api_key": KEY, **row.options}
    before, start = clock.now, time.perf_counter()
    with serving(row) as (server, base_url):
        entry_point = EntryPoint(package, mode, FakeServer()).make_plain(
            base_url=base_url, **options
        )
        outcome = embed(entry_point, row)
    waited, elapsed = clock.now - before, time.perf_counter() - start
    expected = right(options["model"], row.texts)

    if row.error is None:
        assert outcome == expected
    else:
        assert isinstance(outcome, AIMLAPIError), outcome
        assert type(outcome) is row.error
        assert re.search(row.says, str(outcome)), outcome
        assert outcome.partial is not None
        kept = [vector if i in row.kept else None for i, vector in enumerate(expected)]
        assert outcome.partial.vectors == kept
        assert outcome.partial.usage == entry_point.client.usage

    usage = entry_point.client.usage
    assert (usage.requests, usage.retries) == (row.requests, row.retries)
    assert len(server.requests) == (row.requests if row.arrived is None else row.arrived)
    least, most = row.wait
    assert least <= waited <= most + 1e-9
    ideal = row.timeouts * TIMEOUT
    assert ideal <= elapsed
    assert not ideal or elapsed < 10 * ideal


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_requests_in_flight(mode: Mode, status: int) -> None:
    server = Emulator(faults=[Fault(status, delay=LATENCY), *[Fault(hang=True)] * 9])
    with running(server) as base_url:
        entry_point = EntryPoint("core", mode, FakeServer()).make_plain(
            **{**USUAL, "max_concurrency": 4}, api_key=KEY, base_url=base_url, timeout=LONG
        )
        start = time.perf_counter()
        with pytest.raises(APIStatusError, match=f"^{status} "):
            entry_point.documents([f"text {i}" for i in range(100)])
        assert time.perf_counter() - start < LONG / 2
        assert 1 <= len(server.requests) <= 4
        entry_point.client.close()
    assert 1 <= len(server.requests) <= 4


def test_refusals_for_too_many_requests_lower_the_requests_in_flight_for_a_time(
    mode: Mode, clock: Clock
) -> None:
    server = Emulator(latency=LATENCY, faults=[Fault(429)] * 24)
    with running(server) as base_url:
        entry_point = EntryPoint("core", mode, FakeServer()).make_plain(
            **{**USUAL, "max_concurrency": 8}, max_retries=99, api_key=KEY, base_url=base_url
        )
        texts = [f"text {i}" for i in range(16)]
        entry_point.documents(texts)
        server.peak_in_flight = 0
        entry_point.documents(texts)
        assert 1 <= server.peak_in_flight < 8
        entry_point.documents([f"text {i}" for i in range(400)])
        entry_point.client.close()
    assert server.peak_in_flight == 8
