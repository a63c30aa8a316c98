"""Checks of one body field. A check returns what is wrong with a value, or None.

The messages are worded as zod words them, the validator behind the gateway: its documentation
prints "Invalid enum value. Expected 'a' | 'b', received 'x'" (docs/errors-and-messages of github
aimlapi/api-docs, 2026-08-21).
"""

from __future__ import annotations

from collections.abc import Callable

Check = Callable[[object], str | None]

_KINDS = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def kind(value: object) -> str:
    """Return the name of the JSON type of a decoded value."""
    return _KINDS[type(value)]


def of_kind(expected: str) -> Check:
    """Accept every value of one JSON type."""

    def check(value: object) -> str | None:
        received = kind(value)
        return None if received == expected else f"Expected {expected}, received {received}"

    return check


def one_of(*allowed: str | int, nullable: bool = False) -> Check:
    """Accept the listed values, and null if `nullable`; a boolean is never one of the numbers."""
    listed = " | ".join(map(repr, allowed))

    def check(value: object) -> str | None:
        if (value is None and nullable) or (not isinstance(value, bool) and value in allowed):
            return None
        shown = repr(value) if type(value) in (str, int) else kind(value)
        return f"Invalid enum value. Expected {listed}, received {shown}"

    return check


def record(**checks: Check) -> Check:
    """Accept objects whose members pass the checks of their names; other members are ignored."""

    def check(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"Expected object, received {kind(value)}"
        problems = {name: checks[name](value[name]) for name in checks.keys() & value.keys()}
        return next((f"{name}: {text}" for name, text in problems.items() if text), None)

    return check


def integer(low: int, high: int, *, nullable: bool = False) -> Check:
    """Accept whole numbers from `low` to `high`, and null if `nullable`."""

    def check(value: object) -> str | None:
        if value is None and nullable:
            return None
        if type(value) is not int:
            received = "float" if type(value) is float else kind(value)
            return f"Expected integer, received {received}"
        if value < low:
            return f"Number must be greater than or equal to {low}"
        if value > high:
            return f"Number must be less than or equal to {high}"
        return None

    return check
