"""Requests that wait for leave to be sent, driven by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aimlapi_embeddings._engine.pacing import Lane, Pacer, Permit
from aimlapi_embeddings._engine.steps import Ask, Sleep, Wait


class Waiter:
    """A place to wait whose wake-ups are only noted."""

    def __init__(self) -> None:
        self.woken = False

    def reset(self) -> None:
        self.woken = False

    def wake(self) -> None:
        self.woken = True

    def wait(self, seconds: float) -> None:
        raise AssertionError("the tests decide how a wait ends")


class Loop:
    """Stands for an event loop: it answers at once, or never until it is told to."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent, self.closed = silent, False
        self.asked = 0
        self._calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def is_closed(self) -> bool:
        return self.closed

    def call_soon_threadsafe(self, call: Callable[..., Any], *arguments: Any) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.asked += 1
        self._calls.append((call, arguments))
        if not self.silent:
            self.run()

    def run(self) -> None:
        """Make the calls that were asked for."""
        for call, arguments in self._calls:
            call(*arguments)
        self._calls.clear()


class Request:
    """One request that wants leave.

    Args:
        pacer: Who gives it.
        lane: Of its call.
        tokens: That it asks the rate limiter for.
        loop: The event loop that will await its reply; None for a thread.
        blocked: The event loop that cannot run while this thread waits.

    Attributes:
        step: What it waits for now; None when it has a permit.
        permit: What it got.
        waiters: Places to wait that it made.
    """

    def __init__(
        self,
        pacer: Pacer,
        lane: Lane = Lane.BULK,
        *,
        tokens: int = 1,
        loop: Any = None,
        blocked: Any = None,
    ) -> None:
        self.pacer, self.loop, self.blocked = pacer, loop, blocked
        self.waiters: list[Waiter] = []
        self.permit: Permit | None = None
        self.step: Ask | Sleep | Wait | None = None
        self._steps = pacer.acquire(lane, tokens, self)
        self._go_on()

    def waiter(self) -> Waiter:
        self.waiters.append(Waiter())
        return self.waiters[-1]

    @property
    def woken(self) -> bool:
        """Whether somebody has woken it."""
        return self.waiters[-1].woken

    def look(self) -> Permit | None:
        """End the wait, with or without a wake-up; return its leave if it has it now."""
        assert self.step is not None
        self._go_on()
        return self.permit

    def give_up(self) -> None:
        """Go away, as a cancelled task or an interrupted thread does."""
        self._steps.close()

    def release(self) -> None:
        """Give leave back."""
        assert self.permit is not None
        self.pacer.release(self.permit)

    def _go_on(self) -> None:
        try:
            step = next(self._steps)
        except StopIteration as end:
            self.step, self.permit = None, end.value
        else:
            assert isinstance(step, Ask | Sleep | Wait)
            self.step = step
