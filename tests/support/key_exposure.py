"""Collects everything through which an error could expose the API key."""

from __future__ import annotations

import base64
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.entry_points import KEY

TESTS = Path(__file__).parents[1]


def forms(key: str = KEY) -> list[str]:
    """List encodings of a key from which the key can be recovered."""
    raw = key.encode()
    # Base64 of a text that holds the key differs for each of three offsets, and its first and
    # last characters depend on the neighbouring bytes.
    encoded = [base64.b64encode(b"_" * shift + raw).decode()[4:-4] for shift in range(3)]
    return [key, quote(key), quote(key, safe=""), raw.hex(), *encoded]


def assert_hidden(shown: str) -> None:
    """Fail if the text holds the key in any encoding."""
    for form in forms():
        at = shown.find(form)
        assert at < 0, f"shown: ...{shown[max(0, at - 300) : at + len(form) + 100]}..."


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """List an error, its causes and contexts, and the errors that these hold."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        link = todo.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__, *getattr(link, "exceptions", ())]
        if callable(details := getattr(link, "errors", None)):  # a pydantic error
            todo += [detail.get("ctx", {}).get("error") for detail in details()]


def all_of(error: BaseException) -> str:
    """Collect an error as text, as attributes, as a pickle, and as the locals of its frames."""
    shown = ["".join(traceback.format_exception(error))]
    for link in chain(error):
        shown += [str(link), repr(link), repr(link.args), repr(vars(link))]
        for name in ("errors", "json"):  # of pydantic errors
            if callable(details := getattr(link, name, None)):
                shown.append(str(details()))
        shown.append(pickle.dumps((link.args, vars(link)), 0).decode("latin-1"))
        shown += frames_of(link)
    return "\n".join(shown)


def frames_of(error: BaseException) -> list[str]:
    """List locals as rich, IPython and Sentry show them, and the attributes one level below.

    Frames of the tests are left out, because the tests hold the key themselves.
    """
    shown = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if TESTS in Path(frame.f_code.co_filename).parents:
            continue
        where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        for name, value in frame.f_locals.items():
            shown.append(f"{where} {name}={value!r}")
            secret = hasattr(
                value, "get_secret_value"
            )  # a SecretStr: its private attribute is the secret
            if hasattr(value, "__dict__") and not secret:
                shown.append(f"{where} vars({name})={vars(value)!r}")
    return shown
