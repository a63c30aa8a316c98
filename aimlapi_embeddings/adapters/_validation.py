"""How do pydantic's errors name an argument as it was typed, and show none that may be secret?

pydantic keeps the value that was refused in `errors()` and `json()`, in those of an outer model
too, and shows it unless the outermost model hides it. For an error that concerns the whole model
that value is the dict of all arguments, key included. So the errors of an adapter are written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.secrets import Secret

_HIDDEN = "**********"
_KNOWN_TYPES = frozenset(get_args(ErrorType))


def rename(error: ConfigurationError, names: Mapping[str, str]) -> ConfigurationError:
    """Say in the caller's names what the client says in its own.

    Args:
        error: Of the client.
        names: What the caller typed, by the name that the client uses.
    """
    message = str(error)
    for ours, typed in names.items():
        # "model" is a common noun too; "timeout()" would be a function.
        pattern = rf"\b{ours}(?==)" if ours == "model" else rf"(?<![\w.]){ours}\b(?!\()"
        if ours != typed:
            message = re.sub(pattern, typed, message)
    return ConfigurationError(message)


def refusal(owner: str, error: ConfigurationError) -> ValidationError:
    """Write an error of the client as pydantic's, with nothing of what was given."""
    line = InitErrorDetails(type="value_error", loc=(), input=_HIDDEN, ctx={"error": error})
    return _error(owner, [line])


def without_inputs(
    error: ValidationError, names: Mapping[str, str], title: str | None = None
) -> ValidationError:
    """Write an error anew, without the values that were given.

    Args:
        error: Of pydantic.
        names: What the caller typed, by the name of the field.
        title: Instead of the error's own.
    """
    lines: list[InitErrorDetails] = []
    for detail in error.errors(include_url=False):
        kind, context = detail["type"], detail.get("ctx", {})
        if isinstance(said := context.get("error"), ConfigurationError):
            context = {**context, "error": rename(said, names)}
        first, *rest = detail["loc"] or ("",)
        line = InitErrorDetails(
            type=kind if kind in _KNOWN_TYPES else PydanticCustomError(kind, detail["msg"]),
            loc=(names.get(str(first), first), *rest) if detail["loc"] else (),
            input=_HIDDEN,
        )
        lines.append({**line, "ctx": context} if context else line)
    return _error(title or error.title, lines)


def _error(title: str, lines: list[InitErrorDetails]) -> ValidationError:
    error = ValidationError.from_exception_data(title, lines, hide_input=True)
    error.args = ()  # as those that pydantic raises itself; they would not pickle
    return error


def as_typed(owner: str, given: Any, error: ValidationError) -> ValidationError:
    """Put what was typed into the first line of an error, where it is a plain number or None."""
    shown = ""
    if not isinstance(given, Mapping):
        shown = f".model_validate({given!r})" if given is None else ""
    elif (name := _culprit(error)) in given:
        value = given[name]
        shown = f"({name}={value!r})" if isinstance(value, int | float | None) else ""
    return without_inputs(error, {}, owner + shown)


def _culprit(error: ValidationError) -> str:
    """Name the argument that an error is about."""
    detail = error.errors(include_url=False)[0]
    said = re.match(r"(\w+)=", str(detail.get("ctx", {}).get("error", "")))
    return said[1] if said else str(next(iter(detail["loc"]), ""))


def hidden(value: Any) -> SecretStr | Secret:
    """Wrap what is given as the key; pydantic refuses what is not text."""
    if isinstance(value, bytes):  # which pydantic takes for a string
        value = value.decode(errors="replace")
    return SecretStr(value) if isinstance(value, str) else Secret(value)
