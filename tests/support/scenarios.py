"""The recorded scenarios: one cassette for each. Data only.

The core and both adapters send the same bytes for a scenario, in both modes, so all of them
replay the same cassette. LangChain's standard suite replays two of each family as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aimlapi_embeddings import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from tests.support.recorded_models import EIGHT, GOOGLE, RECORDED_MODELS, USUAL
from tests.support.scenario import Scenario, documents, query, slug
from tests.support.scenarios_of_size import SCENARIOS_OF_SIZE

LAURA = "Laura is a DJ."
TEXTS = (LAURA, "Zürich ist schön. 東京も。 🎧", "The fox jumps over the dog.")
QUESTION = "Who is a DJ?"
BOTH = (documents(LAURA), query(QUESTION))


def _models() -> Iterator[Scenario]:
    """A document and a query to each model, a query to each of its aliases and sizes."""
    for family, id, size, aliases, sizes, *_, served in RECORDED_MODELS:
        yield Scenario(family, f"model_{slug(id)}", id, BOTH, size=size, served=served)
        for alias in aliases:
            yield Scenario(family, f"alias_{slug(alias)}", alias, (query(QUESTION),), size=size)
        for asked in sizes:
            yield Scenario(
                family,
                f"dimensions_{asked}_{slug(id)}",
                id,
                (query(QUESTION),),
                {"dimensions": asked},
                asked,
                served=served,
            )


def _common() -> Iterator[Scenario]:
    """Scenarios of every family."""
    for family, usual in USUAL.items():
        native: dict[str, Any] = {"size": usual.size, "served": usual.served}
        small = {"options": usual.small, "size": usual.small_size, "served": usual.served}
        for name, calls, details in (
            ("documents", (documents(*TEXTS),), native),
            ("query", (query(QUESTION),), native),
            # The texts of LangChain's standard suite.
            ("suite_documents", (documents("foo", "bar", "baz"),), small),
            ("suite_query", (query("foo"), query("bar")), small),
        ):
            yield Scenario(family, name, usual.model, calls, **details)


Cause = Mapping[str, Any]
_GATEWAY_ERRORS: tuple[tuple[str, type[APIStatusError], Cause], ...] = (
    ("error_401", AuthenticationError, {"key_end": "-revoked"}),
    ("error_403_out_of_funds", PermissionDeniedError, {"key_end": "-broke", "served": False}),
    ("error_404_withdrawn", NotFoundError, {"withdrawn": True, "served": False}),
    ("error_429", RateLimitError, {"fault": 429, "served": False}),
)
_NUGEN_ERRORS: tuple[tuple[str, type[APIStatusError], Cause], ...] = (
    ("error_401", AuthenticationError, {"fault": 401, "served": False}),
    ("error_403", PermissionDeniedError, {"key_end": "-revoked"}),
    ("error_404_withdrawn", NotFoundError, {"withdrawn": True, "served": False}),
    ("error_429", RateLimitError, {"fault": 429, "served": False}),
)


def _errors() -> Iterator[Scenario]:
    """Calls that the server refuses."""
    for family, usual in USUAL.items():
        for name, error, cause in _NUGEN_ERRORS if family == "nugen" else _GATEWAY_ERRORS:
            yield Scenario(family, name, usual.model, (documents(LAURA),), error=error, **cause)
        yield Scenario(
            family,
            f"error_{422 if family == 'nugen' else 400}_validation",
            usual.model,
            (documents(LAURA),),
            {"extra_body": usual.refused},
            error=BadRequestError,
            served=usual.served,
        )


def _lent_rules() -> Iterator[Scenario]:
    """An unknown model id with `family`: the request follows the rules of that family.

    No service knows the id, so only the requests matter here.
    """
    for family in USUAL:
        yield Scenario(
            family,
            "lent_rules",
            "of-tomorrow",
            BOTH,
            {"family": family},
            error=NotFoundError,
            fails=2,
            fault=404,
            served=False,
        )


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
    """Scenarios of single families."""
    for task in _TASKS:
        options = {**EIGHT, "task_type": task}
        yield Scenario("google", f"task_{task}".lower(), GOOGLE, BOTH, options, 8)
    titled = documents("one", "two", "three", titles=("Numbers", None, "Numbers"))
    yield Scenario("google", "titles", GOOGLE, (titled,), EIGHT, 8)
    # The published request has no task type.
    options = {"task_type": "NONE"}
    laura = (query(LAURA),)
    yield Scenario("google", "published_reply", GOOGLE, laura, options, 768, documented=True)
    for family in ("openai", "generic"):
        usual = USUAL[family]
        for form in ("base64", "float"):
            options = {**usual.small, "encoding_format": form}
            name, size = f"encoding_{form}", usual.small_size
            yield Scenario(family, name, usual.model, BOTH, options, size, served=usual.served)
    for name, options in (
        ("none", {"task_type": "NONE"}),
        ("own_prefixes", {"query_prefix": "query: ", "document_prefix": "passage: "}),
    ):
        yield Scenario("bge", name, USUAL["bge"].model, BOTH, options, 768, served=False)


SCENARIOS: tuple[Scenario, ...] = (
    *_models(),
    *_common(),
    *_errors(),
    *_lent_rules(),
    *_special(),
    *SCENARIOS_OF_SIZE,
)
