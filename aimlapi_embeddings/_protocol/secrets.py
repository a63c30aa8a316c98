"""Where does the key come from, and how does it stay hidden?"""

from __future__ import annotations

import os
import re
from typing import AnyStr, Protocol

from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._errors import ConfigurationError

# A shorter key is a placeholder for tests, and replacing it would garble ordinary words.
_SHORTEST_SECRET = 8
# What is no key, and why; a key that is wrong for another reason is for the server to refuse.
_NO_KEYS = tuple(
    (re.compile(pattern, re.I | re.S), why)
    for pattern, why in (
        (
            r"""["'`\u2018-\u201f].*|.*["'`\u2018-\u201f]""",
            "has quotation marks around it; leave them out",
        ),
        (
            r"(?:authorization:\s*)?bearer\s.*",
            "begins with 'Bearer', which is added when it is sent; pass the key alone",
        ),
        (r"<.*>", "is a placeholder in angle brackets; replace it by the key"),
        (
            r"\$\w+|\$?\{.*\}|%\w+%",
            "is the name of a variable, and not its value",
        ),
        (r"\*+", "is the mask that stands for a hidden key; pass the key itself"),
        # RFC 9110, 5.5: what a header can carry.
        (
            r"(?![\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z).*",
            "has a character that cannot be sent, or a blank or line break around it",
        ),
    )
)


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


def as_secret(api_key: object) -> SecretLike | None:
    """Wrap whatever was passed as a key, so that `repr` hides it, unless it is wrapped already."""
    known = api_key is None or hasattr(api_key, "get_secret_value")
    return api_key if known else Secret(api_key)  # type: ignore[return-value, arg-type]


def find_key(provider: Provider, api_key: SecretLike | None) -> SecretLike:
    """Take the key as given, else from the provider's own variable."""
    key = api_key or Secret(os.environ.get(provider.api_key_variable, ""))
    if not isinstance(key.get_secret_value(), str):
        raise ConfigurationError("api_key is not a string, and does not hold one.")
    if not key.get_secret_value().strip():
        raise ConfigurationError(
            f"no API key: set {provider.api_key_variable}, or pass api_key. Keys are made at "
            f"{provider.keys_page}."
        )
    source = name_of_key(provider, key)
    for pattern, why in _NO_KEYS:
        if pattern.fullmatch(key.get_secret_value()):
            raise ConfigurationError(f"{source} {why}.")
    return key


def name_of_key(provider: Provider, key: SecretLike) -> str:
    """Tell where a key is set: in the provider's variable, or by the caller."""
    variable = provider.api_key_variable
    return variable if key.get_secret_value() == os.environ.get(variable) else "api_key"


def hide(key: SecretLike, text: AnyStr) -> AnyStr:
    """Replace the key in a text or body of a server by asterisks."""
    if len(key.get_secret_value()) < _SHORTEST_SECRET:
        return text
    if isinstance(text, str):
        return text.replace(key.get_secret_value(), "**********")
    return text.replace(key.get_secret_value().encode(), b"**********")
