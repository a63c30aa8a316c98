"""Which client belongs to the present values of the fields?

It is asked in each call, since fields can be assigned, and mappings among them changed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any, Literal, NamedTuple

from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings.adapters._validation import rename

# Options whose values are shared by copies, and compared by what they are.
HANDED_OVER = ("http_client", "async_http_client", "rate_limiter", "cache")


class Built(NamedTuple):
    """A client, and the options that it was built with."""

    client: EmbeddingsClient
    options: dict[str, Any]

    def has(self, options: Mapping[str, Any]) -> bool:
        """Tell whether these are its options."""
        mine = self.options
        return mine == options and all(mine[name] is options[name] for name in HANDED_OVER)


class Seen(NamedTuple):
    """A client, and what the fields were when it was found to be theirs."""

    client: EmbeddingsClient
    values: list[Any]
    changeable: list[object]

    def is_of(self, values: Iterable[Any], changeable: list[object]) -> bool:
        """Tell in a microsecond that nothing was assigned or changed; a comparison takes six.

        Args:
            values: The present values of all fields.
            changeable: Copies of those that can be changed in place.
        """
        return all(map(is_, self.values, values)) and self.changeable == changeable


def build_client(
    provider: Literal["aimlapi", "nugen"],
    options: Mapping[str, Any],
    names: Mapping[str, str],
    classes: Mapping[str, str],
) -> EmbeddingsClient:
    """Build a client; its errors name the fields and classes of the framework.

    Args:
        provider: Of the client.
        options: By the client's names. It has defaults for those that are None.
        names: What the caller typed, by the client's names.
        classes: The framework's classes by provider.

    Raises:
        ConfigurationError: The options cannot work.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        return EmbeddingsClient(provider=provider, **chosen)
    except ConfigurationError as error:
        said = str(error)
        for other, name in classes.items():
            said = said.replace(f"provider={other!r}", name)
        refused = rename(ConfigurationError(said), names)
    raise refused
