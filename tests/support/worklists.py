"""Drives a worklist by hand: parts are sent, and answered in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

from aimlapi_embeddings import BadRequestError, RequestTooLargeError
from aimlapi_embeddings._engine.limits import LearnedLimits
from aimlapi_embeddings._engine.planning import Batch, estimate_tokens
from aimlapi_embeddings._engine.refusals import Part, Worklist

Server: TypeAlias = Callable[[list[int]], BadRequestError | None]
"""Is asked for texts by their numbers; returns its refusal, or None."""


def refusal(message: str, status: int = 400) -> BadRequestError:
    """A refusal of the request's content."""
    return BadRequestError(f"{status}: {message}", status, message)


def too_large(message: str = "Request too large", status: int = 400) -> RequestTooLargeError:
    """A refusal for size."""
    return RequestTooLargeError(f"{status}: {message}", status, message)


def batches_of(texts: Sequence[str], size: int) -> list[Batch]:
    """Pack texts in order, so many to a batch."""
    tokens = [estimate_tokens(text) for text in texts]
    whole = Batch([*range(len(texts))], [*texts], tokens)
    return [*whole.cut(size)] if texts else []


class Calls:
    """Calls of one client, on a server.

    Args:
        server: Answers.
        seed: Of the order in which requests in flight are answered.

    A refusal after which others had better wait is followed by one request at a time until some
    succeed, as the pacer does it.

    Attributes:
        sent: The texts of each request, by their numbers.
        embedded: Texts of the last call that have vectors.
        work: Worklist of the last call.
    """

    def __init__(self, server: Server, seed: int = 0) -> None:
        self.server = server
        self.limits = LearnedLimits(None)
        self.sent: list[list[int]] = []
        self.embedded: set[int] = set()
        self.work = Worklist([], self.limits)
        self._random = random.Random(seed)

    @property
    def refused(self) -> list[int]:
        """Texts of the last call that were refused alone."""
        return sorted(self.work.refused)

    def run(
        self, texts: int | Sequence[str], *, batch_size: int = 2048, in_flight: int = 1
    ) -> Calls:
        """Embed texts, so many requests in flight; text i is `"text i"` where a count is given."""
        if isinstance(texts, int):
            texts = [f"text {i}" for i in range(texts)]
        self.sent.clear()
        self.embedded.clear()
        self.work = Worklist(batches_of(texts, batch_size), self.limits)
        parts: list[Part] = []
        most = in_flight
        while True:
            while len(parts) < most and (part := self.work.take()):
                parts.append(self.start(part))
            if not parts:
                return self
            if self.answer(parts.pop(self._random.randrange(len(parts)))):
                most = 1
            elif self.embedded:
                most = min(2 * most, in_flight)

    def start(self, part: Part) -> Part:
        """Send a part."""
        part = self.work.start(part)
        self.sent.append(part.batch.indices)
        return part

    def answer(self, part: Part) -> bool:
        """Answer a request in flight; return whether others had better wait."""
        error = self.server(part.batch.indices)
        if error is None:
            self.work.accept()
        self.work.end(part)
        if error is None:
            self.work.embedded(part)
            self.embedded.update(part.batch.indices)
            return False
        return self.work.refuse(part, error)


def takes_all(_: list[int]) -> None:
    """Refuse nothing."""


def at_most(count: int, error: BadRequestError | None = None) -> Server:
    """Refuse more texts than this."""
    error = error or too_large()
    return lambda numbers: error if len(numbers) > count else None


def dislikes(*bad: int, error: BadRequestError | None = None) -> Server:
    """Refuse requests that hold one of these texts."""
    error = error or refusal("not allowed")
    return lambda numbers: None if set(bad).isdisjoint(numbers) else error


def first_of(*servers: Server) -> Server:
    """Refuse what any of these refuses, in the words of the first that does."""
    return lambda numbers: next(filter(None, (server(numbers) for server in servers)), None)
