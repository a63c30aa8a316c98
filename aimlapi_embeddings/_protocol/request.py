"""Family, role, options and texts -> the JSON body."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.options import Options, check_task_type
from aimlapi_embeddings._types import Role, TaskType


class Conditioning(NamedTuple):
    """How a role shows on the wire: fields of the body, and a text in front of each input."""

    fields: dict[str, Any]
    prefix: str


def condition(options: Options, role: Role, task_type: str | None) -> Conditioning:
    """Find what a role and a task type come down to for the model's family."""
    family = options.model.family
    task = options.task_type if task_type is None else check_task_type(family, task_type)
    fields: dict[str, Any] = dict(family.too_long[options.too_long]) if options.too_long else {}
    if not isinstance(role, str) or role not in ("document", "query"):
        raise ConfigurationError(f"role={role!r} is neither 'document' nor 'query'.")
    if task is TaskType.NONE:
        return Conditioning(fields, "")
    said = family.tasks.get(task, {}).get(role)
    prefix = options.query_prefix if role == "query" else options.document_prefix
    if family.role_field and said:
        fields = {family.role_field: said, **fields}
    return Conditioning(fields, family.prefixes.get(role, "") if prefix is None else prefix)


def cache_namespace(options: Options, url: str) -> str:
    """Name what decides the vectors of a text, in letters that may stand in a file's name."""
    asked = (url, options.id, options.dimensions, options.encoding_format, options.extra_body)
    roles = (condition(options, "document", None), condition(options, "query", None))
    said = msgspec.json.encode((asked, roles), order="sorted")
    digest = hashlib.blake2b(said, digest_size=12).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', options.id)}-{digest}"


def check_titles(options: Options, conditioning: Conditioning) -> str:
    """Return the JSON field for titles, or say why this call cannot have any."""
    family = options.model.family
    if family.title_field is None:
        raise ConfigurationError(f"titles cannot be given to the family {family.name!r}.")
    # VERTEX (see _families): a title is only valid beside this task type.
    if conditioning.fields.get(str(family.role_field)) != "RETRIEVAL_DOCUMENT":
        raise ConfigurationError(
            "titles belong to documents that are embedded for retrieval; leave them out, or "
            "change role and task_type."
        )
    return family.title_field


def build_body(
    options: Options,
    fields: dict[str, Any],
    texts: Sequence[str],
    title: str | None = None,
    encoding_format: str | None = None,
    *,
    as_string: bool = False,
) -> bytes:
    """Write the body of one request; the order of its keys is fixed.

    Args:
        options: Of the client.
        fields: That say the role.
        texts: At least one.
        title: Of all of them, or None.
        encoding_format: To ask for, or None.
        as_string: Whether a single text is sent as a string whatever its length.
    """
    model = options.model
    longest = model.family.max_chars_in_array
    alone = len(texts) == 1 and (
        as_string or not model.takes_arrays or (longest is not None and len(texts[0]) > longest)
    )
    body: dict[str, Any] = {"model": options.id, "input": texts[0] if alone else texts, **fields}
    if title is not None:
        body[str(model.family.title_field)] = title
    if options.dimensions is not None:
        body["dimensions"] = options.dimensions
    if encoding_format is not None:
        body["encoding_format"] = encoding_format
    body.update(options.extra_body)
    return msgspec.json.encode(body)
