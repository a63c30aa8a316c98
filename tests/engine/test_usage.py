"""The usage of a client when threads and event loops add to it at the same moment."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aimlapi_embeddings import emulator
from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode
from tests.support.sockets import SOON

CALLERS, CALLS = 16, 200


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let threads take turns a thousand times more often than usual, so that races are met."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("frequent_switches")
def test_no_usage_is_lost_when_callers_finish_together(mode: Mode, fake_server: FakeServer) -> None:
    client = EntryPoint("core", mode, fake_server).make(OPENAI, dimensions=1).client
    one = client.embed(["a text"]).usage
    together = threading.Barrier(CALLERS, timeout=SOON)

    async def embed_in_tasks() -> None:
        await asyncio.gather(*(client.aembed(["a text"]) for _ in range(CALLS)))

    def work() -> None:
        together.wait()
        if mode == "async":
            asyncio.run(embed_in_tasks())
        else:
            for _ in range(CALLS):
                client.embed(["a text"])

    with ThreadPoolExecutor(CALLERS) as pool:
        for caller in [pool.submit(work) for _ in range(CALLERS)]:
            caller.result()
    calls = 1 + CALLERS * CALLS
    assert len(fake_server.requests) == calls
    assert client.usage.requests == calls
    assert client.usage.prompt_tokens == calls * one.prompt_tokens


def test_the_clients_usage_moves_with_each_reply_during_a_call(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, batch_size=2, max_concurrency=1)
    fake_server, seen = entry_point.fake_server, list[tuple[int, bool]]()

    def answer(request: emulator.Request) -> emulator.Reply:
        usage = entry_point.client.usage
        seen.append((usage.requests, usage.total_tokens > 0))
        return emulator.answer(request)

    fake_server.answer = answer
    entry_point.documents(list("abcde"))
    assert seen == [(0, False), (1, True), (2, True)]
