"""How the texts of a stream are checked and sent, one by one."""

from __future__ import annotations

from collections.abc import Callable

from aimlapi_embeddings._engine.inputs import is_missing, why_bad
from aimlapi_embeddings._engine.long_texts import Shortener
from aimlapi_embeddings._errors import ConfigurationError, InvalidInputError
from aimlapi_embeddings._types import Usage


class Rules:
    """How the texts of a stream are checked and sent.

    Args:
        prefix: Put in front of each text.
        check_title: Raises when texts cannot have titles.
        judge: Is told the place of a text, what is sent of it and its tokens. Returns the error of
            a text that is not to be sent, else whether the provider may embed its beginning only.
        count: Is told what was saved, as replies tell what was spent.
        shortener: Cuts texts that are too long, or None.
        key_of: Names the vector of a text and its title in the cache; None where there is none.
    """

    def __init__(
        self,
        prefix: str,
        check_title: Callable[[], object],
        judge: Callable[[int, str, int], Exception | bool],
        count: Callable[[Usage], None],
        shortener: Shortener | None = None,
        key_of: Callable[[str, str | None], bytes] | None = None,
    ) -> None:
        self.prefix = prefix
        self.check_title = check_title
        self.judge = judge
        self.count = count
        self.shortener = shortener
        self.key_of = key_of

    def why_not(self, place: int, text: object, title: object) -> Exception | None:
        """Return the error of an item that cannot be embedded, or None."""
        if title is not None:
            try:
                self.check_title()
            except ConfigurationError as error:
                return ConfigurationError(
                    f"texts[{place}] is a tuple of two, which is read as a text and its title, "
                    f"and {error} A text without a title is passed alone: the text, and no tuple."
                )
            if why := why_bad(title):
                return _invalid(f"has a title that {why}", place, title)
        if why := why_bad(text):
            return _invalid(why, place, text)
        return None


def _invalid(why: str, place: int, item: object) -> InvalidInputError:
    if isinstance(item, str) or is_missing(item):
        remedy = (
            "Leave it out together with its id and metadata, or pass "
            'on_invalid="none" to get None in its place.'
        )
    else:  # a mistake of the program, and not of its data
        remedy = "An item is a string, or a tuple (text, title)."
    return InvalidInputError(
        f"texts[{place}] {why}. All vectors before it were yielded. {remedy}",
        (place,),
        {place: why},
    )
