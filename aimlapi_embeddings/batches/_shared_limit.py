"""Requests per minute that all processes of one machine share, through one small file.

The file holds the time at which the next request may leave. A request locks it for some
microseconds, takes that time for itself, and moves it on by the distance of two requests. So the
requests of all processes leave evenly spaced, and a process that dies takes nothing with it but the
times that it had taken.

Times are those of the machine's monotonic clock, which begins anew with the machine. So the file
holds when it began, too, and a time of an earlier start counts for nothing.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from numbers import Real
from threading import Event

from aimlapi_embeddings._engine.waiting import Clock
from aimlapi_embeddings._errors import ConfigurationError

# The next free time, and the wall clock's time at which the monotonic clock began.
_STATE = struct.Struct("<dd")
# Seconds by which that may change while the machine runs, since its wall clock is corrected.
_SAME_START = 10.0
_FARTHEST = 3600.0  # seconds; what is farther ahead is no queue
# Seconds that a process may hold the lock, which takes microseconds unless it was stopped.
_LONGEST_HOLD = 30.0
_TRY_AGAIN = 0.001  # seconds


class SharedLimit:
    """A rate limiter for all processes of one machine; give it to `rate_limiter=` of a client.

    It belongs to POSIX systems and to a local disk. Waits end: none is longer than an hour.

    Args:
        path: A file that all of them name. It is created, and holds 16 bytes.
        requests_per_minute: For all of them together.

    Raises:
        ConfigurationError: The figure is not positive, the system has no file locks of this kind,
            or no file is named, or it cannot be opened.

    Example:
        >>> limit = SharedLimit("/run/embeddings.limit", 1_800)  # doctest: +SKIP
        >>> EmbeddingsClient(model="voyage-2", rate_limiter=limit)  # doctest: +SKIP
    """

    _clock = Clock()

    def __init__(self, path: str | os.PathLike[str], requests_per_minute: float) -> None:
        self._path = absolute(path)
        self._distance = 60.0 / check_rate("requests_per_minute", requests_per_minute)
        try:
            import fcntl  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "a shared limit needs the file locks of POSIX, which this system does not have; "
                "divide requests_per_minute among the processes instead."
            ) from error
        try:
            file = self._open()
            try:
                if _lock(file):  # a file system without locks is met here, and not by a request
                    _unlock(file)
            finally:
                os.close(file)
        except OSError as error:
            raise ConfigurationError(
                f"the shared limit cannot open and lock {self._path!r}: {error}. Name a file on a "
                "local disk."
            ) from error

    def acquire(self) -> None:
        """Wait in this thread until one more request may leave.

        Raises:
            TimeoutError: Another process has held the file for half a minute: it was stopped.
        """
        for seconds in self._waits():
            self._clock.sleep(seconds, Event())

    async def aacquire(self) -> None:
        """Wait in this task until one more request may leave; see `acquire`."""
        for seconds in self._waits():
            await self._clock.sleep_async(seconds)

    def _waits(self) -> Iterator[float]:
        """Yield the seconds to wait: for the file, then for the time that was taken from it."""
        file, gives_up = self._open(), self._clock.monotonic() + _LONGEST_HOLD
        try:
            while not _lock(file):
                if self._clock.monotonic() > gives_up:
                    raise TimeoutError(
                        f"{self._path} has been locked by another process for "
                        f"{_LONGEST_HOLD:.0f} s, which takes microseconds unless it was stopped."
                    )
                yield _TRY_AGAIN
            try:
                seconds = self._take(file)
            finally:
                _unlock(file)
        finally:
            os.close(file)
        if seconds > 0:
            yield seconds

    def _take(self, file: int) -> float:
        """Take the next free time; return the seconds until then."""
        now = self._clock.monotonic()
        began, stored = self._clock.time() - now, os.pread(file, _STATE.size, 0)
        free = now
        if len(stored) == _STATE.size:
            found, found_began = _STATE.unpack(stored)
            if abs(found_began - began) <= _SAME_START and found - now <= _FARTHEST:
                free = max(now, found)
        os.pwrite(file, _STATE.pack(free + self._distance, began), 0)
        return free - now

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(file: int) -> bool:
    """Lock a file, unless another open of it is locked; never wait."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: int) -> None:
    """Unlock a file. Closing it would not do: a process forked meanwhile has it open, too."""
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the path that names the same file in processes that work in other folders."""
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigurationError(f"shared_limit={path!r} does not name a file.")
    return os.path.abspath(os.path.expanduser(path))


def check_rate(what: str, value: object) -> float:
    """Return value when it is a positive, finite number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:  # type: ignore[operator]
        raise ConfigurationError(f"{what}={value!r} is not a positive number.")
    return float(value)  # type: ignore[arg-type]
