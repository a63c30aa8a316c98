"""Do the options fit the model and each other?"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from numbers import Real
from sys import float_info
from threading import TIMEOUT_MAX  # of any wait, sockets' too; about 292 years
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from aimlapi_embeddings._catalog.families import ANY_SIZE, FAMILIES, Family, Model
from aimlapi_embeddings._catalog.models import did_you_mean, one_of
from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._types import TaskType
from aimlapi_embeddings._version import __version__

# RFC 9110, 5.1 and 5.5: a token; printable characters.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
_FRAMING = ("content-length", "transfer-encoding")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that shapes a request, checked."""

    id: str
    model: Model
    provider: Provider
    dimensions: int | None = None
    task_type: TaskType | None = None
    document_prefix: str | None = None
    query_prefix: str | None = None
    encoding_format: str | None = None
    too_long: str | None = None
    normalize: bool = False
    extra_body: Mapping[str, Any]
    batch_size: int


def as_integer(value: object) -> int | None:
    """Return an integer of any kind, NumPy's too, as an int; None for everything else.

    A bool is an integer to Python, but nobody means one by it.
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def check_dimensions(model: Model, dimensions: int | None) -> int | None:
    """Return dimensions, or say which sizes the model has."""
    if dimensions is None:
        return None
    if not model.dimensions:
        native = f" of {model.native_dimensions}" if model.native_dimensions else ""
        raise ConfigurationError(
            f"{model.id} gives vectors{native} only; dimensions={dimensions!r} is not possible."
        )
    size = as_integer(dimensions)
    if size is None or size not in model.dimensions:
        raise ConfigurationError(
            f"dimensions={dimensions!r} is not a size of {model.id}, which takes "
            f"{describe_sizes(model)}."
        )
    return size


def expected_size(options: Options) -> int | None:
    """Tell how many numbers each vector has to have, or None when that is not known.

    `extra_body` is written over our own fields, so its `dimensions` counts before the option. An
    unknown id that borrows the rules of a family has no size of its own.
    """
    if "dimensions" in options.extra_body:
        asked = as_integer(options.extra_body["dimensions"])
        return asked if asked and asked > 0 else None
    return options.dimensions or options.model.native_dimensions


def describe_sizes(model: Model) -> str:
    """Write the sizes of a model's vectors for people."""
    sizes = model.dimensions
    if sizes is ANY_SIZE:
        return "any positive integer"
    if isinstance(sizes, range):
        return f"{sizes.start} to {sizes.stop - 1}"
    return ", ".join(map(str, sizes))


def check_task_type(family: Family, task_type: str | None) -> TaskType | None:
    """Return the task type, or say which ones the family has."""
    if task_type is None:
        return None
    try:
        task = TaskType(task_type)
    except ValueError:
        names = [task.value for task in TaskType if task in family.tasks]
        if not names:
            raise ConfigurationError(f"{_no_task_types(family, task_type)}.") from None
        listed = ", ".join(map(repr, (*names, TaskType.NONE.value)))
        # NONE is the nearest name to many that do not exist, and hardly ever what was meant.
        meant = did_you_mean(str(task_type).upper(), names)
        raise ConfigurationError(f"task_type={task_type!r} is not one of {listed}{meant}") from None
    if task is TaskType.NONE or task in family.tasks:
        return task
    raise ConfigurationError(
        f"{_no_task_types(family, task.value)}, or use 'NONE' to send no role at all."
    )


def _no_task_types(family: Family, task_type: object) -> str:
    having = ", ".join(other.name for other in FAMILIES.values() if any(other.tasks))
    return (
        f"task_type={task_type!r} is not possible for the family {family.name!r}, which has no "
        f"task types; {having} has. Leave it out"
    )


def check_encoding_format(family: Family, encoding_format: str) -> str | None:
    """Return the value to send, or None to send nothing."""
    if one_of("encoding_format", encoding_format, ("auto", "float", "base64")) == "auto":
        return family.auto_encoding_format
    if encoding_format not in family.encoding_formats:
        raise ConfigurationError(
            f"encoding_format={encoding_format!r} is not possible for the family "
            f"{family.name!r}, which has no such field. Leave it at 'auto'."
        )
    return encoding_format


def check_too_long(family: Family, too_long: str | None) -> str | None:
    """Return too_long, or say which values there are."""
    return None if too_long is None else one_of("too_long", too_long, family.too_long)


def check_number(what: str, value: object) -> object:
    """Return value, as a plain int when it is an integer of another library; refuse a bool.

    pydantic would read True as 1, and does not know NumPy's integers.
    """
    if isinstance(value, bool):
        raise ConfigurationError(f"{what}={value!r} is not a number.")
    integer = as_integer(value)
    return value if integer is None else integer  # else for pydantic to read or to refuse


def check_integer(what: str, value: object, least: int) -> int:
    """Return value when it is an integer of at least `least`."""
    integer = as_integer(value)
    if integer is None or integer < least:
        raise ConfigurationError(f"{what}={value!r} is not an integer of {least} or more.")
    return integer


def _as_float(value: object) -> float | None:
    """Return a number of any kind, NumPy's too, as a float; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of 400 digits
        return None


def check_seconds(what: str, value: object, *, allow_zero: bool = False) -> float:
    """Return value when it is a positive, finite number."""
    number = _as_float(value)
    if number is None or not (0 < number <= TIMEOUT_MAX or (allow_zero and number == 0)):
        raise ConfigurationError(f"{what}={value!r} is not a positive number of seconds.")
    return number


def check_amount(what: str, value: object) -> float | None:
    """Return value when it is a positive, finite number; None stays None."""
    if value is None:
        return None
    number = _as_float(value)
    if number is None or not 0 < number <= float_info.max:
        remedy = " It is a string: leave out quotes and units." if isinstance(value, str) else ""
        raise ConfigurationError(f"{what}={value!r} is not a positive number.{remedy}")
    return number


class Timeouts(NamedTuple):
    """Seconds for each phase of a request, in the order of httpx; None waits for ever."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None


class _Phases(Protocol):
    """The shape of an `httpx.Timeout`."""

    @property
    def connect(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...
    @property
    def write(self) -> float | None: ...
    @property
    def pool(self) -> float | None: ...


TimeoutLike: TypeAlias = float | tuple[float | None, ...] | _Phases
"""A number of seconds, a pair (connect, read), or an `httpx.Timeout`."""


def check_timeout(value: object) -> float | Timeouts | None:
    """Return the seconds of a timeout, or None when it is left to the HTTP client.

    Args:
        value: A number, a pair of numbers `(connect, read)` as in requests, a tuple of four as in
            httpx, or an `httpx.Timeout`.
    """
    phases = timeout_phases(value)
    if phases is None:
        return None if value is None else check_seconds("timeout", value)
    if len(phases) not in (2, 4):
        raise ConfigurationError(
            f"timeout={value!r} is neither a number of seconds nor a pair (connect, read)."
        )
    checked = [
        None if seconds is None else check_seconds(f"timeout={value!r}: {name}", seconds)
        for name, seconds in zip(Timeouts._fields, phases, strict=False)
    ]
    connect, read = checked[:2]
    return Timeouts(*checked) if len(checked) == 4 else Timeouts(connect, read, read, connect)


def timeout_phases(value: object) -> tuple[object, ...] | None:
    """Take a timeout of several phases apart; None where it is something else."""
    if isinstance(value, tuple | list):
        return tuple(value)
    missing = object()  # told apart by its shape: httpx is imported in one module alone
    phases = tuple(getattr(value, name, missing) for name in Timeouts._fields)
    return None if missing in phases else phases


def check_flag(what: str, value: object) -> bool:
    """Return value when it is True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what}={value!r} is neither True nor False.")
    return value


def check_prefix(what: str, prefix: object, task_type: TaskType | None) -> str | None:
    """Return prefix when it is text that can be sent."""
    if prefix is None:
        return None
    if not isinstance(prefix, str) or not _is_utf8(prefix):
        raise ConfigurationError(f"{what} is not a string that can be sent.")
    if task_type is TaskType.NONE:
        raise ConfigurationError(f"task_type='NONE' sends no prefix; leave out {what}.")
    return str.__str__(prefix)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_headers(headers: object) -> dict[str, str]:
    """Return the headers of each request: the user's over ours."""
    if not isinstance(headers, Mapping | None):
        raise ConfigurationError("headers is not a mapping of names to strings.")
    ours = {
        "Content-Type": "application/json",
        "User-Agent": f"aimlapi-embeddings/{__version__}",
    }
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"headers has a name that HTTP does not allow: {name!r}.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"headers has a value for {name!r} that HTTP does not allow.")
        if name.lower() == "authorization":
            raise ConfigurationError("headers cannot hold Authorization; pass api_key instead.")
        if name.lower() in _FRAMING:
            raise ConfigurationError(f"headers cannot hold {name}, which follows from the body.")
        ours = {k: v for k, v in ours.items() if k.lower() != name.lower()} | {name: value}
    return ours


def check_extra_body(extra_body: object) -> dict[str, Any]:
    """Return the fields to add to each body."""
    if not isinstance(extra_body, Mapping | None):
        raise ConfigurationError("extra_body is not a mapping.")
    extra = dict(extra_body or {})
    if ours := sorted({"model", "input"} & extra.keys()):
        raise ConfigurationError(
            f"extra_body cannot hold {' and '.join(ours)}; leave it out: model is an option, and "
            "input comes from the texts."
        )
    try:
        msgspec.json.encode(extra)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"extra_body cannot be written as JSON: {error}.") from error
    return extra
