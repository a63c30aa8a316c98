"""The code in the README and in the manual runs, and the tables in them are current."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from aimlapi_embeddings import EmbeddingsClient, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding
from tests.docs.code_blocks import PAGES, ROOT, Block, blocks_of
from tests.docs.tables import LANGCHAIN_NAMES, LLAMA_INDEX_NAMES, TABLES, missing, renewed
from tests.support.optional_imports import need

README = ROOT / "README.md"
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with emulator.running() as base_url:
        for provider in ("AIMLAPI", "NUGEN"):
            monkeypatch.setenv(f"{provider}_API_KEY", "emulator")
            monkeypatch.setenv(f"{provider}_API_BASE", base_url)
        yield


def imports(code: str) -> set[str]:
    return {
        name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    } - sys.stdlib_module_names


def texts_in_parquet(folder: Path) -> None:
    pyarrow, parquet = need("pyarrow", "stores"), need("pyarrow.parquet", "stores")
    texts = [f"text {i % 30}" for i in range(40)]
    columns = {"id": range(1, 43), "text": [*texts, None, ""]}
    parquet.write_table(
        pyarrow.table({k: list(v) for k, v in columns.items()}), folder / "texts.parquet"
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[], Path]]:
    """A function that starts PostgreSQL, once, where it is needed."""

    def start() -> Path:
        from tests.support.postgres import serving  # skips the test without the extra "stores"

        return stack.enter_context(serving())

    with ExitStack() as stack:
        yield cache(start)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_each_block_of_python_runs_by_itself(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres: Callable[[], Path],
) -> None:
    for module in imports(block.code):
        need(module, "stores")  # which is all that the examples use beside the frameworks
    monkeypatch.chdir(tmp_path)
    if "texts.parquet" in block.code:
        texts_in_parquet(tmp_path)
    if "psycopg.connect()" in block.code:
        monkeypatch.setenv("PGHOST", str(postgres()))
        monkeypatch.setenv("PGUSER", "tester")
        monkeypatch.setenv("PGDATABASE", "postgres")
    if "set_tracer_provider" in block.code:  # which a process can do once
        subprocess.run([sys.executable, "-W", "error", "-c", block.code], check=True)
        return
    exec(compile(block.code, str(block), "exec"), {"__name__": "__main__"})


def test_the_readme_shows_code_below_each_install_that_it_names() -> None:
    assert {block.extra for block in blocks_of(README)} >= {"", "langchain", "llama-index"}


def test_blocks_below_one_install_need_no_other() -> None:
    allowed = {
        "": {"aimlapi_embeddings"},
        "langchain": {"aimlapi_embeddings", "langchain_aimlapi_embeddings", "langchain_core"},
        "llama-index": {"aimlapi_embeddings", "llama_index_aimlapi_embeddings", "llama_index"},
    }
    for block in blocks_of(README):
        if block.extra is not None:
            assert imports(block.code) <= allowed[block.extra], block


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_current(page: Path) -> None:
    text = page.read_text()
    assert text == renewed(text), "run: python -m tests.docs.tables"


@pytest.mark.parametrize(
    ("adapter", "names"),
    [(AIMLAPIEmbeddings, LANGCHAIN_NAMES), (AIMLAPIEmbedding, LLAMA_INDEX_NAMES)],
)
def test_adapters_take_the_names_that_the_table_of_options_lists(
    adapter: type[BaseModel], names: dict[str, tuple[str, ...]]
) -> None:
    taken = set()
    for name, field in adapter.model_fields.items():
        alias = field.validation_alias
        taken |= {name, *map(str, getattr(alias, "choices", [alias]))}
    for option in inspect.signature(EmbeddingsClient).parameters:
        assert set(names.get(option, (option,))) <= taken


def test_each_table_stands_somewhere() -> None:
    assert not missing(TABLES, [page.read_text() for page in PAGES])
