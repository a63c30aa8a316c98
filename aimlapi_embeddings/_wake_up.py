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


class Flag:
    """Is set once, and wakes all threads that wait for it. A finalizer may set it.

    Made of one lock and not of an Event, for the reason above.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def is_set(self) -> bool:
        """Tell whether it was set."""
        return self._is_set

    def set(self) -> None:
        """Wake everybody, now and later."""
        self._is_set = True
        self._open()

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, this many seconds at most; tell whether it is."""
        if not self._is_set and self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            self._open()  # for the next thread that waits
        return self._is_set

    def _open(self) -> None:
        with suppress(RuntimeError):  # it is open already
            self._lock.release()
