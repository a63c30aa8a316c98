"""The steps that a flow asks for. A driver performs each one, in a thread or in a task.

A flow is a generator without I/O. It yields these values, so that the same lines serve both modes
and a test can drive them by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from aimlapi_embeddings._types import Row, Served, Usage

if TYPE_CHECKING:
    import asyncio


class Waiter(Protocol):
    """One place to wait for a wake-up, in a thread or in a task."""

    @property
    def woken(self) -> bool:
        """Whether a wake-up came since the last `reset`."""

    def reset(self) -> None:
        """Forget earlier wake-ups."""

    def wait(self, seconds: float) -> Any:
        """Wait for a wake-up, this many seconds at most; to be awaited in a task."""

    def wake(self) -> None:
        """End the wait, or the next one. May be called from any thread, and by a finalizer."""


class Caller(Protocol):
    """Who waits for permission to send."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that awaits the reply; None where a thread waits."""

    @property
    def blocked(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that cannot run while this thread waits, or None."""

    def waiter(self) -> Waiter:
        """Make a place to wait."""


class Ask(msgspec.Struct, frozen=True):
    """Ask the user's rate limiter for one request of so many tokens."""

    tokens: int


class Wait(msgspec.Struct, frozen=True):
    """Wait for a wake-up, this many seconds at most."""

    waiter: Waiter
    seconds: float


class Sleep(msgspec.Struct, frozen=True):
    """Wait this many seconds."""

    seconds: float


class Send(msgspec.Struct):
    """Send this body. The flow is sent the reply, or an APIConnectionError is thrown into it.

    Attributes:
        body: JSON.
        request_id: What the request is called by us; its repeats have the same.
        sent: Whether sending has begun. The driver says so when it closes the flow instead, because
            the call was interrupted.
    """

    body: bytes
    request_id: str
    sent: bool = True


class Run(msgspec.Struct, frozen=True):
    """Call a function that may block, in a thread; also when the call has ended meanwhile."""

    function: Callable[[], object]


class Deliver(msgspec.Struct, frozen=True):
    """Hand over what a request brought: n places and their n vectors (none after a failure).

    Attributes:
        usage: What the request cost.
        indices: Places in the caller's list.
        rows: Their vectors.
        served: Who answered.
        request_id: The server's.
    """

    usage: Usage
    indices: Sequence[int] = ()
    rows: Sequence[Row] = ()
    served: Served = Served()
    request_id: str | None = None


Step: TypeAlias = Ask | Wait | Sleep | Send | Run | Deliver
Flow: TypeAlias = Generator[Step, Any, None]
