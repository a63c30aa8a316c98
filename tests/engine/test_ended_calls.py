"""Laws 8 and 12: an error that ends a call ends all of it, at once, and the object goes on."""

from __future__ import annotations

import gc
import os
import signal
import time
from contextlib import suppress
from types import GeneratorType
from typing import Any

import pytest

from aimlapi_embeddings import AIMLAPIError
from aimlapi_embeddings.emulator import Fault
from tests.support.emulator_server import connected
from tests.support.entry_points import Mode, Package
from tests.support.interrupted_call import BOUND, HANGS, LONGER, TEXTS, interrupted_call


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_everything(package: Package, mode: Mode, status: int) -> None:
    others = [HANGS] * (BOUND - 1)
    with interrupted_call(None, None, *others, Fault(status)) as it:
        entry_point = connected(package, mode, it.base_url, batch_size=1)
        it.when(2 + BOUND, lambda: None)
        with pytest.raises(AIMLAPIError, match=f"{status} ") as caught:
            entry_point.documents(TEXTS)
        it.assert_ended()
        assert len(it.server.requests) == 2 + BOUND
        assert caught.value.partial is not None
        assert sum(vector is not None for vector in caught.value.partial.vectors) == 2
        entry_point.client.close()


def test_a_refused_key_stops_the_threads_while_the_caller_is_busy() -> None:
    """The progress callback runs in the caller's thread, which learns of the error afterwards."""
    texts = [str(i) for i in range(60)]
    with interrupted_call(None, Fault(401), latency=0.1) as it:
        entry_point = connected("core", "sync", it.base_url, batch_size=1, max_concurrency=4)
        busy = iter([1.5])

        def progress(done: int, _: int) -> None:
            if done:
                time.sleep(next(busy, 0))

        with pytest.raises(AIMLAPIError, match="401"):
            entry_point.documents(texts, progress=progress)
        assert len(it.server.requests) <= 8, "each of the four threads ends after its next reply"
        entry_point.client.close()


def test_an_exception_of_the_progress_callback_ends_the_call_at_once(mode: Mode) -> None:
    def stop(done: int, _: int) -> None:
        if done:
            it.happened = time.monotonic()
            raise LookupError("enough")

    with interrupted_call(Fault(delay=0.5), judge=lambda _: HANGS) as it:
        entry_point = connected("core", mode, it.base_url, batch_size=1)
        with pytest.raises(LookupError, match="enough"):
            entry_point.documents(TEXTS, progress=stop)
        it.assert_ended_at_once()
        time.sleep(LONGER)
        # The slot of the request that was answered may have been taken before the callback ran.
        assert BOUND <= len(it.server.requests) <= BOUND + 1
        it.server.judge = None
        it.assert_goes_on(entry_point)


def suspended_flows() -> list[GeneratorType[Any, Any, Any]]:
    flows = (each for each in gc.get_objects() if isinstance(each, GeneratorType))
    return [flow for flow in flows if flow.gi_code.co_name == "embed_batch" and flow.gi_suspended]


def test_no_flow_is_left_open(mode: Mode) -> None:
    with interrupted_call(*[HANGS] * (BOUND - 1), Fault(401)) as it:
        entry_point = connected("core", mode, it.base_url, batch_size=1)
        it.when(BOUND, lambda: None)
        with pytest.raises(AIMLAPIError, match="401"):
            entry_point.documents(TEXTS)
        entry_point.client.close()
        it.assert_ended()
        assert mode == "async" or suspended_flows(), "threads still wait for replies"
    assert not suspended_flows()


class Limiter:
    """Counts how often it is asked."""

    asked = 0

    def acquire(self) -> None:
        self.asked += 1

    async def aacquire(self) -> None:
        self.asked += 1


def test_a_call_that_has_ended_asks_no_limiter_any_more() -> None:
    limiter = Limiter()
    with interrupted_call(*[Fault(500, delay=0.5)] * BOUND) as it:
        entry_point = connected("core", "sync", it.base_url, batch_size=1, rate_limiter=limiter)
        it.when(BOUND, lambda: os.kill(os.getpid(), signal.SIGINT))
        with suppress(KeyboardInterrupt):
            entry_point.documents(TEXTS)
        it.assert_ended()
        entry_point.client.close()
    assert limiter.asked == BOUND
