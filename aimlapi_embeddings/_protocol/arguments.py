"""Are these the arguments that a constructor takes? The same rules hold for client and adapters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast

from aimlapi_embeddings._catalog.foreign_names import NOT_NEEDED, RENAMED
from aimlapi_embeddings._catalog.models import nearest
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.secrets import Secret

Constructor = TypeVar("Constructor", bound=Callable[..., None])


def checked_arguments(
    *, passed_on: Iterable[str] = (), renamed: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Constructor], Constructor]:
    """Check the arguments of an `__init__` before Python does, whose messages name no remedy.

    Its signature stays as it is written, for editors and type checkers. It gets the key hidden.

    Args:
        passed_on: Arguments that it takes as `**options`.
        renamed: Names that people may try, and the argument that each of them stands for.
    """

    def decorate(constructor: Constructor) -> Constructor:
        parameters = inspect.signature(constructor).parameters.values()
        own = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
        names = list(dict.fromkeys([*own, *passed_on]))
        known = [(name,) for name in names]
        options = {**renamed, **{name: name for name in names}}

        @wraps(constructor)
        def checked(self: object, *positional: object, **given: Any) -> None:
            owner, misplaced = type(self).__name__, len(positional)
            del positional  # one of them may be a key
            check_positional(owner, misplaced, "model")
            hide_arguments(given, known, ["api_key"], Secret)
            check_arguments(owner, given, known, options)
            constructor(self, **given)

        return cast(Constructor, checked)

    return decorate


def check_positional(owner: str, count: int, model: str) -> None:
    """Refuse arguments without a name, as Python would.

    Args:
        owner: Class to name in the message.
        count: How many there are.
        model: The argument that was most likely meant by the first.
    """
    if count:
        raise TypeError(f"{owner} takes keyword arguments only: write {owner}({model}=...).")


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
    *,
    has_model: bool = False,
) -> None:
    """Refuse arguments that are not known or say the same thing twice, and a missing model.

    Frameworks swallow unknown arguments or echo their values; this does neither.

    Args:
        owner: Class to name in the message.
        given: Names of the arguments, without their values.
        known: For each argument all its names.
        options: The argument that stands for each option of the client.
        has_model: Whether the class names a model, as a subclass of the user's may.

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
    model = options["model"]
    if not has_model and not any(
        name in given for names in known if model in names for name in names
    ):
        raise ConfigurationError(
            f"{model} is missing. There is no default, because vectors of different models "
            "cannot be compared: name the one your index was built with, or one of "
            "supported_models()."
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
