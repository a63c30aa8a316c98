"""What tests need to drive a flow by hand: what its batches share, and a server's replies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from aimlapi_embeddings._engine.backoff import Gate, RetryPolicy
from aimlapi_embeddings._engine.slots import Slots

from aimlapi_embeddings import APIConnectionError, Usage, supported_models
from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._engine.flow import (
    Call,
    Deliver,
    Flow,
    Learned,
    Permit,
    Send,
    Sleep,
    embed_batch,
)
from aimlapi_embeddings._engine.planning import Batch, estimate_tokens
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._types import Reply, Row
from tests.support.entry_points import OPENAI, Clock

Server: TypeAlias = Callable[[list[int]], Reply | Exception | None]
"""Is asked for texts by their numbers."""


def good(numbers: Sequence[int], **more: Any) -> Reply:
    """Answer with a vector for each text that holds its number, counted from 1."""
    data = [{"embedding": [number + 1.0], "index": i} for i, number in enumerate(numbers)]
    return Reply(200, {}, json.dumps({"data": data, **more}).encode())


def bad(status: int, message: str = "no", headers: Mapping[str, str] | None = None) -> Reply:
    """Refuse."""
    return Reply(status, headers or {}, json.dumps({"message": message}).encode())


class Rig:
    """What the batches of a call share, on a clock that passes only by waiting.

    Text number i is `"text i"`. What a flow sent, waited for and handed over is kept.
    """

    def __init__(
        self,
        texts: int | list[str] = 4,
        *,
        max_retries: int = 2,
        max_retry_wait: float = 60.0,
        encoding_format: str | None = None,
    ) -> None:
        self.texts = [f"text {i}" for i in range(texts)] if isinstance(texts, int) else texts
        self.clock, self.slots, self.learned = Clock(), Slots(8), Learned(encoding_format)
        self.gate = Gate(self.clock.monotonic)
        self.permits: list[int] = []
        self.sent: list[list[int]] = []
        self.bodies: list[dict[str, Any]] = []
        self.vectors: dict[int, Row] = {}
        self.usage = Usage()
        [model] = [model for model in supported_models() if model.id == OPENAI]
        model = replace(model, native_dimensions=None)  # vectors of one number will do
        self.call = Call(
            options=Options(
                id=OPENAI,
                model=model,
                provider=PROVIDERS["aimlapi"],
                extra_body={},
                batch_size=len(self.texts),
            ),
            texts=self.texts,
            fields={},
            policy=RetryPolicy(max_retries, max_retry_wait),
            gate=self.gate,
            slots=self.slots,
            learned=self.learned,
            url="https://api.example/v1/embeddings",
            wall_clock=self.clock.time,
        )

    def flow(self, *numbers: int) -> Flow:
        """Begin the flow of a batch of these texts; of all when none is named."""
        indices = list(numbers or range(len(self.texts)))
        texts = [self.texts[i] for i in indices]
        batch = Batch(indices, texts, list(map(estimate_tokens, texts)))
        return self._permitted(embed_batch(batch, self.call))

    def _permitted(self, flow: Flow) -> Flow:
        """Let every request past the rate limiter, and note how many tokens it was asked for."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Permit):
                    self.permits.append(step.tokens)
                    step = next(flow)
                    continue
                try:
                    reply = yield step
                except APIConnectionError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(reply)
        except StopIteration:
            return

    def run(self, server: Server, *numbers: int) -> Rig:
        """Drive the flow of a batch to its end."""
        flow = self.flow(*numbers)
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
                    self._take(step)
                step = next(flow)
        except StopIteration:
            return self

    def _ask(self, server: Server, step: Send) -> Reply | Exception | None:
        body = json.loads(step.body)
        numbers = [self.texts.index(text) for text in body["input"]]
        self.bodies.append(body)
        self.sent.append(numbers)
        return server(numbers)

    def _take(self, delivery: Deliver) -> None:
        self.usage += delivery.usage
        self.vectors.update(zip(delivery.indices, delivery.rows, strict=True))
