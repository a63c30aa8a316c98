"""The notebooks run as committed, on the emulator or with a key, and connect to nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import emulator
from tests.support import optional_imports
from tests.support.entry_points import KEY

nbformat = optional_imports.need("nbformat", "notebooks")
nbclient = optional_imports.need("nbclient", "notebooks")

FOLDER = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
BLOCKED = "beyond loopback"

# Python imports `sitecustomize` before all else. Its audit hook sees all connections, also those
# that C code opens, and cannot be removed.
STARTUP = f"""
import ipaddress, sys, warnings

def loopback(host):
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]  # a path, for sockets of other families
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if not loopback(host):
        raise OSError(f"{{event}} {BLOCKED}: {{host}}")

sys.addaudithook(refuse)
ours = r"(langchain_|llama_index_)?aimlapi_embeddings"
warnings.filterwarnings("error", category=DeprecationWarning, module=ours)
"""

Notebook = Any


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> Notebook:
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give Jupyter a folder of its own, and let kernels connect to this machine only."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    startup = tmp_path / "startup"
    startup.mkdir()
    (startup / "sitecustomize.py").write_text(STARTUP)
    monkeypatch.setenv("PYTHONPATH", str(startup))


def execute(notebook: Notebook, **options: Any) -> Notebook:
    """Run a notebook in its folder, and return it with its output."""
    here = {"metadata": {"path": str(FOLDER)}}
    return nbclient.NotebookClient(notebook, timeout=100, resources=here, **options).execute()


def outputs(notebook: Notebook, kind: str) -> list[Any]:
    return [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == kind
    ]


def pictures(notebook: Notebook) -> int:
    return sum("image/png" in output.data for output in outputs(notebook, "display_data"))


def printed(notebook: Notebook, name: str) -> str:
    return "".join(o.text for o in outputs(notebook, "stream") if o.name == name)


def test_the_folder_holds_notebooks() -> None:
    assert len(PATHS) >= 3


def test_a_notebook_is_short(notebook: Notebook) -> None:
    assert 2 < len(notebook.cells) <= 12


def test_a_notebook_is_committed_without_output(notebook: Notebook) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.metadata == {}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert cell.id.replace("-", "").isalpha(), (
            "ids of cells are written by hand, so that they do not change"
        )
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_notebook_runs_without_a_key_and_draws_its_figures(notebook: Notebook) -> None:
    before = sorted(FOLDER.rglob("*"))
    shown = execute(notebook)
    assert printed(shown, "stdout").startswith("Emulator, as AIMLAPI_API_KEY is not set")
    assert printed(shown, "stderr") == ""
    assert pictures(shown) >= 1
    assert sorted(FOLDER.rglob("*")) == before


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Emulator]:
    """An emulator that stands for the live API."""
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
        monkeypatch.setenv("AIMLAPI_API_BASE", base_url)
        yield server


def test_a_notebook_sends_the_key_to_the_live_api_and_does_not_show_it(
    notebook: Notebook, keyed: emulator.Emulator
) -> None:
    shown = execute(notebook)
    assert printed(shown, "stdout").startswith("Live API, as AIMLAPI_API_KEY is set")
    assert {request.headers["authorization"] for request in keyed.requests} == {f"Bearer {KEY}"}
    assert KEY not in nbformat.writes(shown)


OUTWARD = [
    "socket.create_connection(('192.0.2.1', 443), timeout=1)",
    "socket.socket().connect_ex(('192.0.2.1', 443))",
    "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
    "socket.getaddrinfo('example.org', 443)",
    "urllib.request.urlopen('https://example.org')",
    "await asyncio.open_connection('192.0.2.1', 443)",
]


def test_a_connection_beyond_this_machine_ends_a_notebook() -> None:
    codes = ["import asyncio, socket, urllib.request", *OUTWARD]
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    shown = execute(nbformat.v4.new_notebook(cells=cells), allow_errors=True)
    refusals = [output.evalue for output in outputs(shown, "error")]
    assert len(refusals) == len(OUTWARD)
    assert all(BLOCKED in refusal for refusal in refusals)
