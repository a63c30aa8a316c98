"""May these values go to another process?"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from aimlapi_embeddings._errors import ConfigurationError


def check_picklable(owner: str, values: Mapping[str, object]) -> None:
    """Refuse to pickle what would arrive incomplete.

    Args:
        owner: Class to name in the message.
        values: What is to be pickled, by name.

    Raises:
        ConfigurationError: Names all values that cannot be pickled, and what to do.
    """
    if lost := unpicklable(values):
        raise ConfigurationError(
            f"{owner} cannot be pickled with {' and '.join(lost)}: connections and locks belong "
            "to one process. Leave it out where several processes work."
        )


class Packed:
    """A value inside a pickle that can be loaded without it.

    A handler that a notebook defines is not there in a worker process, and
    `multiprocessing.Pool` waits for ever for a task that its workers cannot load.

    Args:
        value: One that can be pickled.
    """

    def __init__(self, value: object) -> None:
        self._data = pickle.dumps(value)

    def load(self) -> Any:
        """Return the value; an error where this process cannot load it."""
        return pickle.loads(self._data)


def unpicklable(values: Mapping[str, object]) -> list[str]:
    """List the names of values that cannot be pickled."""
    return [name for name, value in values.items() if not _is_picklable(value)]


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever its type, the answer is no
        return False
    return True
