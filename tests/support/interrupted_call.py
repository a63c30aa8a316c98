"""A call that is interrupted while its requests are in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aimlapi_embeddings.emulator import Emulator, Fault
from tests.support.emulator_server import serving
from tests.support.entry_points import EntryPoint
from tests.support.sockets import AT_ONCE, SOON, eventually

TEXTS = [str(i) for i in range(24)]
BOUND = 8  # requests in flight, with one text each
LONGER = 0.1  # seconds within which a request that must not be sent would have arrived
HANGS = Fault(hang=True)


class InterruptedCall:
    """A server that does not answer at first, and what happens once requests are in flight."""

    def __init__(self, server: Emulator, base_url: str) -> None:
        self.server, self.base_url = server, base_url
        self.happened = 0.0
        self._threads = set(threading.enumerate())
        self._acts: list[threading.Thread] = []

    def when(self, requests: int, act: Callable[[], object]) -> None:
        """Call `act` in a thread once this many requests are in flight."""

        def wait() -> None:
            self.wait_for(requests)
            self.happened = time.monotonic()
            act()

        self._acts.append(threading.Thread(target=wait))
        self._acts[-1].start()

    def wait_for(self, requests: int) -> None:
        """Wait until the server has received this many requests."""
        eventually(lambda: len(self.server.requests) == requests)

    def assert_ended_at_once(self) -> None:
        """Check that the call ended soon after the interruption."""
        ended = time.monotonic()
        for act in self._acts:
            act.join(SOON)
        assert ended - self.happened < AT_ONCE

    def assert_ended(self) -> None:
        """Check that the call ended soon, and that no request arrives afterwards."""
        self.assert_ended_at_once()
        before = len(self.server.requests)
        time.sleep(LONGER)
        assert len(self.server.requests) == before

    def assert_goes_on(self, entry_point: EntryPoint) -> None:
        """Check that the object still embeds: one request for each text."""
        before = len(self.server.requests)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        assert len(self.server.requests) == before + len(TEXTS)
        entry_point.client.close()

    def assert_nothing_is_left(self) -> None:
        """Check that all threads end once the server is stopped."""
        eventually(lambda: not set(threading.enumerate()) - self._threads)


@contextmanager
def interrupted_call(*faults: Fault | None, **behaviour: Any) -> Iterator[InterruptedCall]:
    """Serve with these faults, else let the first requests hang; check at the end for threads."""
    with serving(faults=faults or [HANGS] * BOUND, **behaviour) as (server, base_url):
        call = InterruptedCall(server, base_url)
        yield call
    call.assert_nothing_is_left()
