"""What all calls of one client share in one process, and what the parts of one call share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from aimlapi_embeddings._engine.budget import Budget
from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.long_texts import Shortener
from aimlapi_embeddings._engine.meter import Meter
from aimlapi_embeddings._engine.pacing import Lane, Pacer
from aimlapi_embeddings._engine.refusals import Worklist
from aimlapi_embeddings._engine.retries import RetryPolicy
from aimlapi_embeddings._engine.steps import Caller
from aimlapi_embeddings._engine.waiting import Clock
from aimlapi_embeddings._engine.workers import Workers
from aimlapi_embeddings._log import Once
from aimlapi_embeddings._protocol.attempt import Attempt
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.request import RoleFields
from aimlapi_embeddings._telemetry import Telemetry, Trace
from aimlapi_embeddings._types import Reply
from aimlapi_embeddings.cache import VectorCache


class Transport(Protocol):
    """Carries one request."""

    def send(self, body: bytes, attempt: Attempt) -> Reply:
        """Send and wait in this thread."""

    async def send_async(self, body: bytes, attempt: Attempt) -> Reply:
        """Send and wait in this task."""

    def close(self) -> None:
        """Close what sync calls opened."""

    async def aclose(self) -> None:
        """Close what this event loop's calls opened."""


class Runtime(msgspec.Struct, frozen=True):
    """What all calls of one client share in one process.

    Attributes:
        url: As it may be shown.
        key: The argument or the variable that holds the key.
        cache: Where vectors are kept and looked up, or None.
        new_request_id: Makes what a request is called by us.
    """

    options: Options
    policy: RetryPolicy
    url: str
    key: str
    transport: Transport
    pacer: Pacer
    limits: LearnedLimits
    clock: Clock
    limiter: Limiter | None
    workers: Workers
    meter: Meter
    budget: Budget
    once: Once
    cache: VectorCache | None
    telemetry: Telemetry
    new_request_id: Callable[[], str]

    @property
    def waves_of(self) -> int:
        """How many requests packing expects to be in flight together.

        More requests would run side by side, but where they are limited each is a share of it.
        """
        return 1 if self.limiter or self.pacer.rates.limited else self.pacer.most

    @property
    def most_tokens(self) -> float:
        """Most tokens that one request can ever be granted."""
        limiter = self.limiter.max_tokens if self.limiter else math.inf
        return min(self.pacer.rates.most_tokens, limiter)

    def close(self) -> None:
        """Close what sync calls opened, at once; connections in use close with their requests."""
        self.workers.close()
        self.transport.close()


class Texts(Protocol):
    """Texts by their place; a stream has only those that wait for a vector."""

    def __getitem__(self, place: int, /) -> str: ...


class Call(msgspec.Struct, frozen=True):
    """What the parts of one call share.

    Attributes:
        sent: How its role is sent.
        total: How many texts it has; None for a stream, which learns that at its end.
        cache_keys: Of the texts by their place, where there is a cache.
    """

    runtime: Runtime
    caller: Caller
    sent: RoleFields
    work: Worklist
    texts: Texts
    total: int | None
    lane: Lane
    query: bool
    shortener: Shortener | None = None
    cache_keys: Mapping[int, bytes] | Sequence[bytes] = ()
    trace: Trace | None = None
