"""May these values go to another process?"""

from __future__ import annotations

import pickle
from collections.abc import Mapping

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


def unpicklable(values: Mapping[str, object]) -> list[str]:
    """List the names of values that cannot be pickled."""
    return [name for name, value in values.items() if not _is_picklable(value)]


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever its type, the answer is no
        return False
    return True
