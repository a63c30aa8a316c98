"""What do notebooks and help() show as the constructor's signature?

pydantic's own would show validators and serializers beside each type.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter, Signature
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo


def signature_of(fields: Mapping[str, FieldInfo]) -> Signature:
    """List the fields as keyword arguments, the required ones first."""
    in_order = sorted(fields.items(), key=lambda item: not item[1].is_required())
    return Signature([_parameter(name, field) for name, field in in_order])


def _parameter(name: str, field: FieldInfo) -> Parameter:
    default = Parameter.empty if field.is_required() else field.default
    if field.default_factory is not None:
        default = _Made()
    kind = Parameter.KEYWORD_ONLY
    return Parameter(
        field.alias or name, kind, default=default, annotation=_plain(field.annotation)
    )


class _Made:
    """Stands for a default that is made anew for each object."""

    def __repr__(self) -> str:
        return "<factory>"


def _plain(annotation: Any) -> Any:
    """Leave out what is annotated beside a type."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _plain(parts[0])
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(map(_plain, parts))]  # noqa: UP007  (their number is not known)
    return annotation
