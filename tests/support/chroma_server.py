"""Chroma's server on a port of this machine, as `chroma run` starts it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import optional_imports
from tests.support.sockets import eventually
from tests.support.vector_stores import VectorStore

# What the command `chroma` calls. The command itself imports all of chromadb first, which takes
# seconds and which the server does not need.
COMMAND = (
    "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
)
SECONDS_TO_STOP = 10


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve the data in a folder, which is created if need be; yields the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    folder.mkdir(exist_ok=True)
    arguments = ["run", f"--path={folder}", "--host=127.0.0.1", f"--port={port}"]
    with (
        (folder.parent / "chroma.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=folder.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            eventually(lambda: _accepts(port, process))
            yield port
        finally:
            process.terminate()
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()


def _accepts(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"Chroma ended with status {process.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class OnServer(VectorStore):
    """Puts a store of Chroma's behind a server, which runs while the store is open."""

    def open(self) -> None:
        with contextlib.ExitStack() as stack:  # stops the server if opening fails
            self.port = stack.enter_context(serving(self.folder))
            super().open()
            self.stop = stack.pop_all().close

    def connect(self) -> Any:
        """Connect to the server, with the client's telemetry off."""
        chromadb = optional_imports.need("chromadb", "stores")
        settings = chromadb.Settings(
            anonymized_telemetry=False,
            chroma_http_max_keepalive_connections=0,  # a closed client leaves idle ones open
        )
        return chromadb.HttpClient("127.0.0.1", self.port, settings=settings)

    def release(self) -> None:
        super().release()
        self.stop()
