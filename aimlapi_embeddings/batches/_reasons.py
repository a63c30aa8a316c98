"""Which rows get no vector, and why."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from aimlapi_embeddings._engine.inputs import why_bad
from aimlapi_embeddings._errors import (
    AIMLAPIError,
    APIConnectionError,
    APIStatusError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    InternalServerError,
    RateLimitError,
)

# Failures of the service that a later run may not meet. With on_error="keep" they leave their rows
# without a vector; every other error would meet all rows, or cannot be trusted, and is raised.
_PASSING = (RateLimitError, InternalServerError, APIConnectionError, BudgetExceededError)


def _is_missing(value: object) -> bool:
    """Tell whether a value is null, in any spelling: None, NaN, or pandas' own."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and value != value


def why_no_text(text: object) -> str | None:
    return "is null" if _is_missing(text) else why_bad(text)


def check_strings(option: str, name: str, values: Sequence[Any]) -> None:
    """Raise where a column is of something else than strings; single values are judged later."""
    if any(isinstance(value, str) for value in values):
        return
    for value in values:
        if not _is_missing(value):
            raise ConfigurationError(
                f"{option}={name!r} is a column without strings: its first value is of the type "
                f"{type(value).__name__}. Cast the column to strings first."
            )


def is_kept(error: AIMLAPIError) -> bool:
    """Tell whether an error leaves some rows without a vector, and the others as they are."""
    if isinstance(error, BadRequestError):
        return bool(error.refused)  # else the request is at fault, and all rows would meet it
    passing = isinstance(error, _PASSING)
    return passing and not (isinstance(error, APIConnectionError) and error.permanent)


def reasons_of(error: AIMLAPIError, places: Sequence[int]) -> dict[int, str]:
    """Say for each place why it has no vector."""
    kind, refused = type(error).__name__, getattr(error, "refused", {})
    if isinstance(error, APIStatusError):
        return {
            i: f"{kind}: {error.status_code} {refused.get(i, error.message)}".rstrip()
            for i in places
        }
    why = str(error)
    if isinstance(error, BudgetExceededError):
        # Its text is for whoever catches it; for a row it is enough which limit it was.
        why = f"not sent, {error.option}={error.limit:.15g} leaves no room for it"
    return dict.fromkeys(places, f"{kind}: {why}")
