"""The type of a fault-matrix row, constructors for common rows, and server-side limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aimlapi_embeddings import AIMLAPIError
from aimlapi_embeddings.emulator import Fault, Request

Judge: TypeAlias = Callable[[Request], Fault | None]

TIMEOUT = 0.2  # seconds, where a timeout is the fault
RETRIES = 3
FIRST_TWO = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault and its expected outcome.

    Attributes:
        what: Kind of fault; rows of one kind and outcome share a line in the README.
        how: Variant of the fault.
        faults: One for each request in order; None: answered normally.
        server: Further options of the emulator; None: no server listens.
        texts: Number of texts to embed.
        options: Client options added to the usual ones.
        error: Type of the error raised; None: all vectors are correct.
        says: Regular expression that the error's message must match.
        requests: Requests sent, according to the client's usage.
        retries: How many of those were retries.
        arrived: Requests that reached the server; None: all.
        kept: Indices of the vectors in `.partial`.
        wait: Least and most seconds of simulated waiting.
        timeouts: How many requests time out.
    """

    what: str
    how: str
    faults: Sequence[Fault | None] = ()
    server: Mapping[str, Any] | None = field(default_factory=dict)
    texts: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)
    error: type[AIMLAPIError] | None = None
    says: str = ""
    requests: int = 4
    retries: int = 0
    arrived: int | None = None
    kept: Collection[int] = ()
    wait: tuple[float, float] = (0.0, 0.0)
    timeouts: int = 0

    def __str__(self) -> str:
        return f"{self.what}, {self.how}"


def jitter(retries: int) -> tuple[float, float]:
    """Bounds in seconds for the sum of n jittered back-off waits."""
    return 0.0, sum(0.5 * 2.0**retry for retry in range(retries))


def cured(what: str, how: str, *faults: Fault, **more: Any) -> Row:
    """Build a row for a fault that a retry overcomes."""
    retries = len(faults)
    usual = {"requests": 4 + retries, "retries": retries, "wait": jitter(retries)}
    return Row(what=what, how=how, faults=(None, *faults), **{**usual, **more})


def lasting(what: str, how: str, fault: Fault, error: type[AIMLAPIError], **more: Any) -> Row:
    """Build a row for a fault that persists until the retries are used up."""
    usual = {"requests": 2 + RETRIES, "retries": RETRIES, "wait": jitter(RETRIES)}
    usual["says"] = f"{RETRIES + 1} attempts"
    usual["faults"] = [None, *[fault] * (RETRIES + 1)]
    return Row(what=what, how=how, error=error, kept=FIRST_TWO, **{**usual, **more})


def final(what: str, how: str, fault: Fault, error: type[AIMLAPIError], says: str) -> Row:
    """Build a row for a fault after which nothing is sent, not even a retry."""
    return Row(
        what=what,
        how=how,
        faults=[None, fault],
        error=error,
        says=says,
        requests=2,
        kept=FIRST_TWO,
    )


def refusal(status: int, message: str) -> Fault:
    return Fault(status, body=json.dumps({"message": message}).encode())


def texts_of(request: Request) -> list[str]:
    """Return the texts of a request."""
    texts: list[str] = json.loads(request.body)["input"]
    return texts


def at_most(texts: int) -> Judge:
    """Refuse requests with more than this many texts."""
    no = refusal(400, f"batch size is invalid, it should not be larger than {texts}.")
    return lambda request: no if len(texts_of(request)) > texts else None


def at_most_tokens(tokens: int, no: Fault) -> Judge:
    """Refuse requests with more than this many tokens, counting each word as one."""
    return lambda request: (
        no if sum(len(text.split()) for text in texts_of(request)) > tokens else None
    )


def dislikes(*poison: str, reason: str = "this cannot be embedded") -> Judge:
    """Refuse requests that hold one of these texts."""
    no = refusal(400, reason)
    return lambda request: no if set(poison) & set(texts_of(request)) else None


def vectors(*embeddings: object) -> Fault:
    """Answer with these values in place of vectors."""
    data = [{"index": i, "embedding": embedding} for i, embedding in enumerate(embeddings)]
    return Fault(body=json.dumps({"data": data}).encode())
