"""A call that is to end while its requests are under way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aimlapi_embeddings.emulator import Emulator, Fault
from tests.support.emulator_server import serving
from tests.support.entry_points import EntryPoint
from tests.support.sockets import SOON, eventually

TEXTS = [str(i) for i in range(24)]
BOUND = 8  # requests under way, one text in each
AT_ONCE = 2.0  # seconds that an end at once may take on a slow machine
LONGER = 0.1  # seconds in which a request that should not be would have come
HANGS = Fault(hang=True)


class InterruptedCall:
    """A server that hangs at first, and what is to happen once requests are under way."""

    def __init__(self, server: Emulator, base_url: str) -> None:
        self.server, self.base_url = server, base_url
        self.happened = 0.0
        self._threads = set(threading.enumerate())
        self._acts: list[threading.Thread] = []

    def when(self, requests: int, act: Callable[[], object]) -> None:
        """Act once so many requests are under way."""

        def wait() -> None:
            self.wait_for(requests)
            self.happened = time.monotonic()
            act()

        self._acts.append(threading.Thread(target=wait))
        self._acts[-1].start()

    def wait_for(self, requests: int) -> None:
        """Wait until so many requests are under way."""
        eventually(lambda: len(self.server.requests) == requests)

    def assert_ended_at_once(self) -> None:
        """Compare the time with that of what was to end the call."""
        ended = time.monotonic()
        for act in self._acts:
            act.join(SOON)
        assert ended - self.happened < AT_ONCE

    def assert_ended(self) -> None:
        """Check that the call ended at once, and that none of its requests arrives afterwards."""
        self.assert_ended_at_once()
        before = len(self.server.requests)
        time.sleep(LONGER)
        assert len(self.server.requests) == before

    def assert_goes_on(self, entry_point: EntryPoint) -> None:
        """Use the object as if nothing had happened."""
        before = len(self.server.requests)
        assert len(entry_point.documents(TEXTS)) == len(TEXTS)
        assert len(self.server.requests) == before + len(TEXTS)
        entry_point.client.close()

    def assert_nothing_is_left(self) -> None:
        """See all threads end, now that the server is gone."""
        eventually(lambda: not set(threading.enumerate()) - self._threads)


@contextmanager
def interrupted_call(*faults: Fault | None, **behaviour: Any) -> Iterator[InterruptedCall]:
    with serving(faults=faults or [HANGS] * BOUND, **behaviour) as (server, base_url):
        interrupted_call = InterruptedCall(server, base_url)
        interrupted_call._threads |= set(threading.enumerate())
        yield interrupted_call
    interrupted_call.assert_nothing_is_left()
