"""The notebooks run as committed, on the emulator or with a key, and connect to nothing else."""

from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimlapi_embeddings import emulator
from tests.support import optional_imports
from tests.support.entry_points import KEY
from tests.support.notebook_runs import FOLDER, PATHS, Notebook, execute, tidy

image = optional_imports.need("matplotlib.image", "notebooks")
matplotlib_figure = optional_imports.need("matplotlib.figure", "notebooks")
nbformat = optional_imports.need("nbformat", "notebooks")

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
    monkeypatch.setenv("PYTHONPATH", str(startup), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


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
    assert len(PATHS) >= 4


def test_a_notebook_is_short(notebook: Notebook) -> None:
    assert 2 < len(notebook.cells) <= 12


def test_a_notebook_is_committed_with_the_outputs_of_one_run(notebook: Notebook) -> None:
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in notebook.cells:
        assert cell.metadata == {}
        assert cell.id.replace("-", "").isalpha(), (
            "ids of cells are written by hand, so that they do not change"
        )
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


OF_ONE_RUN = {
    "port": r"127\.0\.0\.1:\d|localhost:\d",
    "path": r"(?<![\w/])/(tmp|home|root|usr|work|var|Users|private)/|[A-Z]:\\\\",
    "time": r"\d\d:\d\d|\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d",
    "duration": r"\d ?(s|ms|µs|seconds)\b|\d ?(it|texts)/s",
    "address": r"0x[0-9a-f]{6}",
    "version": r"(python|httpx|aimlapi-embeddings)/\d",
}


@pytest.mark.parametrize("what", OF_ONE_RUN)
def test_no_committed_output_depends_on_the_run_or_the_machine(
    notebook: Notebook, what: str
) -> None:
    for text in texts(notebook):
        assert not re.search(OF_ONE_RUN[what], text), text


def texts(notebook: Notebook) -> list[str]:
    """Return all outputs that are text, without the style sheets of tables."""
    data = [o.data for kind in ("display_data", "execute_result") for o in outputs(notebook, kind)]
    shown = [text for d in data for mime, text in d.items() if mime.startswith("text/")]
    return [printed(notebook, "stdout"), printed(notebook, "stderr"), *shown]


@pytest.mark.slow
def test_a_notebook_runs_without_a_key_and_gives_the_committed_outputs(notebook: Notebook) -> None:
    committed = copy.deepcopy(notebook)
    before = sorted(FOLDER.rglob("*"))
    shown = tidy(execute(notebook))
    assert sorted(FOLDER.rglob("*")) == before
    assert printed(shown, "stdout").startswith("Emulator, as AIMLAPI_API_KEY is not set")
    assert printed(shown, "stderr") == ""
    new, old = take_pictures(shown), take_pictures(committed)
    assert shown == committed, "write the outputs anew: python -m tests.support.notebook_runs"
    assert len(new) == len(old) >= 1
    for (ours, measured), (theirs, _) in zip(new, old, strict=True):
        assert ours.shape == theirs.shape
        # Measured times differ between runs; what must hold for them the notebook asserts.
        assert measured or abs(coarse(ours) - coarse(theirs)).max() < 0.2


def take_pictures(notebook: Notebook) -> list[tuple[Any, bool]]:
    """Remove the pictures from the outputs.

    Returns:
        Each as an array, height x width x 4, and whether it shows measured times.
    """
    return [
        (
            image.imread(io.BytesIO(base64.b64decode(output.data.pop("image/png"))), format="png"),
            output.metadata["image/png"].get("measured", False),
        )
        for output in outputs(notebook, "display_data")
        if "image/png" in output.data
    ]


def coarse(picture: Any, size: int = 8) -> Any:
    """Average squares of pixels: the edges of letters depend on the version of the font engine."""
    height, width = (length // size for length in picture.shape[:2])
    squares = picture[: height * size, : width * size].reshape(height, size, width, size, -1)
    return squares.mean(axis=(1, 3))


def test_a_picture_with_one_point_elsewhere_is_another_picture() -> None:
    drawn = []
    for x in (0.5, 0.55):
        figure = matplotlib_figure.Figure(figsize=(10, 5), dpi=80)
        figure.add_subplot(xlim=(0, 1)).scatter([x, 0.1], [0, 1], s=70)
        png = io.BytesIO()
        figure.savefig(png)
        drawn.append(image.imread(io.BytesIO(png.getvalue())))
    assert abs(coarse(drawn[0]) - coarse(drawn[1])).max() > 0.2


def test_each_picture_has_its_description_as_alternative_text_and_below_it(
    notebook: Notebook,
) -> None:
    shown = outputs(notebook, "display_data")
    described = 0
    for picture, caption in itertools.pairwise(shown):
        if "image/png" in picture.data:
            alternative = picture.metadata["image/png"]["alt"]
            assert len(alternative) > 100
            assert picture.data["text/plain"] == caption.data["text/plain"] == alternative
            assert caption.data["text/markdown"] == f"*{alternative}*"
            described += 1
    assert described == pictures(notebook) >= 1


BARS = """
from aimlapi_embeddings import emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding

with emulator.running() as base_url:
    common = dict(model="voyage-2", api_key="k", base_url=base_url, batch_size=2)
    texts = list("abcde")
    langchain = AIMLAPIEmbeddings(**common, show_progress_bar=True)
    llama_index = AIMLAPIEmbedding(**common, show_progress=True)
    langchain.embed_documents(texts)
    await langchain.aembed_documents(texts)
    llama_index.get_text_embedding_batch(texts)
    await llama_index.aget_text_embedding_batch(texts)
"""


@pytest.mark.slow
def test_the_bar_in_jupyter_is_as_long_as_the_number_of_texts_and_full_at_the_end() -> None:
    shown = execute(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BARS)]))
    widgets = shown.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    bars = [w["state"] for w in widgets.values() if w["model_name"] == "FloatProgressModel"]
    assert [(bar["min"], bar["max"], bar["value"]) for bar in bars] == [(0, 5, 5)] * 4
    widths = [widgets[bar["layout"].removeprefix("IPY_MODEL_")]["state"]["width"] for bar in bars]
    assert widths == [None] * 4, "a bar without a total is 20 pixels wide"


def test_the_sample_vectors_are_of_the_sentences_and_have_length_one() -> None:
    samples = json.loads((FOLDER / "sample_vectors.json").read_text(encoding="utf-8"))
    count = sum(len(said) for said in samples["sentences"].values())
    assert len(samples["models"]) == 2
    for model in samples["models"]:
        assert model.keys() >= {"model", "author", "license", "package"}
        assert len(model["vectors"]) == count
        for vector in model["vectors"]:
            assert math.hypot(*vector) == pytest.approx(1, abs=0.001)


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[emulator.Emulator]:
    """An emulator that stands for the live API."""
    server = emulator.Emulator()
    with emulator.running(server) as base_url:
        monkeypatch.setenv("AIMLAPI_API_KEY", KEY)
        monkeypatch.setenv("AIMLAPI_API_BASE", base_url)
        yield server


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_connection_beyond_this_machine_ends_a_notebook() -> None:
    codes = ["import asyncio, socket, urllib.request", *OUTWARD]
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    shown = execute(nbformat.v4.new_notebook(cells=cells), allow_errors=True)
    refusals = [output.evalue for output in outputs(shown, "error")]
    assert len(refusals) == len(OUTWARD)
    assert all(BLOCKED in refusal for refusal in refusals)
