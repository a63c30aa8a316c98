"""Family, role, options and texts -> the JSON body of a request."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from aimlapi_embeddings._catalog.families import Model, TooLong
from aimlapi_embeddings._catalog.models import family_of
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.endpoint import base_of, location
from aimlapi_embeddings._protocol.options import Options, check_task_type
from aimlapi_embeddings._types import Role, TaskType

_ROLES: tuple[Role, Role] = ("document", "query")


class RoleFields(NamedTuple):
    """How a role is sent: fields of the body, and a prefix in front of each input."""

    fields: dict[str, Any]
    prefix: str


def role_fields(options: Options, role: Role, task_type: str | None) -> RoleFields:
    """Find what is sent for a role and a task type by the rules of the model's family."""
    family = options.model.family
    task = options.task_type if task_type is None else check_task_type(family, task_type)
    fields: dict[str, Any] = dict(too_long_rule(options).fields)
    if not isinstance(role, str) or role not in ("document", "query"):
        raise ConfigurationError(f"role={role!r} is neither 'document' nor 'query'.")
    if task is TaskType.NONE:
        return RoleFields(fields, "")
    value = family.tasks.get(task, {}).get(role)
    prefix = options.query_prefix if role == "query" else options.document_prefix
    if family.role_field and value:
        fields = {family.role_field: value, **fields}
    return RoleFields(fields, family.prefixes.get(role, "") if prefix is None else prefix)


def too_long_rule(options: Options) -> TooLong:
    """Tell how the choice for texts that are too long is carried out."""
    return options.model.family.too_long[options.too_long] if options.too_long else TooLong()


def identity(options: Options, url: str) -> dict[str, Any]:
    """Name what decides the vectors by option, in one spelling for all that send the same requests.

    Options that can be left out without changing a request are None. The query of the URL is not
    part of it.
    """
    family = options.model.family
    return {
        "model": options.id,
        "base_url": base_of(options.provider, url),
        "dimensions": options.dimensions,
        "family": None if family is family_of(options.id, options.provider) else family.name,
        **_shortest_roles(options),
        "normalize": options.normalize,
        "extra_body": msgspec.json.decode(msgspec.json.encode(options.extra_body, order="sorted")),
    }


def _shortest_roles(options: Options) -> dict[str, Any]:
    """Find the first choice of options that sends documents and queries as the present one does."""
    choices: dict[str, Sequence[Any]] = {
        "too_long": (None, options.too_long),
        "query_prefix": (None, options.query_prefix),
        "document_prefix": (None, options.document_prefix),
        "task_type": (None, *TaskType),
    }
    same = _decisions(options)
    tried = (
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    )
    return next(c for c in tried if _decisions(msgspec.structs.replace(options, **c)) == same)


def _decisions(options: Options) -> tuple[RoleFields, RoleFields, str | None]:
    """Find how documents and queries are sent, and what is done here to texts that are too long."""
    document, query = (role_fields(options, role, None) for role in _ROLES)
    return document, query, too_long_rule(options).here


def cache_namespace(options: Options, url: str) -> str:
    """Name everything that decides the vectors of a text; the name is valid as a file's name."""
    where, model = location(url), options.model.id  # an alias names the same model
    asked = (where, model, options.dimensions, options.encoding_format, options.extra_body)
    made = (_decisions(options), options.normalize)
    named = msgspec.json.encode((asked, made), order="sorted")
    digest = hashlib.blake2b(named, digest_size=12).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', model)}-{digest}"


def check_titles(options: Options, sent: RoleFields) -> str:
    """Return the JSON field for titles, or say why this call cannot have any."""
    family = options.model.family
    if family.title_field is None:
        raise ConfigurationError(
            f"titles cannot be given to the family {family.name!r}; leave them out."
        )
    # VERTEX (see _families): a title is only valid beside this task type.
    if sent.fields.get(str(family.role_field)) != "RETRIEVAL_DOCUMENT":
        raise ConfigurationError(
            "titles belong to documents that are embedded for retrieval; leave them out, or "
            "change role and task_type."
        )
    return family.title_field


def length_of(text: str) -> int:
    """Count the characters of a text as the gateway does: in UTF-16 code units.

    A character beyond U+FFFF, such as an emoji, counts as two. The gateway validates with zod,
    which counted so until 2026-08-19: https://github.com/colinhacks/zod/pull/6441
    """
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def most_chars(model: Model) -> int | None:
    """Tell how long a text may be at all, as `length_of` counts; None where no document says."""
    return model.max_chars_alone or model.family.max_chars_alone


def fits_in_array(text: str, model: Model) -> bool:
    """Tell whether a text is short enough to share a request with others."""
    longest = model.family.max_chars_in_array
    return longest is None or length_of(text) <= longest


def build_body(
    options: Options,
    fields: dict[str, Any],
    texts: Sequence[str],
    title: str | None = None,
    encoding_format: str | None = None,
    *,
    alone: bool = False,
) -> bytes:
    """Write the body of one request; the order of its keys is fixed.

    Args:
        options: Of the client.
        fields: Of the role.
        texts: At least one.
        title: Of all of them, or None.
        encoding_format: What to ask for, or None to ask for nothing.
        alone: Send a single text as a string even where it would fit in an array. Some families
            allow a string to be longer than an item of an array.
    """
    model = options.model
    as_string = len(texts) == 1 and (
        alone or not model.takes_arrays or not fits_in_array(texts[0], model)
    )
    sent = texts[0] if as_string else texts
    return msgspec.json.encode(
        _fields_of(options, options.id, sent, fields, title, encoding_format)
    )


def _fields_of(
    options: Options,
    model: str,
    texts: str | Sequence[str] | None,
    fields: dict[str, Any],
    title: str | None,
    encoding_format: str | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": texts, **fields}
    if title is not None:
        body[str(options.model.family.title_field)] = title
    if options.dimensions is not None:
        body["dimensions"] = options.dimensions
    if encoding_format is not None:
        body["encoding_format"] = encoding_format
    body.update(options.extra_body)
    return body


KEY_BYTES = 16


_MOST_TITLES = 10_000


class CacheKeys:
    """Names for vectors in a cache: a digest of the request that would buy one text alone.

    Whatever reaches the wire is in it, so no option can be forgotten: it is made of the body that
    `build_body` writes, without the text, and then of the text behind its prefix. Of the URL the
    query is left out, and of the ids of a model all mean the same. What the client does with a
    vector afterwards is not in it.

    Args:
        options: Of the client.
        sent: Of the role.
        url: Of the endpoint.
    """

    def __init__(self, options: Options, sent: RoleFields, url: str) -> None:
        self._options = options
        self._sent = sent
        self._url = location(url)
        self._begun: dict[str | None, Any] = {}

    def key(self, text: str, title: str | None = None) -> bytes:
        """Return the 16 bytes for a text as the caller wrote it."""
        begun = self._begun.get(title)
        if begun is None:
            if len(self._begun) == _MOST_TITLES:  # of a stream, each with its own
                self._begun.clear()
            begun = self._begun[title] = self._begin(title)
        digest = begun.copy()
        digest.update((self._sent.prefix + text).encode())
        return digest.digest()[:KEY_BYTES]  # type: ignore[no-any-return]

    def _begin(self, title: str | None) -> Any:
        options = self._options
        body = _fields_of(
            options, options.model.id, None, self._sent.fields, title, options.encoding_format
        )
        # A text that is too long may be cut by us: then the whole text and this choice decide.
        named = (self._url, body, options.too_long == "truncate")
        return hashlib.sha256(msgspec.json.encode(named, order="sorted") + b"\n")
