"""A row of the fault matrix, the usual kinds of rows, and servers with a rule of their own."""

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
    """One fault and what comes of it.

    Attributes:
        what: What is at fault; rows that share it and their outcome share a line in the README.
        how: Which way.
        faults: Of the requests in their order.
        server: What the emulator is told beside that; None: nobody listens.
        texts: How many.
        options: The client's, beside the usual ones.
        error: What is raised; None: the vectors are right.
        says: What the error's message has to say.
        requests: How many the client sent, by its own account.
        retries: How many of those repeated one that failed.
        arrived: How many of those the server saw, when not all.
        kept: Which vectors are in `.partial`.
        wait: Seconds that the call waits, at least and at most; no time passes.
        timeouts: How many requests end by the timeout.
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
    """Between which bounds so many waits lie that no server asked for."""
    return 0.0, sum(0.5 * 2.0**retry for retry in range(retries))


def cured(what: str, how: str, *faults: Fault, **more: Any) -> Row:
    """Make the row of a fault that repeating a request cures."""
    retries = len(faults)
    usual = {"requests": 4 + retries, "retries": retries, "wait": jitter(retries)}
    return Row(what=what, how=how, faults=(None, *faults), **{**usual, **more})


def lasting(what: str, how: str, fault: Fault, error: type[AIMLAPIError], **more: Any) -> Row:
    """Make the row of a fault that repeating a request does not cure."""
    usual = {"requests": 2 + RETRIES, "retries": RETRIES, "wait": jitter(RETRIES)}
    usual["says"] = f"{RETRIES + 1} attempts"
    faults = [None, *[fault] * (RETRIES + 1)]
    return Row(what=what, how=how, faults=faults, error=error, kept=FIRST_TWO, **{**usual, **more})


def final(what: str, how: str, fault: Fault, error: type[AIMLAPIError], says: str) -> Row:
    """Make the row of a fault after which nothing more is sent."""
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
    """Read what a request wants embedded."""
    texts: list[str] = json.loads(request.body)["input"]
    return texts


def at_most(texts: int) -> Judge:
    """Refuse more than so many texts."""
    no = refusal(400, f"batch size is invalid, it should not be larger than {texts}.")
    return lambda request: no if len(texts_of(request)) > texts else None


def at_most_tokens(tokens: int, no: Fault) -> Judge:
    """Refuse more than so many tokens; a word is one."""
    return lambda request: (
        no if sum(len(text.split()) for text in texts_of(request)) > tokens else None
    )


def dislikes(*poison: str, reason: str = "this cannot be embedded") -> Judge:
    """Refuse whatever holds one of these texts."""
    no = refusal(400, reason)
    return lambda request: no if set(poison) & set(texts_of(request)) else None


def vectors(*embeddings: object) -> Fault:
    """Answer these, of whatever kind they are."""
    data = [{"index": i, "embedding": embedding} for i, embedding in enumerate(embeddings)]
    return Fault(body=json.dumps({"data": data}).encode())
