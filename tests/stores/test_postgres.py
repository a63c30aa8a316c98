"""PostgreSQL with pgvector, as a server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import optional_imports, postgres
from tests.support.postgres import address
from tests.support.store_laws import LlamaIndexLaws, StoreLaws
from tests.support.vector_stores import LangChainStore, LlamaIndexStore, of_distance

langchain_postgres = optional_imports.need("langchain_postgres", "stores")
llama_index_postgres = optional_imports.need("llama_index.vector_stores.postgres", "stores")
sqlalchemy = optional_imports.need("sqlalchemy", "stores")


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    with postgres.serving() as server:
        yield server


@pytest.fixture
def folder(running: Path) -> Path:
    """The folder of the server's socket, with an empty database."""
    postgres.empty(running)
    return running


class LangChainPostgres(LangChainStore):
    cosine = staticmethod(of_distance)

    def open(self) -> None:
        self.engine = langchain_postgres.PGEngine.from_connection_string(
            address("psycopg", self.folder)
        )
        with contextlib.suppress(sqlalchemy.exc.ProgrammingError):  # the table exists already
            self.call(self.engine, "init_vectorstore_table", "passages", self.embedder.dimensions)
        arguments = (self.engine, self.embedder, "passages")
        if self.mode == "sync":
            self.store = langchain_postgres.PGVectorStore.create_sync(*arguments)
        else:
            self.store = self.wait(langchain_postgres.PGVectorStore.create(*arguments))

    def release(self) -> None:
        self.wait(self.engine.close())


class LlamaIndexPostgres(LlamaIndexStore):
    cosine = staticmethod(float)

    def open(self) -> None:
        self.store = llama_index_postgres.PGVectorStore(
            connection_string=address("psycopg2", self.folder),
            async_connection_string=address("asyncpg", self.folder),
            table_name="passages",
            embed_dim=self.embedder.dimensions,
            initialization_fail_on_error=True,
        )
        self.index = self.over(self.store)

    def release(self) -> None:
        self.wait(self.store.close())


@pytest.mark.parametrize("kind", [LangChainPostgres])
class TestLangChainPostgres(StoreLaws):
    pass


@pytest.mark.parametrize("kind", [LlamaIndexPostgres])
class TestLlamaIndexPostgres(LlamaIndexLaws):
    pass
