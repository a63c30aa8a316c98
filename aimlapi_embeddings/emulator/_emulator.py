"""How the emulated server behaves, and what it recorded."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aimlapi_embeddings.emulator._answer import answer, refuse
from aimlapi_embeddings.emulator._types import (
    ErrorShape,
    Refusal,
    Reply,
    Request,
    Strictness,
)

Drop = Literal["before_headers", "in_headers", "after_headers", "in_body"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: Answer with this error status; the body is the provider's own for it.
        headers: Headers to add to the reply.
        body: A body to send instead.
        retry_after: Value of the `Retry-After` header: seconds, a date, or an invalid value.
        delay: Seconds to wait before the reply, in addition to the latency.
        hang: Never answer. The request ends when the client disconnects or the server stops.
        drop: End the connection at this point of the reply.
        reset: Whether `drop` ends it with a reset (RST) instead of an orderly close (FIN).
        reshape: Changes the reply; `aimlapi_embeddings.emulator.faults` has ready-made ones.
        close: Close the connection after the reply without announcing it.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    retry_after: str | None = None
    delay: float = 0.0
    hang: bool = False
    drop: Drop | None = None
    reset: bool = True
    reshape: Callable[[Reply], Reply] | None = None
    close: bool = False

    def spoil(self, reply: Reply) -> Reply:
        """Return the reply with this fault's headers, body and `reshape` applied."""
        extra = dict(self.headers)
        if self.retry_after is not None:
            extra["retry-after"] = self.retry_after
        body = reply.body if self.body is None else self.body
        reply = Reply(reply.status, {**reply.headers, **extra}, body)
        return self.reshape(reply) if self.reshape else reply


_NO_FAULT = Fault()
_OVERLOADED = Fault(429)


@dataclass
class Emulator:
    """The settings of an emulated server, and its record of requests. It is thread-safe.

    Attributes:
        strict: Which requests are refused; see `answer`.
        latency: Seconds that each request takes.
        latency_per_text: Seconds that each text adds.
        max_in_flight: With more requests in flight than this, the excess gets 429; None: no bound.
        faults: One entry for each POST, in order of arrival. After the last entry, and for an
            entry that is None, `judge` decides.
        judge: Called with each POST that got no entry of `faults`; returns its fault, or None.
        error_shape: The shape of the gateway's error bodies; see `answer`.
        withdrawn: Model ids that get 404; see `answer`.
        requests: Every request received, in order of arrival.
        peak_in_flight: The largest number of requests in flight at once. A request is in flight
            from its last byte until the reply begins.
    """

    strict: Strictness = True
    latency: float = 0.0
    latency_per_text: float = 0.0
    max_in_flight: int | None = None
    faults: Iterable[Fault | None] = ()
    judge: Callable[[Request], Fault | None] | None = None
    error_shape: ErrorShape = "problem"
    withdrawn: frozenset[str] = frozenset()
    requests: list[Request] = field(default_factory=list, init=False)
    peak_in_flight: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Start the sequence of faults."""
        self._faults = iter(self.faults)

    @contextlib.contextmanager
    def in_flight(self, request: Request) -> Iterator[Fault]:
        """Record a request, count it as in flight within the block, and yield its fault."""
        with self._lock:
            self.requests.append(request)
            fault = self._find_fault(request) if request.method == "POST" else None
            self._in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
            overloaded = self.max_in_flight is not None and self._in_flight > self.max_in_flight
        try:
            yield fault or (_OVERLOADED if overloaded else _NO_FAULT)
        finally:
            with self._lock:
                self._in_flight -= 1

    def _find_fault(self, request: Request) -> Fault | None:
        return next(self._faults, None) or (self.judge(request) if self.judge else None)

    def reply(self, request: Request, fault: Fault = _NO_FAULT) -> Reply:
        """Return the reply to a request under a fault; nothing is recorded, nothing waits."""
        if fault.status is not None:
            return fault.spoil(refuse(request, Refusal(fault.status), self.error_shape))
        good = answer(
            request,
            strict=self.strict,
            error_shape=self.error_shape,
            withdrawn=self.withdrawn,
        )
        return fault.spoil(good)

    def seconds(self, request: Request, fault: Fault = _NO_FAULT) -> float:
        """Return how long the reply is to take, in seconds."""
        if fault is _OVERLOADED:  # an overloaded server refuses at once
            return 0.0
        texts = _count_texts(request.body) if self.latency_per_text else 0
        return self.latency + self.latency_per_text * texts + fault.delay


def _count_texts(body: bytes) -> int:
    try:
        value = json.loads(body)["input"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return len(value) if isinstance(value, list) else 1
