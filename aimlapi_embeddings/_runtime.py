"""What a client was made with, and what it has in each process because of that."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

import msgspec

from aimlapi_embeddings._engine.budget import Budget, Limits
from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.meter import Meter
from aimlapi_embeddings._engine.pacing import Pacer
from aimlapi_embeddings._engine.retries import RetryPolicy
from aimlapi_embeddings._engine.runtime import Runtime
from aimlapi_embeddings._engine.waiting import Clock
from aimlapi_embeddings._engine.workers import Workers
from aimlapi_embeddings._log import Once
from aimlapi_embeddings._protocol.correlation import new_request_ids
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.options import Options, expected_size
from aimlapi_embeddings._protocol.pickling import check_picklable
from aimlapi_embeddings._protocol.secrets import SecretLike, name_of_key
from aimlapi_embeddings._protocol.transport import HTTPTransport
from aimlapi_embeddings._telemetry import Telemetry
from aimlapi_embeddings.cache import VectorCache


class Settings(msgspec.Struct, frozen=True):
    """The options of a client, checked.

    Attributes:
        options: Those that decide what is sent.
        url: Of the endpoint, with its query.
        cache: Of vectors, or None.
    """

    options: Options
    policy: RetryPolicy
    url: str
    key: SecretLike
    headers: Mapping[str, str]
    timeout: Any
    max_concurrency: int | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    limiter: Limiter | None
    spending: Limits
    http_client: Any
    async_http_client: Any
    cache: VectorCache | None

    def check_picklable(self) -> None:
        """Refuse to pickle what belongs to one process."""
        check_picklable(
            "EmbeddingsClient",
            {
                "http_client": self.http_client,
                "async_http_client": self.async_http_client,
                "rate_limiter": self.limiter and self.limiter.given,
            },
        )

    @property
    def pace(self) -> tuple[Any, ...]:
        """What decides when requests may leave."""
        rates = self.requests_per_minute, self.tokens_per_minute
        return self.max_concurrency, *rates, id(self.limiter and self.limiter.given)

    @property
    def connection(self) -> tuple[Any, ...]:
        """What decides over which connections requests go, beside the key."""
        clients = (self.http_client, self.async_http_client)
        return (self.url, self.headers, self.timeout, *clients)


class Runtimes:
    """The runtime of a client in each process: locks and sockets do not survive a fork.

    Args:
        settings: Of the client.
        clock: Real, or a test's.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._by_process: dict[int, Runtime] = {}

    @property
    def current(self) -> Runtime:
        """That of this process, made on first use."""
        running, pid = self._by_process, os.getpid()
        if pid not in running:
            # One step, so that threads which come at the same moment get the same one; a lock
            # around it could have been held by another thread when this process was forked.
            running.setdefault(pid, self._new())
            for other in list(running):
                if other != pid:
                    running.pop(other, None)
        return running[pid]

    def go_on_for(self, other: Runtimes) -> None:
        """Go on for a client that had other options: its usage, its bound, its connections.

        Requests of both that are in flight count as one. What depends on changed options is new.
        """
        ours, before = self._settings, other._settings
        theirs, runtime = other.current, self._new()
        shared: dict[str, Any] = {"meter": theirs.meter}
        if ours.pace == before.pace:
            shared |= {"pacer": theirs.pacer, "workers": theirs.workers}
            self._end_with_this(theirs.workers)
        else:
            shared["pacer"] = self._new_pacer(theirs.pacer)
        shared["budget"] = Budget(ours.spending, theirs.budget)
        if ours.options == before.options:
            shared |= {"limits": theirs.limits, "once": theirs.once}
        same_key = ours.key.get_secret_value() == before.key.get_secret_value()
        if same_key and ours.connection == before.connection:
            shared["transport"] = theirs.transport
        else:
            theirs.transport.close()  # its idle connections; those in use close later
        self._by_process = {os.getpid(): msgspec.structs.replace(runtime, **shared)}

    def _new(self) -> Runtime:
        settings = self._settings
        options = settings.options
        pacer = self._new_pacer()
        workers = Workers(pacer.most)
        self._end_with_this(workers)
        return Runtime(
            options=options,
            policy=settings.policy,
            url=shown_url(settings.url),
            key=name_of_key(options.provider, settings.key),
            transport=HTTPTransport(
                settings.url,
                settings.key,
                settings.headers,
                settings.timeout,
                settings.http_client,
                settings.async_http_client,
            ),
            pacer=pacer,
            limits=LearnedLimits(options.encoding_format),
            clock=self._clock,
            limiter=settings.limiter,
            workers=workers,
            meter=Meter(),
            budget=Budget(settings.spending),
            once=Once(),
            cache=settings.cache,
            telemetry=Telemetry(
                options.provider.name, options.id, settings.url, expected_size(options)
            ),
            new_request_id=new_request_ids(
                settings.headers,
                getattr(settings.http_client, "headers", None),
                getattr(settings.async_http_client, "headers", None),
            ),
        )

    def _end_with_this(self, workers: Workers) -> None:
        """End idle threads with the client: a program may make one for each of its own requests."""
        weakref.finalize(self, workers.close).atexit = False

    def _new_pacer(self, before: Pacer | None = None) -> Pacer:
        settings = self._settings
        return Pacer(
            settings.max_concurrency,
            self._clock.monotonic,
            settings.limiter,
            before,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
        )
