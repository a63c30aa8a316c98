"""The type of a scenario: calls of one client and their outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aimlapi_embeddings import APIStatusError
from tests.support.entry_points import PACKAGES, Package


class Call(NamedTuple):
    """One call of the client."""

    role: Literal["document", "query"]
    texts: tuple[str, ...]
    titles: tuple[str | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Calls of one client and their outcome.

    Attributes:
        family: The folder of the cassette.
        name: The cassette's name.
        model: As the caller spells it.
        calls: One after the other; the last one fails when an error is expected.
        options: The client's, under the core's names.
        size: Floats in each vector.
        error: What the last call raises.
        fails: How many of the last calls raise it.
        key_end: Ends that make the emulator refuse a key.
        fault: A status that the emulator is told to answer every request with.
        withdrawn: Whether the emulator has lost the model.
        served: Whether the live service can be asked for this: it has the model, and the call is
            about its reply.
        documented: Whether the cassette holds a published reply, and is never recorded.
    """

    family: str
    name: str
    model: str
    calls: tuple[Call, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    error: type[APIStatusError] | None = None
    fails: int = 1
    key_end: str = ""
    fault: int | None = None
    withdrawn: bool = False
    served: bool = True
    documented: bool = False

    def __str__(self) -> str:
        return f"{self.family}/{self.name}"

    @property
    def provider(self) -> Literal["aimlapi", "nugen"]:
        return "nugen" if self.family == "nugen" else "aimlapi"

    @property
    def packages(self) -> tuple[Package, ...]:
        """The packages that can make these calls; LlamaIndex has no argument for titles."""
        titled = any(call.titles for call in self.calls)
        return ("core", "langchain") if titled else PACKAGES


def documents(*texts: str, titles: tuple[str | None, ...] | None = None) -> Call:
    return Call("document", texts, titles)


def query(text: str) -> Call:
    return Call("query", (text,))


def slug(id: str) -> str:
    return re.sub(r"[^\w.-]", "_", id)
