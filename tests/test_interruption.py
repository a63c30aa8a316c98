"""Law 12: Ctrl-C, cancellation and errors end a call at once, and the object goes on."""

from __future__ import annotations

import _thread
import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path
from types import GeneratorType
from typing import Any

import pytest
from sockets import SOON, eventually
from surfaces import Colour, Surface, SurfaceName
from surroundings import connected, program, serving

from aimlapi_embeddings import AIMLAPIError
from aimlapi_embeddings._slots import Slots
from aimlapi_embeddings.emulator import Emulator, Fault

TEXTS = [str(i) for i in range(24)]
BOUND = 8  # requests under way, one text in each
AT_ONCE = 2.0  # seconds that an end at once may take on a slow machine
LONGER = 0.2  # seconds in which a request that should not be would have come
HANGS = Fault(hang=True)

PROGRAM = """
import asyncio, sys
from aimlapi_embeddings import EmbeddingsClient

base_url, how = sys.argv[1:]
client = EmbeddingsClient(
    model="text-embedding-3-small",
    api_key="any",
    base_url=base_url,
    batch_size=1,
    max_concurrency=16,
)
texts = [str(i) for i in range(40)]
try:
    if how == "one":
        client.embed(["one"])
    elif how == "tasks":
        asyncio.run(client.aembed(texts))
    else:
        client.embed(texts)
except KeyboardInterrupt:
    if how != "caught":
        raise
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "requests"), [("threads", 16), ("tasks", 16), ("one", 1), ("caught", 16)]
)
def test_ctrl_c_ends_a_program_whatever_is_under_way(
    tmp_path: Path, how: str, requests: int
) -> None:
    with serving(faults=repeat(HANGS)) as (server, base_url):
        process = program(tmp_path / "program.py", PROGRAM, base_url, how)
        eventually(lambda: len(server.requests) == requests)
        pressed = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SOON)
        assert time.monotonic() - pressed < AT_ONCE
        assert len(server.requests) == requests
    if how == "caught":
        assert (err, process.returncode) == ("", 0), "no thread holds the exit"
    else:
        assert err.endswith("\nKeyboardInterrupt\n")
        assert err.startswith("Traceback")
        assert process.returncode == -signal.SIGINT


class Scene:
    """A server that hangs at first, and what is to happen once requests are under way."""

    def __init__(self, server: Emulator, base_url: str) -> None:
        self.server, self.base_url = server, base_url
        self.happened = 0.0
        self._threads = set(threading.enumerate())
        self._acts: list[threading.Thread] = []

    def when(self, requests: int, act: Callable[[], object]) -> None:
        """Act once so many requests are under way."""

        def wait() -> None:
            eventually(lambda: len(self.server.requests) == requests)
            self.happened = time.monotonic()
            act()

        self._acts.append(threading.Thread(target=wait))
        self._acts[-1].start()

    def assert_ended(self) -> None:
        """See that the call has ended at once, and that it starts no request any more."""
        assert time.monotonic() - self.happened < AT_ONCE
        before = len(self.server.requests)
        time.sleep(LONGER)
        assert len(self.server.requests) == before

    def assert_goes_on(self, surface: Surface) -> None:
        """Use the object as if nothing had happened."""
        before = len(self.server.requests)
        assert len(surface.documents(TEXTS)) == len(TEXTS)
        assert len(self.server.requests) == before + len(TEXTS)
        surface.client.close()

    def assert_nothing_is_left(self) -> None:
        """See all threads end and all flows closed, now that the server is gone."""
        for act in self._acts:
            act.join(SOON)
        eventually(lambda: not set(threading.enumerate()) - self._threads)
        flows = (each for each in gc.get_objects() if isinstance(each, GeneratorType))
        assert not [
            flow for flow in flows if flow.gi_code.co_name == "embed_batch" and flow.gi_suspended
        ]


@contextmanager
def scene(*faults: Fault | None, **behaviour: Any) -> Iterator[Scene]:
    with serving(faults=faults or [HANGS] * BOUND, **behaviour) as (server, base_url):
        scene = Scene(server, base_url)
        scene._threads |= set(threading.enumerate())
        yield scene
    scene.assert_nothing_is_left()


# Ctrl-C in this process


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("press", "requests"), [(ctrl_c, BOUND), (ctrl_c, 1), (_thread.interrupt_main, BOUND)]
)
def test_an_object_goes_on_after_ctrl_c(
    surface_name: SurfaceName, press: Callable[[], None], requests: int
) -> None:
    """On Windows Ctrl-C is like `interrupt_main`: it does not end a wait that has begun."""
    with scene(*[HANGS] * requests) as it:
        surface = connected(surface_name, "sync", it.base_url, batch_size=1)
        it.when(requests, press)
        with pytest.raises(KeyboardInterrupt):
            surface.documents(TEXTS if requests > 1 else ["a"])
        it.assert_ended()
        it.assert_goes_on(surface)


def test_a_wait_for_a_retry_ends_by_ctrl_c(surface_name: SurfaceName) -> None:
    with scene(Fault(429, retry_after="30")) as it:
        surface = connected(surface_name, "sync", it.base_url, batch_size=1)
        it.when(1, lambda: (time.sleep(LONGER), _thread.interrupt_main()))
        with pytest.raises(KeyboardInterrupt):
            surface.query("q")
        it.assert_ended()
        assert surface.client._runtime.gate.remaining() > 20, "the server's word still holds"
        surface.client.close()


class Alarm(Exception):
    """What the handler of a signal raises."""


def test_an_object_goes_on_after_an_alarm(surface_name: SurfaceName) -> None:
    def ring(*_: object) -> None:
        raise Alarm

    usual = signal.signal(signal.SIGALRM, ring)
    try:
        with scene() as it:
            surface = connected(surface_name, "sync", it.base_url, batch_size=1)
            it.when(BOUND, lambda: os.kill(os.getpid(), signal.SIGALRM))
            with pytest.raises(Alarm):
                surface.documents(TEXTS)
            it.assert_ended()
            it.assert_goes_on(surface)
    finally:
        signal.signal(signal.SIGALRM, usual)


# Cancellation


def embedding(surface: Surface, texts: list[str]) -> Awaitable[Any]:
    """Embed in the running loop."""
    embedder = surface.embedder
    for name in ("aget_text_embedding_batch", "aembed_documents"):
        if hasattr(embedder, name):
            return getattr(embedder, name)(texts)  # type: ignore[no-any-return]
    return embedder.aembed(texts)  # type: ignore[no-any-return]


async def cancelled(it: Scene, surface: Surface, requests: int) -> None:
    task = asyncio.ensure_future(embedding(surface, TEXTS[:requests]))
    await asyncio.to_thread(eventually, lambda: len(it.server.requests) == requests)
    it.happened = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def out_of_time(it: Scene, surface: Surface, requests: int) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            loop = asyncio.get_running_loop()
            it.when(requests, lambda: loop.call_soon_threadsafe(timeout.reschedule, 0))
            await embedding(surface, TEXTS[:requests])


@pytest.mark.parametrize("end", [cancelled, out_of_time])
@pytest.mark.parametrize("requests", [BOUND, 1])
def test_cancellation_ends_a_call_at_once_and_the_object_goes_on(
    surface_name: SurfaceName,
    end: Callable[[Scene, Surface, int], Awaitable[None]],
    requests: int,
) -> None:
    async def use() -> None:
        surface = connected(surface_name, "async", it.base_url, batch_size=1)
        await end(it, surface, requests)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.to_thread(it.assert_ended)
        before = len(it.server.requests)
        await embedding(surface, TEXTS)
        assert len(it.server.requests) == before + len(TEXTS)

    with scene(*[HANGS] * requests) as it:
        asyncio.run(use())


def test_a_task_that_is_thrown_away_gives_its_turn_to_the_next() -> None:
    async def use() -> None:
        slots = Slots(1)
        await slots.acquire_async()
        waiting = slots.acquire_async()
        waiting.send(None)
        waiting.close()
        next_one = asyncio.ensure_future(slots.acquire_async())
        await asyncio.sleep(0)
        slots.release()
        await asyncio.wait_for(next_one, SOON)

    asyncio.run(use())


# Errors


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_everything(
    surface_name: SurfaceName, colour: Colour, status: int
) -> None:
    others = [HANGS] * (BOUND - 1)
    with scene(None, None, *others, Fault(status)) as it:
        surface = connected(surface_name, colour, it.base_url, batch_size=1)
        it.when(2 + BOUND, lambda: None)
        with pytest.raises(AIMLAPIError, match=f"{status} ") as caught:
            surface.documents(TEXTS)
        it.assert_ended()
        assert len(it.server.requests) == 2 + BOUND
        assert caught.value.partial is not None
        assert sum(vector is not None for vector in caught.value.partial.vectors) == 2
        surface.client.close()


def test_a_refused_key_stops_the_threads_while_the_caller_is_busy() -> None:
    """The progress callback runs in the caller's thread, which learns of the error afterwards."""
    with scene(None, Fault(401, delay=0.1), *[Fault(delay=0.3)] * 2) as it:
        surface = connected("core", "sync", it.base_url, batch_size=1, max_concurrency=4)

        def busy(done: int, _: int) -> None:
            if done:
                time.sleep(1)

        with pytest.raises(AIMLAPIError, match="401"):
            surface.documents(TEXTS, progress=busy)
        # Four at first, and those that followed on the first one in its tenth of a second.
        assert len(it.server.requests) < len(TEXTS)
        surface.client.close()


def test_an_exception_of_the_progress_callback_ends_the_call_and_the_object_goes_on(
    colour: Colour,
) -> None:
    def stop(done: int, _: int) -> None:
        if done:
            raise LookupError("enough")

    with scene(None, *[HANGS] * BOUND) as it:
        surface = connected("core", colour, it.base_url, batch_size=1)
        it.when(BOUND, lambda: None)
        with pytest.raises(LookupError, match="enough"):
            surface.documents(TEXTS, progress=stop)
        it.assert_ended()
        assert len(it.server.requests) <= 1 + BOUND
        it.server._faults = iter(())
        it.assert_goes_on(surface)


class Limiter:
    """Counts how often it is asked."""

    asked = 0

    def acquire(self) -> None:
        self.asked += 1

    async def aacquire(self) -> None:
        self.asked += 1


def test_a_call_that_has_ended_asks_no_limiter_any_more() -> None:
    limiter = Limiter()
    with scene(*[Fault(500, delay=0.5)] * BOUND) as it:
        surface = connected("core", "sync", it.base_url, batch_size=1, rate_limiter=limiter)
        it.when(BOUND, ctrl_c)
        with suppress(KeyboardInterrupt):
            surface.documents(TEXTS)
        it.assert_ended()
        surface.client.close()
    assert limiter.asked == BOUND
