"""Are these the arguments that an adapter takes?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from aimlapi_embeddings._catalog.models import nearest
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.options import as_integer


def hide_arguments(
    given: dict[str, Any],
    known: Iterable[Sequence[str]],
    secrets: Collection[str],
    hidden: Callable[[Any], object],
) -> None:
    """Put values out of sight that are a key, or may be one under a name that is not known.

    Args:
        given: Arguments by name; changed in place, so that no frame keeps the original.
        known: For each argument all its names.
        secrets: Those of them that hold a key; whatever they hold is hidden.
        hidden: Wraps a value so that it shows only where it is asked for.
    """
    every = {name for names in known for name in names}
    for name, value in given.items():
        is_key = name in secrets and value is not None
        if is_key or (name not in every and isinstance(value, str)):
            given[name] = value if hasattr(value, "get_secret_value") else hidden(value)


def check_arguments(owner: str, given: Collection[str], known: Iterable[Sequence[str]]) -> None:
    """Refuse arguments that an adapter does not know, or that say the same thing twice.

    Frameworks swallow unknown arguments or echo their values; this does neither.

    Args:
        owner: Class to name in the message.
        given: Names of the arguments, without their values.
        known: For each argument all its names.

    Raises:
        ConfigurationError: Names the culprit, and the nearest name that exists.
    """
    known = [tuple(names) for names in known]
    every = [name for names in known for name in names]
    for name in given:
        if name not in every:
            raise ConfigurationError(
                f"{owner} has no argument {name!r}; did you mean {nearest(str(name), every)!r}?"
            )
    for names in known:
        if len(twice := [name for name in names if name in given]) > 1:
            raise ConfigurationError(
                f"{' and '.join(map(repr, twice))} are names of one argument of {owner}; give one."
            )


def check_number(what: str, value: object) -> object:
    """Return value, as a plain int when it is an integer of another library; refuse a bool.

    pydantic would read True as 1, and does not know NumPy's integers.
    """
    if isinstance(value, bool):
        raise ConfigurationError(f"{what}={value!r} is not a number.")
    integer = as_integer(value)
    return value if integer is None else integer  # else for pydantic to read or to refuse
