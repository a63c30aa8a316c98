"""Nothing is lost: each fault of the matrix ends in the right vectors, or in a clear error."""

from __future__ import annotations

import functools
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fault_matrix import MATRIX, RETRIES, TIMEOUT, Row
from surfaces import KEY, OPENAI, Clock, Colour, Surface, SurfaceName, Wire

from aimlapi_embeddings import AIMLAPIError
from aimlapi_embeddings.emulator import Emulator, running

USUAL = {"model": OPENAI, "dimensions": 8, "batch_size": 2, "max_concurrency": 1}


@functools.cache
def right(model: str, texts: int) -> list[list[float]]:
    """The vectors as they are when all goes well."""
    surface = Surface("core", "sync", Wire()).make(model, dimensions=8)
    return surface.documents([f"text {i}" for i in range(texts)])


@contextmanager
def serving(row: Row) -> Iterator[tuple[Emulator, str]]:
    """Misbehave as a row says, or do not listen at all."""
    server = Emulator(faults=row.faults, **(row.server or {}))
    if row.server is None:
        with socket.socket() as bound:  # and so nobody else's, but nobody listens
            bound.bind(("127.0.0.1", 0))
            yield server, f"http://127.0.0.1:{bound.getsockname()[1]}"
    else:
        with running(server) as base_url:
            yield server, base_url


def embed(surface: Surface, row: Row) -> list[list[float]] | AIMLAPIError:
    try:
        return surface.documents([f"text {i}" for i in range(row.texts)])
    except AIMLAPIError as error:
        return error
    finally:
        surface.client.close()


@pytest.mark.parametrize("row", MATRIX, ids=str)
def test_a_fault_ends_in_the_right_vectors_or_in_a_clear_error(
    row: Row, surface_name: SurfaceName, colour: Colour, clock: Clock
) -> None:
    options = {**USUAL, "max_retries": RETRIES, "api_key": KEY, **row.options}
    before, start = clock.now, time.perf_counter()
    with serving(row) as (server, base_url):
        surface = Surface(surface_name, colour, Wire()).make_plain(base_url=base_url, **options)
        outcome = embed(surface, row)
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
        assert outcome.partial.usage == surface.client.usage

    usage = surface.client.usage
    assert (usage.requests, usage.retries) == (row.requests, row.retries)
    assert len(server.requests) == (row.requests if row.arrived is None else row.arrived)
    least, most = row.wait
    assert least <= waited <= most + 1e-9
    ideal = row.timeouts * TIMEOUT
    assert ideal <= elapsed
    assert not ideal or elapsed < 5 * ideal
