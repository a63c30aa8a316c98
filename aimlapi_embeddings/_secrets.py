"""Where does the key come from, and how does it stay hidden?"""

from __future__ import annotations

import os
from typing import Protocol

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._providers import Provider

# A shorter key is a placeholder, and hiding it would garble words.
_SHORTEST_SECRET = 8


class Secret:
    """A key that shows only where it is asked for by name, like pydantic's `SecretStr`."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"


class SecretLike(Protocol):
    """pydantic's `SecretStr`, or anything that hides a string the same way."""

    def get_secret_value(self) -> str:
        """Return the string itself."""


def find_key(provider: Provider, api_key: SecretLike | None) -> SecretLike:
    """Take the key as given, else from the provider's own variable."""
    key = api_key or Secret(os.environ.get(provider.api_key_variable, ""))
    if not key.get_secret_value().strip():
        raise ConfigurationError(
            f"no API key: set {provider.api_key_variable}, or pass api_key. Keys are made at "
            f"{provider.keys_page}."
        )
    return key


def hide(key: SecretLike, body: bytes) -> bytes:
    """Take the key out of what a server said."""
    if len(key.get_secret_value()) < _SHORTEST_SECRET:
        return body
    return body.replace(key.get_secret_value().encode(), b"**********")
