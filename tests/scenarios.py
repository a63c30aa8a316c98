"""What is on tape: one cassette for each of these scenarios. Data only.

A scenario is a few calls of one client. The core and both adapters send the same bytes for it, in
both colours, so all of them replay the same cassette. Names, sizes and limits are written out here
and not read from the family table, so that a row which is lost or changed is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from subjects import EIGHT, GOOGLE, M2, MODELS, SUBJECTS, UNKNOWN
from surfaces import SURFACES, SurfaceName

from aimlapi_embeddings import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)


class Call(NamedTuple):
    """One call of the client."""

    role: Literal["document", "query"]
    texts: tuple[str, ...]
    titles: tuple[str | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Calls of one client, and what comes of them.

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
    def surfaces(self) -> tuple[SurfaceName, ...]:
        """LlamaIndex has no word for titles."""
        titled = any(call.titles for call in self.calls)
        return ("core", "langchain") if titled else SURFACES


def documents(*texts: str, titles: tuple[str | None, ...] | None = None) -> Call:
    return Call("document", texts, titles)


def query(text: str) -> Call:
    return Call("query", (text,))


LAURA = "Laura is a DJ."
TEXTS = (LAURA, "Zürich ist schön. 東京も。 🎧", "The fox jumps over the dog.")
QUESTION = "Who is a DJ?"


def _models() -> Iterator[Scenario]:
    """A document and a query to each model, a query to each further name of it."""
    for family, id, size, served, aliases in MODELS:
        both = (documents(LAURA), query(QUESTION))
        yield _plain(family, f"model_{_slug(id)}", id, both, size=size, served=served)
        for alias in aliases:
            yield _plain(family, f"alias_{_slug(alias)}", alias, (query(QUESTION),), size=size)


def _slug(id: str) -> str:
    return re.sub(r"[^\w.-]", "_", id)


def _plain(family: str, name: str, model: str, calls: tuple[Call, ...], **details: Any) -> Scenario:
    return Scenario(family=family, name=name, model=model, calls=calls, **details)


def _common() -> Iterator[Scenario]:
    """What every family is asked."""
    for family, subject in SUBJECTS.items():
        native = {"family": family, "model": subject.model, "size": subject.size}
        small = {**native, "options": subject.small, "size": subject.small_size}
        for name, calls, details in (
            ("documents", (documents(*TEXTS),), native),
            ("query", (query(QUESTION),), native),
            # The texts of LangChain's standard suite, which replays these two as well.
            ("suite_documents", (documents("foo", "bar", "baz"),), small),
            ("suite_query", (query("foo"), query("bar")), small),
        ):
            yield Scenario(name=name, calls=calls, served=subject.served, **details)


_GATEWAY_ERRORS: tuple[tuple[str, type[APIStatusError], Mapping[str, Any]], ...] = (
    ("error_401", AuthenticationError, {"key_end": "-revoked"}),
    ("error_403_out_of_funds", PermissionDeniedError, {"key_end": "-broke", "served": False}),
    ("error_404_withdrawn", NotFoundError, {"withdrawn": True, "served": False}),
    ("error_429", RateLimitError, {"fault": 429, "served": False}),
)
_NUGEN_ERRORS: tuple[tuple[str, type[APIStatusError], Mapping[str, Any]], ...] = (
    ("error_401", AuthenticationError, {"fault": 401, "served": False}),
    ("error_403", PermissionDeniedError, {"key_end": "-revoked"}),
    ("error_404_withdrawn", NotFoundError, {"withdrawn": True, "served": False}),
    ("error_429", RateLimitError, {"fault": 429, "served": False}),
)


def _errors() -> Iterator[Scenario]:
    """How a refused call ends."""
    calls = (documents(LAURA),)
    for family, subject in SUBJECTS.items():
        for name, error, cause in _NUGEN_ERRORS if family == "nugen" else _GATEWAY_ERRORS:
            yield _plain(family, name, subject.model, calls, error=error, **cause)
        yield _plain(
            family,
            f"error_{422 if family == 'nugen' else 400}_validation",
            subject.model,
            calls,
            options={"extra_body": subject.refused},
            error=BadRequestError,
            served=subject.served,
        )


def _too_long() -> Iterator[Scenario]:
    """What comes of a text over the model's limit."""
    long = documents("a " * 8200)
    for family, model, call in (
        ("openai", SUBJECTS["openai"].model, long),
        ("voyage", "voyage-2", documents("a" * 8001)),
        ("bge", SUBJECTS["bge"].model, documents("a " * 600)),
        ("m2-bert", M2.format("2k"), documents("a" * 3001)),
        ("qwen", SUBJECTS["qwen"].model, long),
        ("generic", UNKNOWN, long),
    ):
        served = SUBJECTS[family].served
        yield _plain(
            family, "text_too_long", model, (call,), error=RequestTooLargeError, served=served
        )
    for too_long in (None, "truncate", "error"):
        refused = too_long == "error"
        yield _plain(
            "google",
            f"too_long_{too_long}".lower(),
            GOOGLE,
            (query("short"), documents("a " * 2100)),
            options={**EIGHT, "too_long": too_long},
            size=8,
            error=RequestTooLargeError if refused else None,
        )


def _limits() -> Iterator[Scenario]:
    """How much the first request carries; its refusal ends the call.

    A refused request shows the limit as well as an answered one, and thousands of vectors less.
    """
    for family, model, most in (
        ("google", GOOGLE, 250),
        ("google", "textembedding-gecko@003", 5),
        ("openai", "text-embedding-3-small", 2048),
        ("voyage", "voyage-2", 1000),
        ("bge", "BAAI/bge-base-en-v1.5", 100),
        ("m2-bert", M2.format("32k"), 100),
        ("qwen", "alibaba/qwen-text-embedding-v4", 10),
        ("nugen", "nugen-flash-embed", 100),
        ("nugen", "qwen3-embedding-8b", 100),
        ("generic", UNKNOWN, 100),
        ("generic", "test/dummy-embeddings", 100),
    ):
        full, over = documents(*map(str, range(most))), documents(*map(str, range(most + 1)))
        yield _limit(family, f"limit_texts_{_slug(model)}", model, full, over)
    # A token is estimated as three bytes, and one more for the rest.
    for family, model, most, tokens in (
        ("google", GOOGLE, 20_000, 2_000),
        ("openai", "text-embedding-3-small", 300_000, 7_500),
        ("voyage", "voyage-law-2", 120_000, 240),
    ):
        texts = documents(*(f"{i:06}{'a' * (3 * tokens - 9)}" for i in range(most // tokens + 1)))
        yield _limit(family, "limit_tokens", model, texts)
    for family, model, tokens in (
        ("google", GOOGLE, 2048),
        ("google", "textembedding-gecko@001", 3072),
        ("openai", "text-embedding-ada-002", 8192),
        ("bge", "BAAI/bge-large-en-v1.5", 512),
        ("m2-bert", M2.format("32k"), 32_768),
        ("qwen", "alibaba/qwen-text-embedding-v3", 8192),
    ):
        fits, long = "a" * (3 * tokens - 1), "a" * 3 * tokens
        texts = documents("short", fits, long, "short too")
        yield _limit(family, f"limit_tokens_of_a_text_{_slug(model)}", model, texts)


def _limit(family: str, name: str, model: str, *calls: Call) -> Scenario:
    refused: dict[str, Any] = {"fault": 401, "error": AuthenticationError, "served": False}
    return _plain(family, name, model, calls, fails=len(calls), **refused)


_TASKS = (
    "RETRIEVAL_DOCUMENT",
    "RETRIEVAL_QUERY",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "NONE",
)


def _special() -> Iterator[Scenario]:
    """What only some families have."""
    both = (documents(LAURA), query(QUESTION))
    for task in _TASKS:
        options = {**EIGHT, "task_type": task}
        yield _plain("google", f"task_{task}".lower(), GOOGLE, both, options=options, size=8)
    titled = documents("one", "two", "three", titles=("Numbers", None, "Numbers"))
    yield _plain("google", "titles", GOOGLE, (titled,), options=EIGHT, size=8)
    yield _plain(
        "google",
        "published_reply",
        GOOGLE,
        (query(LAURA),),
        options={"task_type": "NONE"},  # the published request names no task type either
        size=768,
        documented=True,
    )
    for family in ("google", "openai", "qwen", "nugen", "generic"):
        subject = SUBJECTS[family]
        details = {"options": subject.small, "size": subject.small_size}
        yield _plain(family, "dimensions", subject.model, both, served=subject.served, **details)
    for family, encoding_format in (
        (family, form) for family in ("openai", "generic") for form in ("base64", "float")
    ):
        subject = SUBJECTS[family]
        yield _plain(
            family,
            f"encoding_{encoding_format}",
            subject.model,
            both,
            options={**subject.small, "encoding_format": encoding_format},
            size=subject.small_size,
            served=subject.served,
        )
    mixed = documents("short", "b" * 800, "c" * 801, "short too", "d" * 8000, "short as well")
    yield _plain("voyage", "mixed_lengths", "voyage-2", (mixed,), size=1024)
    alone = documents("one", "two")
    yield _plain("m2-bert", "no_arrays", M2.format("2k"), (alone,), size=768, served=False)
    yield _plain(
        "bge",
        "own_prefixes",
        "BAAI/bge-base-en-v1.5",
        both,
        options={"query_prefix": "query: ", "document_prefix": "passage: "},
        size=768,
        served=False,
    )


SCENARIOS: tuple[Scenario, ...] = (
    *_models(),
    *_common(),
    *_errors(),
    *_too_long(),
    *_limits(),
    *_special(),
)
