"""The values that pass between the modules of the emulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Provider = Literal["aimlapi", "nugen"]
ErrorShape = Literal["problem", "documented"]
Strictness = bool | Literal["listed"]


class Request(NamedTuple):
    """One HTTP request.

    Attributes:
        method: In upper case, such as "POST".
        path: Path and query, such as "/v1/models?id=voyage-2"; never with scheme and host.
        headers: Names in lower case.
        body: The body without its transfer coding.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """One HTTP reply; the server adds `content-length` and `connection` when it sends it."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refusal(Exception):
    """A request that is answered with an error instead of vectors.

    Attributes:
        status: The HTTP status.
        text: What is wrong; empty means the provider's usual message for that status.
        field: The body field at fault, such as "input.3"; None when no single field is at fault.
    """

    def __init__(self, status: int, text: str = "", field: str | None = None) -> None:
        super().__init__(status, text, field)
        self.status, self.text, self.field = status, text, field
