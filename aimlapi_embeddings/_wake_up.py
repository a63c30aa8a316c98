"""Wake-ups that may be sent from anywhere, by a finalizer too."""

from __future__ import annotations

import threading
from contextlib import suppress


class ThreadWaiter:
    """Waits in a thread.

    Made of one lock and not of an Event: the collector may run a finalizer at any moment, also in a
    thread that holds the Event's own lock, and setting the Event there would wait for ever.
    """

    def __init__(self) -> None:
        self.woken = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def reset(self) -> None:
        """Forget earlier wake-ups."""
        self.woken = False
        self._lock.acquire(blocking=False)

    def wake(self) -> None:
        """End the wait, or the next one."""
        self.woken = True
        with suppress(RuntimeError):  # woken already
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait for a wake-up, this many seconds at most; tell whether there was one."""
        return self._lock.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
