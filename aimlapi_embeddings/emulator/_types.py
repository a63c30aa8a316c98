"""What goes over the wire, and the one way to say no."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Provider = Literal["aimlapi", "nugen"]
ErrorShape = Literal["problem", "documented"]


class Request(NamedTuple):
    """One HTTP request; the names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """One HTTP reply, framing (`content-length`, `connection`) left to whoever sends it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """A request that gets an error instead of vectors.

    Attributes:
        status: The HTTP status.
        text: What is wrong; empty means the usual words for that status.
        field: The body field at fault ("input.3"); None when it is not about one field.
    """

    def __init__(self, status: int, text: str = "", field: str | None = None) -> None:
        super().__init__(status, text, field)
        self.status, self.text, self.field = status, text, field
