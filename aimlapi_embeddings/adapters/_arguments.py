"""Are these the arguments that an adapter takes?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aimlapi_embeddings._catalog.foreign_names import NOT_NEEDED, RENAMED
from aimlapi_embeddings._catalog.models import nearest
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.options import as_integer


def hide_arguments(
    given: dict[str, Any],
    known: Iterable[Sequence[str]],
    secrets: Collection[str],
    hidden: Callable[[Any], object],
) -> None:
    """Wrap values that are a key, or may be one under a name that is not known.

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


def check_arguments(
    owner: str,
    given: Collection[str],
    known: Iterable[Sequence[str]],
    options: Mapping[str, str],
) -> None:
    """Refuse arguments that an adapter does not know, or that say the same thing twice.

    Frameworks swallow unknown arguments or echo their values; this does neither.

    Args:
        owner: Class to name in the message.
        given: Names of the arguments, without their values.
        known: For each argument all its names.
        options: The argument that stands for each option of the client.

    Raises:
        ConfigurationError: Names the culprit, and what to write instead.
    """
    known = [tuple(names) for names in known]
    every = [name for names in known for name in names]
    for name in given:
        if name not in every:
            remedy = _instead(name, known, options)
            raise ConfigurationError(f"{owner} has no argument {name!r}{remedy}")
    for names in known:
        if len(twice := [name for name in names if name in given]) > 1:
            raise ConfigurationError(
                f"{' and '.join(map(repr, twice))} are names of one argument of {owner}; give one."
            )


def _instead(name: str, known: Sequence[Sequence[str]], options: Mapping[str, str]) -> str:
    """Say what to write instead of an argument that does not exist."""
    if why := NOT_NEEDED.get(name):
        return f": it is not needed, since {why}. Remove it."
    if (ours := options.get(RENAMED.get(name, name))) is not None:
        return f"; it is called {ours!r} here."
    if near := nearest(name, [each for names in known for each in names]):
        return f"; did you mean {near!r}?"
    return f". It has {', '.join(names[0] for names in known)}."


def check_number(what: str, value: object) -> object:
    """Return value, as a plain int when it is an integer of another library; refuse a bool.

    pydantic would read True as 1, and does not know NumPy's integers.
    """
    if isinstance(value, bool):
        raise ConfigurationError(f"{what}={value!r} is not a number.")
    integer = as_integer(value)
    return value if integer is None else integer  # else for pydantic to read or to refuse
