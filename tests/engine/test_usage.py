"""The usage of a client when threads and event loops add to it at the same moment."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aimlapi_embeddings import ReplyError, Usage, emulator
from tests.support.entry_points import OPENAI, Clock, EntryPoint, FakeServer, Mode
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


def _with_zeros(body: dict[str, Any]) -> None:
    body["data"][1]["embedding"] = [0.0] * 4


SPOILED: dict[str, Callable[[dict[str, Any]], object]] = {
    "one vector too few": lambda body: body["data"].pop(),
    "null": lambda body: body["data"][1].update(embedding=None),
    "zeros": _with_zeros,
    "no vectors": lambda body: body.pop("data"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_what_a_bad_reply_cost_is_counted_as_it_tells(
    entry_point: EntryPoint, clock: Clock, kind: str
) -> None:
    entry_point.make(OPENAI, dimensions=4, batch_size=2, max_concurrency=1, encoding_format="float")
    fake_server = entry_point.fake_server
    fake_server.answer = emulator.answer
    entry_point.documents(["a", "b"])
    good = entry_point.client.usage

    def answer(request: emulator.Request) -> emulator.Reply:
        reply = emulator.answer(request)
        body = json.loads(reply.body)
        SPOILED[kind](body)
        return reply._replace(body=json.dumps(body).encode())

    fake_server.answer = answer
    with pytest.raises(ReplyError) as caught:
        entry_point.documents(["a", "b"])
    assert good.total_tokens > 0
    assert good.usd_spent > 0
    assert entry_point.client.usage == good + good
    assert caught.value.partial is not None
    assert caught.value.partial.usage == good


def test_a_bad_reply_without_a_cost_is_counted_as_a_request(
    entry_point: EntryPoint,
) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.answer = lambda _: emulator.Reply(200, {}, b"<html>no</html>")
    with pytest.raises(ReplyError):
        entry_point.documents(["a"])
    assert entry_point.client.usage == Usage(requests=1)
