"""One attempt to send a request: how far it has come, and how it is broken off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from aimlapi_embeddings._errors import APIConnectionError
from aimlapi_embeddings._wake_up import ThreadWaiter

# Seconds that a watchdog waits for further attempts before its thread ends.
_LINGER = 5.0


class CallEnded(Exception):
    """The call of this attempt has ended; its request was not sent."""


class IdleConnectionClosed(APIConnectionError):
    """The server had closed an idle connection; a new one may be tried at once."""


class TooSlowError(TimeoutError):
    """The attempt as a whole took too long, though each piece of its reply came in time."""


class _Breakable(Protocol):
    def shut_down(self) -> None: ...


class Attempt:
    """How far a request has come.

    Args:
        is_over: Whether the call has ended, so that nothing of it may be sent any more.
        request_id: What the request is called by us; its repeats have the same.

    Attributes:
        reused: Whether it goes over a connection that was idle; else one is opened for it.
        sent: Whether sending has begun: without it the server has no whole request.
        answered: Whether a reply has begun: its status and headers are read.
        expired: Whether it was broken off because it took too long as a whole.
        broken_off: Whether its connection was broken from here, for whatever reason.
        deadline: A moment of `time.monotonic` at which it is broken off.
    """

    def __init__(
        self, is_over: Callable[[], bool] | None = None, request_id: str | None = None
    ) -> None:
        self.request_id = request_id
        self.reused = False
        self.sent = False
        self.answered = False
        self.expired = False
        self.broken_off = False
        self.deadline = float("inf")
        self._is_over = is_over
        self._connection: _Breakable | None = None

    def use(self, connection: _Breakable) -> None:
        """Note which connection carries it."""
        self._connection = connection

    def check_call(self) -> None:
        """Raise when nothing may be sent any more.

        Raises:
            CallEnded: The call ended while the connection was opened.
        """
        if self._is_over is not None and self._is_over():
            raise CallEnded

    def begin(self) -> None:
        """Note that sending begins; raises like `check_call`."""
        self.check_call()
        self.sent = True

    def check_time(self) -> None:
        """Raise when it has taken too long as a whole.

        Raises:
            TooSlowError: The deadline has passed.
        """
        if time.monotonic() > self.deadline:
            raise TooSlowError("the reply as a whole took too long")

    def shut_down(self) -> None:
        """Break its connection, from any thread; whoever waits for the reply gets an error."""
        self.broken_off = True
        if self._connection is not None:
            self._connection.shut_down()


class Watchdog:
    """Breaks attempts of threads that take too long as a whole.

    A thread that waits for the first bytes of a reply cannot look at the time by itself: a server
    that sends one byte now and then keeps it waiting for ever. So one daemon thread looks for all
    attempts of a client; it ends when there have been none for some seconds.

    Args:
        at_end: Called by the thread when it ends for that reason.
    """

    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        self._at_end = at_end
        self._attempts: dict[Attempt, None] = {}
        self._wake = ThreadWaiter()  # closed by a finalizer
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._idle = False  # nothing was watched when the thread looked last
        self._closed = False

    def watch(self, attempt: Attempt, seconds: float) -> None:
        """Break an attempt after so many seconds, unless it is `forgotten` before."""
        attempt.deadline = time.monotonic() + seconds
        self._attempts[attempt] = None
        with self._starting:  # else several callers at once would start a thread each
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="aimlapi-embeddings-watchdog", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:  # no thread can be started: replies are read unwatched
                    self._thread = None
        if self._idle:
            self._wake.wake()

    def forget(self, attempt: Attempt) -> None:
        """Leave an attempt alone; it has ended."""
        self._attempts.pop(attempt, None)
        if self._closed:
            self._wake.wake()

    def close(self) -> None:
        """End the thread as soon as nothing is watched any more."""
        self._closed = True
        self._wake.wake()

    def _run(self) -> None:
        while True:
            self._wake.reset()
            self._idle = True  # before the look, so that whoever comes after it wakes this thread
            now = time.monotonic()
            attempts = list(self._attempts)
            for attempt in attempts:
                if attempt.deadline <= now:
                    attempt.expired = True
                    attempt.shut_down()
                    self.forget(attempt)
            soonest = min((each.deadline for each in attempts if each.deadline > now), default=None)
            if soonest is not None:
                self._idle = False
                self._wake.wait(min(soonest - now, _LINGER))
            elif self._closed or not self._wake.wait(_LINGER):
                self._at_end()
                self._thread = None
                if not self._attempts:  # else one came in between, and saw a thread that was alive
                    return
