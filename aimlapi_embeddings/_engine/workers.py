"""The threads of a client: one pool for all sync calls of several requests.

They are daemons and are never joined, so that Ctrl-C ends the program at once instead of after the
slowest request. They are started as they are needed, and end when they have been idle for some
seconds. A job that is not finished goes to the end of the queue, so calls take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeAlias

_LINGER = 5.0  # seconds

Job: TypeAlias = Callable[[], bool]
"""Does a piece of work and tells whether there may be more of it. Raises nothing."""


class Workers:
    """At most so many daemon threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._idle = 0
        self._queued = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, job: Job) -> bool:
        """Have a job done.

        Returns:
            Whether there is a thread to do it; else nothing was submitted.
        """
        with self._lock:
            if self._threads < self._most and self._idle <= self._queued:
                thread = threading.Thread(
                    target=self._work, name="aimlapi-embeddings-worker", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system allows no more threads
                    if self._threads == 0:
                        return False
                else:
                    self._threads += 1
                    self._idle += 1
            self._queued += 1
            self._jobs.put(job)
            return True

    def close(self) -> None:
        """End idle threads now, and the others when they are idle. The pool can be used again.

        Takes no lock: a finalizer may call it, in a thread that holds it.
        """
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_LINGER)
            except Empty:
                job = None
            with self._lock:
                if job is None:
                    if self._queued:  # one came in between
                        continue
                    self._idle -= 1
                    self._threads -= 1
                    return
                self._idle -= 1
                self._queued -= 1
            unfinished = job()
            with self._lock:
                self._idle += 1
                self._queued += unfinished
            if unfinished:
                self._jobs.put(job)
            del job  # an idle thread keeps nothing of a call
