"""The tree of errors: as its docstring draws it, and picklable with all attributes."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable

import pytest

from aimlapi_embeddings import PartialResult, Usage, _errors
from aimlapi_embeddings._errors import (
    AIMLAPIError,
    APIStatusError,
    BadRequestError,
    InvalidInputError,
    RequestTooLargeError,
)
from aimlapi_embeddings._protocol.vectors import VectorBuffer

ERRORS = [
    kind
    for kind in vars(_errors).values()
    if isinstance(kind, type) and issubclass(kind, AIMLAPIError)
]
STATUS_ERRORS = [kind for kind in ERRORS if issubclass(kind, APIStatusError)]
BUFFER = VectorBuffer(2)
BUFFER.place([0], [[1.0]])
PARTIAL = PartialResult(BUFFER, Usage(requests=2))

each = pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
each_of_a_status = pytest.mark.parametrize("kind", STATUS_ERRORS, ids=lambda kind: kind.__name__)
copied = pytest.mark.parametrize(
    "clone",
    [copy.deepcopy, copy.copy, *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in (2, 5))],
    ids=["deepcopy", "copy", "pickle 2", "pickle 5"],
)


def drawn_tree() -> dict[str, str | None]:
    """Read the tree in the docstring: each error with its parent, or None."""
    above: list[str] = []
    parents: dict[str, str | None] = {}
    for branch, name in re.findall(r"^([ │├└─]*)(\w+Error)\b", str(_errors.__doc__), re.M):
        depth = len(branch) // 3
        parents[name] = above[depth - 1] if depth else None
        above[depth:] = [name]
    return parents


def test_the_classes_form_the_tree_of_the_docstring() -> None:
    bases = {kind.__name__: kind.__bases__[0].__name__ for kind in ERRORS}
    assert drawn_tree() == {**bases, "AIMLAPIError": None}


def test_only_errors_about_arguments_are_value_errors() -> None:
    names = {kind.__name__ for kind in ERRORS if issubclass(kind, ValueError)}
    assert names == {"ConfigurationError", "InvalidInputError"}


@each
def test_str_of_an_error_is_its_message(kind: type[AIMLAPIError]) -> None:
    assert str(kind("what to do")) == "what to do"


@each
def test_partial_is_none_by_default(kind: type[AIMLAPIError]) -> None:
    assert kind("message").partial is None


@copied
@each
def test_a_copied_error_keeps_its_message_and_partial_result(
    kind: type[AIMLAPIError], clone: Callable[[AIMLAPIError], AIMLAPIError]
) -> None:
    error = kind("message")
    error.partial = PARTIAL
    twin = clone(error)
    assert (type(twin), twin.args, twin.partial) == (kind, ("message",), PARTIAL)


@copied
@each_of_a_status
def test_a_copied_status_error_keeps_the_reply(
    kind: type[APIStatusError], clone: Callable[[APIStatusError], APIStatusError]
) -> None:
    twin = clone(kind("text", 429, "said", b"{}", {"a": [1]}, "id-1", 2.5, (3, 4)))
    assert (str(twin), twin.status_code, twin.message) == ("text", 429, "said")
    assert (twin.content, twin.body) == (b"{}", {"a": [1]})
    assert (twin.request_id, twin.retry_after, twin.indices) == ("id-1", 2.5, (3, 4))


@each_of_a_status
def test_status_is_an_alias_of_status_code(kind: type[APIStatusError]) -> None:
    error = kind("text", 418)
    assert error.status == error.status_code == 418
    with pytest.raises(AttributeError):
        error.status = 400  # type: ignore[misc]


@copied
@pytest.mark.parametrize("kind", [BadRequestError, RequestTooLargeError])
def test_a_copied_refusal_keeps_the_message_of_each_text(
    kind: type[BadRequestError], clone: Callable[[BadRequestError], BadRequestError]
) -> None:
    error = kind("text")
    assert error.refused == clone(error).refused == {}
    error.refused = {3: "no", 7: "nor this"}
    assert clone(error).refused == {3: "no", 7: "nor this"}


@copied
def test_a_copied_input_error_keeps_its_indices(
    clone: Callable[[InvalidInputError], InvalidInputError],
) -> None:
    error = clone(InvalidInputError("message", (0, 7), {0: "is empty", 7: "is None"}))
    assert (error.indices, error.refused) == ((0, 7), {0: "is empty", 7: "is None"})


@copied
def test_a_copied_error_keeps_its_notes(clone: Callable[[AIMLAPIError], AIMLAPIError]) -> None:
    error = AIMLAPIError("message")
    error.add_note("while indexing")
    assert clone(error).__notes__ == ["while indexing"]
