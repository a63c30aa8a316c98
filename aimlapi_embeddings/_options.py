"""Which model is meant, and do the options fit it and each other?"""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._families import ANY_SIZE, FAMILIES, GENERIC, MODELS, NUGEN, Family, Model
from aimlapi_embeddings._providers import PROVIDERS, Provider
from aimlapi_embeddings._types import TaskType

_UNKNOWN = {"aimlapi": GENERIC, "nugen": NUGEN}
_INSIDE = re.compile(r"((langchain_|llama_index_)?aimlapi_embeddings|pydantic)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
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
    extra_body: Mapping[str, Any]
    batch_size: int


def supported_models() -> tuple[Model, ...]:
    """Tell which models are known, with their family, sizes and limits.

    Other ids work too: they get a plain OpenAI-shaped request, or the rules of `family=`.
    """
    return MODELS


def nearest(name: str, names: Iterable[str]) -> str:
    """Find the name that was most likely meant."""
    return difflib.get_close_matches(name, list(names), n=1, cutoff=0.0)[0]


def one_of(what: str, value: object, choices: Iterable[str]) -> str:
    """Return value, or say which choices there are."""
    choices = list(choices)
    if value in choices:
        return str(value)
    raise ConfigurationError(
        f"{what}={value!r} is not one of {', '.join(map(repr, choices))}; "
        f"did you mean {nearest(str(value), choices)!r}?"
    )


def find_provider(model: str, provider: str | None) -> Provider:
    """Take the provider as given, else from the model, else the gateway."""
    if provider is not None:
        return PROVIDERS[one_of("provider", provider, PROVIDERS)]
    known = _known(model)
    return PROVIDERS[known[0].family.provider if known else "aimlapi"]


def find_model(model: str, provider: Provider, family: str | None) -> Model:
    """Find the row of a model; warn when it is unknown or retired.

    An unknown id gets the rules of `family`, with the limits of that family's first model.
    """
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(
            f"model={model!r} is not a model id. There is no default, because vectors of different "
            "models cannot be compared: name the one your index was built with."
        )
    rules = FAMILIES[one_of("family", family, FAMILIES)] if family is not None else None
    known = [row for row in _known(model) if row.family.provider == provider.name]
    if known:
        row = known[0]
        if rules not in (None, row.family):
            raise ConfigurationError(
                f"family={family!r} contradicts model={model!r}, which is of the family "
                f"{row.family.name!r}. Leave family out."
            )
        if row.retired:
            _warn(
                f"{model} left the list of {provider.name} on {row.retired} and may answer 404. "
                f"A living neighbour is {row.successor}; its vectors cannot be compared with "
                "those of an existing index, which has to be embedded anew."
            )
        return row
    if rules is None:
        rules = _UNKNOWN[provider.name]
        ids = [id for row in MODELS if row.family.provider == provider.name for id in names(row)]
        _warn(
            f"{model} is not a model this version knows for {provider.name}; it gets a plain "
            f"request without a role. The nearest known id is {nearest(model, ids)}. "
            f"If it follows the rules of a known family, say so with family=..."
        )
    return _unknown_model(model, rules)


def names(row: Model) -> tuple[str, ...]:
    """List the id and the aliases of a row."""
    return (row.id, *row.aliases)


def _known(model: str) -> list[Model]:
    return [row for row in MODELS if model in names(row)]


def _unknown_model(model: str, family: Family) -> Model:
    pattern = next((row for row in MODELS if row.family is family and not row.retired), None)
    takes_dimensions = family is GENERIC or (pattern is not None and bool(pattern.dimensions))
    dimensions = ANY_SIZE if takes_dimensions else ()
    if pattern is None:
        return Model(id=model, family=family, dimensions=dimensions)
    return replace(pattern, id=model, aliases=(), native_dimensions=None, dimensions=dimensions)


def _warn(message: str) -> None:
    """Warn at the line outside of this project (and pydantic) that built the client."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and _INSIDE.match(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def check_dimensions(model: Model, dimensions: int | None) -> int | None:
    """Return dimensions, or say which sizes the model has."""
    if dimensions is None:
        return None
    if not model.dimensions:
        size = f" of {model.native_dimensions}" if model.native_dimensions else ""
        raise ConfigurationError(
            f"{model.id} gives vectors{size} only; dimensions={dimensions!r} cannot be asked of it."
        )
    if type(dimensions) is not int or dimensions not in model.dimensions:
        raise ConfigurationError(
            f"dimensions={dimensions!r} is not a size of {model.id}, which takes "
            f"{describe_sizes(model)}."
        )
    return dimensions


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
        raise ConfigurationError(
            f"task_type={task_type!r} does not exist; did you mean "
            f"{nearest(str(task_type).upper(), TaskType.__members__)!r}?"
        ) from None
    if task is TaskType.NONE or task in family.tasks:
        return task
    with_tasks = ", ".join(f.name for f in FAMILIES.values() if task in f.tasks)
    raise ConfigurationError(
        f"task_type={task.value!r} cannot be asked of the family {family.name!r}, which has no "
        f"task types; {with_tasks} has. Leave it out, or use 'NONE' to send no role at all."
    )


def check_encoding_format(family: Family, encoding_format: str) -> str | None:
    """Return the value to send, or None to send nothing."""
    if one_of("encoding_format", encoding_format, ("auto", "float", "base64")) == "auto":
        return family.auto_encoding_format
    if encoding_format not in family.encoding_formats:
        raise ConfigurationError(
            f"encoding_format={encoding_format!r} cannot be asked of the family "
            f"{family.name!r}, which has no such field. Leave it at 'auto'."
        )
    return encoding_format


def check_too_long(family: Family, too_long: str | None) -> str | None:
    """Return too_long, or say what the family can do."""
    if too_long is None or one_of("too_long", too_long, ("error", "truncate")) in family.too_long:
        return too_long
    able = ", ".join(f.name for f in FAMILIES.values() if too_long in f.too_long)
    raise ConfigurationError(
        f"too_long={too_long!r} cannot be asked of the family {family.name!r}; {able} can. Leave "
        "it out and the server decides."
    )


def check_integer(what: str, value: object, least: int) -> int:
    """Return value when it is an integer of at least `least`."""
    if type(value) is not int or value < least:
        raise ConfigurationError(f"{what}={value!r} is not an integer of {least} or more.")
    return value


def check_seconds(what: str, value: object, *, allow_zero: bool = False) -> float:
    """Return value when it is a positive, finite number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (0 < value <= sys.float_info.max or (allow_zero and value == 0)):  # type: ignore[operator]
        raise ConfigurationError(f"{what}={value!r} is not a positive number of seconds.")
    return float(value)  # type: ignore[arg-type]


def endpoint(provider: Provider, base_url: str, *, allow_http: bool) -> str:
    """Put the URL of the endpoint together.

    A base URL of a host alone gets the provider's own path; one that names the endpoint is kept.
    """
    try:
        parts = urlsplit(base_url.strip())
        parts.port  # noqa: B018  (raises on a port that is not a number)
    except (ValueError, AttributeError, TypeError):
        parts = urlsplit("")
    if "@" in str(base_url).partition("//")[2].partition("/")[0]:
        raise ConfigurationError("base_url holds a user name or password; pass api_key instead.")
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not re.fullmatch(r"[\w.:%-]+", host):
        raise ConfigurationError(
            f"base_url={base_url!r} is not an http(s) URL; the usual one is {provider.base_url!r}."
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(base_url):
        raise ConfigurationError(
            f"base_url={base_url!r} would send the API key unencrypted to another machine. Use "
            "https, or allow it by name with allow_http=True."
        )
    path = parts.path.rstrip("/") or urlsplit(provider.base_url).path
    if not path.endswith("/embeddings"):
        path += "/embeddings"
    return parts._replace(path=path, fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
