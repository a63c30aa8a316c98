"""The API reference lists every public name, and each has a docstring to show."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_origin

import pytest
from llama_index.core.instrumentation.events import BaseEvent
from pydantic import BaseModel

import aimlapi_embeddings
import langchain_aimlapi_embeddings
import llama_index_aimlapi_embeddings
from aimlapi_embeddings import batches, emulator
from tests.docs.code_blocks import ROOT

PACKAGES = (
    aimlapi_embeddings,
    batches,
    emulator,
    langchain_aimlapi_embeddings,
    llama_index_aimlapi_embeddings,
)
PUBLIC = {
    f"{package.__name__}.{name}": getattr(package, name)
    for package in PACKAGES
    for name in package.__all__
    if not name.startswith("__")
}
LISTED = [
    name
    for page in (ROOT / "docs/reference").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.M)
]


def test_the_reference_lists_each_public_name_once() -> None:
    modules = {"aimlapi_embeddings.emulator.faults"}
    assert sorted(LISTED) == sorted({*PUBLIC, *modules})


def test_a_page_that_lists_the_members_of_a_class_lists_all_that_are_public() -> None:
    page = (ROOT / "docs/reference/client.md").read_text()
    [(name, listed)] = re.findall(
        r"^::: ([\w.]+)\n    options:\n      members: \[(.*)\]$", page, re.M
    )
    public = [member for member in dir(PUBLIC[name]) if not member.startswith("_")]
    assert sorted(listed.split(", ")) == public


def described_aliases() -> set[str]:
    """Find the aliases of types in the core that have a string below them, which the page shows."""
    found = set()
    for path in (ROOT / "aimlapi_embeddings").rglob("*.py"):
        body = ast.parse(path.read_text()).body
        for statement, below in pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
                found.add(ast.unparse(statement.target))
    return found


def undocumented(value: Any) -> Iterator[str]:
    """Find what a page would show without a word about it."""
    if not inspect.getdoc(value):
        yield "itself"
    if isinstance(value, type):
        for name, member in vars(value).items():
            shown = not name.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property | classmethod)
            )
            if shown and not inspect.getdoc(getattr(value, name)):
                yield name
    if isinstance(value, type) and issubclass(value, BaseModel):
        for name, field in value.model_fields.items():
            if not field.description and name not in BaseEvent.model_fields:  # the framework's
                yield name


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_and_its_members_have_docstrings(name: str) -> None:
    value = PUBLIC[name]
    if get_origin(value) is None:
        assert list(undocumented(value)) == []
    else:
        assert name.rpartition(".")[2] in described_aliases()


def test_what_has_no_docstring_is_found() -> None:
    class Bare:
        def method(self) -> None: ...

    class Model(BaseModel):
        """Described."""

        field: int = 0

    assert list(undocumented(Bare)) == ["itself", "method"]
    assert list(undocumented(Model)) == ["field"]
