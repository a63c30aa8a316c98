"""Concurrency of one call: waves, the bound, progress, and what an error keeps."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from aimlapi_embeddings import BadRequestError
from aimlapi_embeddings.emulator import Emulator, Fault
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode, Package

LATENCY = 0.1


def test_a_call_takes_as_long_as_its_waves_of_requests(package: Package, mode: Mode) -> None:
    with serving(together=4, latency=LATENCY) as (server, base_url):
        entry_point = connected(package, mode, base_url, max_concurrency=4, batch_size=64)
        texts = [f"text {i}" for i in range(1000)]
        start = time.perf_counter()
        assert len(entry_point.documents(texts)) == 1000
        elapsed = time.perf_counter() - start
        entry_point.client.close()
    assert len(server.requests) == 16
    assert server.peak_in_flight == 4
    # Four waves of 0.1 s; one request after the other would take 1.6 s.
    assert 4 * LATENCY <= elapsed < 15 * LATENCY


def test_max_concurrency_bounds_all_calls_of_a_client_together() -> None:
    texts = ["a", "b", "c", "d"]

    async def several() -> None:
        await asyncio.gather(*(client.aembed(texts) for _ in range(2)))

    with serving(together=3, latency=LATENCY) as (server, base_url):
        client = connected("core", "sync", base_url, batch_size=1, max_concurrency=3).client
        callers = [threading.Thread(target=client.embed, args=(texts,)) for _ in range(3)]
        callers.append(threading.Thread(target=asyncio.run, args=(several(),)))
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        client.close()
    assert len(server.requests) == 5 * len(texts)
    assert server.peak_in_flight == 3


def test_progress_is_called_after_each_request_in_the_callers_thread(
    fake_server: FakeServer, mode: Mode
) -> None:
    entry_point = EntryPoint("core", mode, fake_server).make(OPENAI, batch_size=3)
    seen: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        threads.add(threading.get_ident())

    entry_point.documents(["a", "b", "c", "d", "a", "e", "f", "g"], progress=progress)
    assert len(fake_server.requests) == 3
    assert len(seen) == 1 + 3
    assert seen[0] == (0, 8)
    assert [total for _, total in seen] == [8, 8, 8, 8]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (8, 8)
    assert threads == {threading.get_ident()}


def test_an_error_holds_the_finished_vectors_and_their_usage(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=2, max_concurrency=1)
    expected = entry_point.documents(["a", "b"])
    entry_point.fake_server.will(None, Fault(401))
    with pytest.raises(Exception, match="401 Unauthorized") as caught:
        entry_point.documents(["a", "b", "c", "d", "e", "a"])
    partial = caught.value.partial  # type: ignore[attr-defined]
    assert partial.vectors == [*expected, None, None, None, expected[0]]
    assert partial.usage.requests == 2
    assert len(entry_point.fake_server.requests) == 3


def test_a_refused_text_does_not_stop_the_other_texts(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=4, max_concurrency=2)
    texts = [f"text {i}" for i in range(12)]
    answer = entry_point.fake_server.answer

    def refuse_the_seventh(request):  # type: ignore[no-untyped-def]
        if b'"text 7"' in request.body:
            return Emulator().reply(request, Fault(400, body=b'{"message": "cannot read this"}'))
        return answer(request)

    entry_point.fake_server.answer = refuse_the_seventh
    with pytest.raises(BadRequestError, match=r"text 7 of 12, 'text 7'") as caught:
        entry_point.documents(texts)
    assert caught.value.indices == (7,)
    assert caught.value.partial is not None
    missing = [i for i, vector in enumerate(caught.value.partial.vectors) if vector is None]
    assert missing == [7]
