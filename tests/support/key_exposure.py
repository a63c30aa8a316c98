"""Where a key could show: everything that a person, a log or a debugger gets to see of an error."""

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
    """Write a key in every way that still gives it away."""
    raw = key.encode()
    # Base64 of a longer text that holds the key looks different for each of three offsets; the
    # first and last signs depend on what is around it.
    encoded = [base64.b64encode(b"_" * shift + raw).decode()[4:-4] for shift in range(3)]
    return [key, quote(key), quote(key, safe=""), raw.hex(), *encoded]


def assert_hidden(shown: str) -> None:
    """Search what was shown for the key."""
    for form in forms():
        at = shown.find(form)
        assert at < 0, f"shown: ...{shown[max(0, at - 300) : at + len(form) + 100]}..."


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """List an error, what caused it, what was handled meanwhile, and what they hold of others."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        link = todo.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [link.__cause__, link.__context__, *getattr(link, "exceptions", ())]
        if callable(details := getattr(link, "errors", None)):  # pydantic's
            todo += [detail.get("ctx", {}).get("error") for detail in details()]


def all_of(error: BaseException) -> str:
    """Collect what can be seen of an error: as text, as data, as a pickle, and in its frames."""
    shown = ["".join(traceback.format_exception(error))]
    for link in chain(error):
        shown += [str(link), repr(link), repr(link.args), repr(vars(link))]
        for name in ("errors", "json"):  # pydantic's
            if callable(details := getattr(link, name, None)):
                shown.append(str(details()))
        shown.append(pickle.dumps((link.args, vars(link)), 0).decode("latin-1"))
        shown += frames_of(link)
    return "\n".join(shown)


def frames_of(error: BaseException) -> list[str]:
    """Dump locals the way rich, IPython and Sentry do, and what debuggers unfold beneath them.

    Frames of the tests are left out: they hold the key by right.
    """
    shown = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if TESTS in Path(frame.f_code.co_filename).parents:
            continue
        where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
        for name, value in frame.f_locals.items():
            shown.append(f"{where} {name}={value!r}")
            secret = hasattr(value, "get_secret_value")  # and shows it to who asks by this name
            if hasattr(value, "__dict__") and not secret:
                shown.append(f"{where} vars({name})={vars(value)!r}")
    return shown
