"""Can these texts and titles be embedded at all? Asked before money is spent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from aimlapi_embeddings._errors import ConfigurationError, InvalidInputError
from aimlapi_embeddings._slices import Work, at_once
from aimlapi_embeddings._types import Role

_SHOWN_INDICES = 10
_TEXTS_PER_STEP = 1024


def check_texts(texts: object, role: Role = "document") -> list[str]:
    """Do the work of `checking_texts` at once."""
    return at_once(checking_texts(texts, role))


def checking_texts(texts: object, role: Role) -> Work[list[str]]:
    """Return texts as plain strings when each can be embedded.

    The sequence is read once. A subclass of `str` becomes a `str` before anything else looks at
    it: its own `__eq__`, `__hash__` or `encode` could put a vector on the wrong text.

    Args:
        texts: A list, tuple or other sequence of strings.
        role: Whether errors say "texts" or "the query".

    Raises:
        InvalidInputError: It is not a sequence, or holds something that is not a string, is empty,
            or has no UTF-8 form. Names all bad places.
    """
    if not isinstance(texts, Sequence) or isinstance(texts, str | bytes | bytearray | memoryview):
        kind = type(texts).__name__
        raise InvalidInputError(
            f"texts must be a list of strings, not {_article(kind)} {kind}.{_as_list(texts)}"
        )
    given = list(texts)
    plain: list[Any] = []
    bad: list[tuple[int, str]] = []
    for start in range(0, len(given), _TEXTS_PER_STEP):
        step = given[start : start + _TEXTS_PER_STEP]
        step = [str.__str__(text) if isinstance(text, str) else text for text in step]
        bad += [(i, why) for i, text in enumerate(step, start) if (why := why_bad(text))]
        plain += step
        yield
    if bad and role == "query" and len(plain) == 1:
        raise InvalidInputError(
            f"the query {bad[0][1]}. Nothing was sent; a query is a string of one character or "
            "more.",
            (0,),
            dict(bad),
        )
    if bad:
        what = "queries" if role == "query" else "texts"
        shown = "; ".join(f"{what}[{i}] {why}" for i, why in bad[:_SHOWN_INDICES])
        more = f"; and {len(bad) - _SHOWN_INDICES} more" if len(bad) > _SHOWN_INDICES else ""
        raise InvalidInputError(
            f"{len(bad)} of {len(plain)} {what} cannot be embedded: {shown}{more}. Nothing was "
            "sent; replace them, or leave them out together with their ids and metadata.",
            tuple(i for i, _ in bad),
            dict(bad),
        )
    return plain


def _as_list(texts: object) -> str:
    """Say how to make a list of strings of what was passed instead; "" where that is not known."""
    if isinstance(texts, str):
        return " Put the one text into a list: [text]."
    if what := _text_of(texts):
        return f" Put the text of it into a list: [{what}]."
    if hasattr(texts, "tolist"):  # NumPy's arrays, a Series of pandas
        return " Pass texts.tolist()."
    if hasattr(texts, "to_list"):  # polars
        return " Pass texts.to_list()."
    if hasattr(texts, "columns"):  # a table
        return " Pass one of its columns as a list: texts['...'].to_list()."
    if isinstance(texts, Iterator):
        return " Pass list(texts). embed_iter and embed_documents_iter take any iterable."
    return " Pass list(texts)." if isinstance(texts, Iterable) else ""


def _text_of(document: object) -> str | None:
    """Say how to get the text of a document of LangChain or LlamaIndex."""
    if hasattr(document, "page_content"):
        return "document.page_content"
    return "document.get_content()" if hasattr(document, "get_content") else None


# Half of a pair of surrogates without its other half.
_LONE_SURROGATE = re.compile(
    "[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]"
)


def is_missing(item: object) -> bool:
    """Tell whether a value stands for a text that is missing: None, NaN, or NA of pandas."""
    if item is None or (isinstance(item, float) and item != item):
        return True
    return type(item).__name__ in ("NAType", "NaTType")


def why_bad(text: object) -> str | None:
    """Say why this is not a text that can be embedded; None when it is one."""
    if not isinstance(text, str):
        kind = type(text).__name__
        if text is not None and is_missing(text):
            return "is NaN, a value that is missing; leave it out, in pandas with .dropna()"
        if what := _text_of(text):
            return f"is {_article(kind)} {kind}; pass its text, {what}"
        if hasattr(text, "as_py"):  # a scalar of PyArrow
            return f"is {_article(kind)} {kind}; pass its text, text.as_py()"
        if hasattr(text, "tolist"):
            return f"is {_article(kind)} {kind}; texts are strings, so pass str(...) of it"
        return "is None" if text is None else f"is {_article(kind)} {kind}"
    if not text:
        return "is empty"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if lone := _LONE_SURROGATE.search(text):
            return f"has a lone surrogate at character {lone.start()}, which UTF-8 cannot write"
        return (
            f"has a surrogate pair at character {error.start}, one character that was decoded as "
            "two halves; text.encode('utf-16', 'surrogatepass').decode('utf-16') puts them together"
        )
    return None


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" or noun == "ndarray" else "a"


def check_source(texts: object, *, is_async: bool) -> None:
    """Refuse what is no source of texts for a stream.

    Args:
        texts: An iterable of texts, or of pairs (text, title).
        is_async: Whether the source may be an async iterable.

    Raises:
        InvalidInputError: Says what to pass instead.
    """
    if isinstance(texts, AsyncIterable):
        if is_async:
            return
        raise InvalidInputError(
            "texts is an async iterable, which only aembed_iter can read; embed_iter reads "
            "ordinary ones."
        )
    one = isinstance(texts, str | bytes | bytearray | memoryview) or _text_of(texts) is not None
    table = hasattr(texts, "columns")  # whose items are its columns, or their names
    if one or table or isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise InvalidInputError(
            f"texts must be an iterable of strings or of pairs (text, title), not "
            f"{_article(kind)} {kind}.{'' if isinstance(texts, Mapping) else _as_list(texts)}"
        )


def check_titles_fit(titles: object, texts: Sequence[str]) -> list[str | None]:
    """Return titles as plain strings when there is one, or None, for each text."""
    plain = list(titles) if isinstance(titles, Sequence) and not isinstance(titles, str) else None
    if plain is None or len(plain) != len(texts):
        raise ConfigurationError(
            f"titles must be a list with one string or None for each of the {len(texts)} texts."
        )
    for i, title in enumerate(plain):
        if title is not None and (why := why_bad(title)):
            said = f"titles[{i}] {why}; use None for no title."
            raise InvalidInputError(said, (i,), {i: f"its title {why}"})
    return [str.__str__(title) if isinstance(title, str) else None for title in plain]
