"""An error that ends a call ends all its requests at once, and the object stays usable."""

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


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_all_requests_of_the_call(
    package: Package, mode: Mode, status: int
) -> None:
    others = [HANGS] * (BOUND - 1)
    with interrupted_call(None, None, *others, Fault(status)) as interrupted:
        entry_point = connected(package, mode, interrupted.base_url, batch_size=1)
        interrupted.when(2 + BOUND, lambda: None)
        with pytest.raises(AIMLAPIError, match=f"{status} ") as caught:
            entry_point.documents(TEXTS)
        interrupted.assert_ended()
        assert len(interrupted.server.requests) == 2 + BOUND
        assert caught.value.partial is not None
        assert sum(vector is not None for vector in caught.value.partial.vectors) == 2
        entry_point.client.close()


def test_a_refused_key_stops_the_threads_while_the_progress_callback_runs() -> None:
    """The callback runs in the caller's thread, which sees the error only afterwards."""
    texts = [str(i) for i in range(60)]
    with interrupted_call(None, Fault(401), latency=0.1) as interrupted:
        entry_point = connected(
            "core", "sync", interrupted.base_url, batch_size=1, max_concurrency=4
        )
        busy = iter([1.5])

        def progress(done: int, _: int) -> None:
            if done:
                time.sleep(next(busy, 0))

        with pytest.raises(AIMLAPIError, match="401"):
            entry_point.documents(texts, progress=progress)
        assert len(interrupted.server.requests) <= 8, (
            "each of the four threads ends after its next reply"
        )
        entry_point.client.close()


@pytest.mark.slow
def test_an_exception_of_the_progress_callback_ends_the_call_at_once(mode: Mode) -> None:
    def stop(done: int, _: int) -> None:
        if done:
            interrupted.happened = time.monotonic()
            raise LookupError("enough")

    with interrupted_call(Fault(delay=0.5), judge=lambda _: Fault(delay=1.5)) as interrupted:
        entry_point = connected("core", mode, interrupted.base_url, batch_size=1)
        with pytest.raises(LookupError, match="enough"):
            entry_point.documents(TEXTS, progress=stop)
        interrupted.assert_ended_at_once()
        time.sleep(LONGER)
        # The slot of the request that was answered may have been taken before the callback ran.
        assert BOUND <= len(interrupted.server.requests) <= BOUND + 1
        interrupted.server.judge = None
        interrupted.assert_goes_on(entry_point)


def suspended_flows() -> list[GeneratorType[Any, Any, Any]]:
    flows = (each for each in gc.get_objects() if isinstance(each, GeneratorType))
    return [flow for flow in flows if flow.gi_code.co_name == "embed_part" and flow.gi_suspended]


@pytest.mark.slow
def test_every_flow_of_an_ended_call_is_closed(mode: Mode) -> None:
    # Tasks of earlier tests whose event loop was closed under them: anyio keeps these for ever.
    earlier = suspended_flows()

    def own_flows() -> list[GeneratorType[Any, Any, Any]]:
        return [flow for flow in suspended_flows() if not any(flow is each for each in earlier)]

    with interrupted_call(*[HANGS] * (BOUND - 1), Fault(401)) as interrupted:
        entry_point = connected("core", mode, interrupted.base_url, batch_size=1)
        interrupted.when(BOUND, lambda: None)
        with pytest.raises(AIMLAPIError, match="401"):
            entry_point.documents(TEXTS)
        entry_point.client.close()
        interrupted.assert_ended()
        assert mode == "async" or own_flows(), "threads still wait for replies"
    assert not own_flows()


class Limiter:
    """A rate limiter that counts how often it is asked."""

    asked = 0

    def acquire(self) -> None:
        self.asked += 1

    async def aacquire(self) -> None:
        self.asked += 1


def test_an_ended_call_does_not_ask_the_rate_limiter() -> None:
    limiter = Limiter()
    with interrupted_call(*[Fault(500, delay=0.5)] * BOUND) as interrupted:
        entry_point = connected(
            "core", "sync", interrupted.base_url, batch_size=1, rate_limiter=limiter
        )
        interrupted.when(BOUND, lambda: os.kill(os.getpid(), signal.SIGINT))
        with suppress(KeyboardInterrupt):
            entry_point.documents(TEXTS)
        interrupted.assert_ended()
        entry_point.client.close()
    assert limiter.asked == BOUND
