"""Drives the flows of one client by hand: a server's replies are given, and time is simulated."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from aimlapi_embeddings import Usage, supported_models
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._engine.budget import Budget, Limits
from aimlapi_embeddings._engine.flow import embed_part
from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.meter import Meter
from aimlapi_embeddings._engine.pacing import Lane, Pacer
from aimlapi_embeddings._engine.refusals import Part, Worklist
from aimlapi_embeddings._engine.retries import RetryPolicy
from aimlapi_embeddings._engine.runtime import Call, Runtime
from aimlapi_embeddings._engine.steps import Deliver, Flow, Send, Sleep
from aimlapi_embeddings._engine.workers import Workers
from aimlapi_embeddings._log import Once
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.request import RoleFields
from aimlapi_embeddings._protocol.secrets import Secret
from aimlapi_embeddings._protocol.transport import HTTPTransport
from aimlapi_embeddings._telemetry import Telemetry
from aimlapi_embeddings._types import Reply, Row
from tests.support.entry_points import OPENAI, Clock
from tests.support.waiting import Waiter
from tests.support.worklists import batches_of

URL = "https://api.example/v1/embeddings"

Server: TypeAlias = Callable[[list[int]], Reply | Exception]
"""Is asked for texts by their numbers."""


def good(numbers: Sequence[int], **more: Any) -> Reply:
    """Answer with a vector for each text that holds its number, counted from 1."""
    data = [{"embedding": [number + 1.0], "index": i} for i, number in enumerate(numbers)]
    return Reply(200, {}, json.dumps({"data": data, **more}).encode())


def bad(status: int, message: str = "no", headers: Mapping[str, str] | None = None) -> Reply:
    """Refuse."""
    return Reply(status, headers or {}, json.dumps({"message": message}).encode())


class ThisThread:
    """The caller: a thread that never really waits."""

    loop = blocked = None

    def waiter(self) -> Waiter:
        return Waiter()


class Rig:
    """One client, on a clock that passes only by waiting.

    Text number i is `"text i"`. What the flows sent and handed over is kept.
    """

    def __init__(
        self,
        texts: int | list[str] = 4,
        *,
        max_retries: int = 2,
        max_retry_wait: float = 60.0,
        retry_for: float | None = None,
        limits: Limits | None = None,
        encoding_format: str | None = None,
        model: str = OPENAI,
        query: bool = False,
    ) -> None:
        self.texts = [f"text {i}" for i in range(texts)] if isinstance(texts, int) else texts
        self.clock = Clock()
        self.numbers = itertools.count(1)
        self.request_ids: list[str] = []
        self.pacer = Pacer(8, self.clock.monotonic, None)
        self.limits = LearnedLimits(encoding_format)
        self.sent: list[list[int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.vectors: dict[int, Row] = {}
        self.usage = Usage()
        [row] = [row for row in supported_models() if row.id == model]
        row = replace(row, native_dimensions=None)  # vectors of one number will do
        self.options = Options(
            id=model,
            model=row,
            provider=PROVIDERS["aimlapi"],
            extra_body={},
            batch_size=len(self.texts),
        )
        self.query = query
        self.runtime = Runtime(
            options=self.options,
            policy=RetryPolicy(max_retries, max_retry_wait, retry_for),
            url=URL,
            key="AIMLAPI_API_KEY",
            transport=HTTPTransport(URL, Secret("unused"), {}),
            pacer=self.pacer,
            limits=self.limits,
            clock=self.clock,
            limiter=None,
            workers=Workers(0),
            meter=Meter(),
            budget=Budget(limits or Limits()),
            once=Once(),
            cache=None,
            telemetry=Telemetry("aimlapi", model, URL, None),
            new_request_id=lambda: f"request-{next(self.numbers)}",
        )
        self.call = self.new_call()

    def new_call(self, batch_size: int = 2048) -> Call:
        """Begin a call of all texts."""
        self.call = Call(
            self.runtime,
            ThisThread(),
            RoleFields({}, ""),
            Worklist(batches_of(self.texts, batch_size), self.limits),
            self.texts,
            len(self.texts),
            lane=Lane.BULK,
            query=self.query,
        )
        return self.call

    def flow(self) -> Flow:
        """Begin the flow of the next part of the call."""
        part = self.call.work.take()
        assert part is not None
        return embed_part(part, self.call)

    def run(self, server: Server, batch_size: int = 2048) -> Rig:
        """Run a new call to its end, one request after the other."""
        self.sent.clear()
        self.new_call(batch_size)
        while (part := self.call.work.take()) is not None:
            self.drive(embed_part(part, self.call), server)
        return self

    def drive(self, flow: Flow, server: Server) -> None:
        """Drive a flow to its end."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Send):
                    reply = self._ask(server, step)
                    step = flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
                    continue
                if isinstance(step, Sleep):
                    self.clock.sleep(step.seconds, threading.Event())
                elif isinstance(step, Deliver):
                    self.usage += step.usage
                    self.vectors.update(zip(step.indices, step.rows, strict=True))
                step = next(flow)
        except StopIteration:
            pass

    def part(self, *numbers: int) -> Part:
        """A part of the call with these texts."""
        [whole] = batches_of(self.texts, len(self.texts))
        return Part(whole.part(numbers[0], numbers[-1] + 1))

    def _ask(self, server: Server, step: Send) -> Reply | Exception:
        body = json.loads(step.body)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        numbers = [self.texts.index(text) for text in texts]
        self.bodies.append(body)
        self.request_ids.append(step.request_id)
        self.sent.append(numbers)
        return server(numbers)
