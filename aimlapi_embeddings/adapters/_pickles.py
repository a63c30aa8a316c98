"""What of the values of a model goes into a pickle, and what becomes of it where it is loaded?

What changes vectors or limits has to arrive, or the pickle is refused. What only watches or
remembers is left out where it cannot go, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel

from aimlapi_embeddings._protocol.pickling import Packed, check_picklable, unpicklable


def pack(
    owner: type[BaseModel],
    values: Mapping[str, Any],
    observers: Collection[str],
    options: Collection[str],
) -> dict[str, Any]:
    """Return the values as they are pickled.

    Args:
        owner: The class of the model.
        values: Of its fields.
        observers: Fields that a pickle can do without.
        options: Fields that the client has too, whose values are therefore always loaded.

    Raises:
        ConfigurationError: Another field cannot be pickled.
    """
    watching = {name: values[name] for name in observers}
    check_picklable(owner.__name__, {n: v for n, v in values.items() if n not in watching})
    if lost := unpicklable(watching):
        warnings.warn(
            f"{owner.__name__} is pickled without {' and '.join(lost)}, which cannot be "
            "pickled; vectors and limits stay the same.",
            stacklevel=3,
        )
    packed = {n: Packed(v) for n, v in watching.items() if n not in (*lost, *options)}
    return {**values, **_defaults(owner, lost), **packed}


def unpack(owner: type[BaseModel], packed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a pickle; the default in place of what cannot be loaded here."""
    values, lost = dict(packed), []
    for name, value in packed.items():
        if isinstance(value, Packed):
            try:
                values[name] = value.load()
            except Exception as error:  # of the user's classes
                lost.append(f"{name} ({type(error).__name__}: {error})")
                values |= _defaults(owner, [name])
    if lost:
        with suppress(UserWarning):  # raised, it would keep a worker from loading its task
            warnings.warn(
                f"{owner.__name__} is loaded without {' and '.join(lost)}; vectors and "
                "limits stay the same.",
                stacklevel=3,
            )
    return values


def _defaults(owner: type[BaseModel], names: Iterable[str]) -> dict[str, Any]:
    fields = owner.model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in names}
