"""The public names are exact, and imports run one way."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import aimlapi_embeddings
import langchain_aimlapi_embeddings
import llama_index_aimlapi_embeddings
from aimlapi_embeddings import AIMLAPIError, EmbeddingsClient, adapters, batches, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings
from tests.support.entry_points import OPENAI

PACKAGES = (
    aimlapi_embeddings,
    emulator,
    langchain_aimlapi_embeddings,
    llama_index_aimlapi_embeddings,
)
CORE = Path(aimlapi_embeddings.__file__).parent
# Each room may import from the ones before it; inside a room no two modules import each other.
ROOMS = (
    "_version",
    "_warn",
    "_log",
    "_slices",
    "_wake_up",
    "_types",
    "_errors",
    "_catalog",
    "_protocol",
    "_result",
    "_telemetry",
    "cache",
    "_engine",
    "_streams",
    "_runtime",
    "_text_streams",
    "_client",
    "adapters",
    "batches",
)
# A type that only type checkers see.
TYPES_ONLY = {("_errors", "_result")}


def modules_of_the_core() -> dict[str, Path]:
    """Modules by their dotted name inside the core; the emulator is a package of its own."""
    paths = {path.relative_to(CORE): path for path in CORE.rglob("*.py")}
    return {
        ".".join(name.with_suffix("").parts): path
        for name, path in paths.items()
        if name.parts[0] not in ("emulator", "__init__.py") and name.name != "__init__.py"
    }


def imports_within_the_core(path: Path) -> set[str]:
    return {
        name.removeprefix("aimlapi_embeddings.")
        for name in imports_of(path)
        if name.startswith("aimlapi_embeddings.")
    }


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("package", [*PACKAGES, adapters, batches], ids=lambda p: p.__name__)
def test_all_names_exactly_what_is_public(package: ModuleType) -> None:
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | ({"__version__"} & set(package.__all__)) == set(package.__all__)
    assert package.__all__ == sorted(package.__all__)


def test_rooms_of_the_core_import_one_way() -> None:
    place = {room: i for i, room in enumerate(ROOMS)}
    modules = modules_of_the_core()
    assert {name.split(".")[0] for name in modules} == set(ROOMS)
    for name, path in modules.items():
        room = name.split(".")[0]
        for imported in imports_within_the_core(path):
            other = imported.split(".")[0]
            assert place[other] <= place[room] or (room, other) in TYPES_ONLY, f"{name}: {imported}"


def test_no_module_of_the_core_is_part_of_a_circle() -> None:
    graph = {
        name: {other for other in imports_within_the_core(path) if (name, other) not in TYPES_ONLY}
        for name, path in modules_of_the_core().items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_one_module_alone_imports_httpx() -> None:
    importers = {n for n, path in modules_of_the_core().items() if "httpx" in imports_of(path)}
    assert importers == {"_protocol.connections"}


@pytest.mark.parametrize("package", PACKAGES[2:], ids=lambda p: p.__name__)
def test_an_adapter_imports_public_names_and_no_other_adapter(package: ModuleType) -> None:
    for path in Path(str(package.__file__)).parent.glob("*.py"):
        for imported in imports_of(path):
            root = imported.split(".")[0]
            if root == "aimlapi_embeddings":
                assert imported in ("aimlapi_embeddings", "aimlapi_embeddings.adapters")
            assert root not in {p.__name__ for p in PACKAGES[2:]} - {package.__name__}
            assert root not in {"httpx", "asyncio", "threading"}


def test_the_core_imports_neither_framework_nor_numpy() -> None:
    code = (
        "import sys, aimlapi_embeddings;"
        "heavy = {'numpy', 'pyarrow', 'pydantic', 'langchain_core', 'llama_index', 'tqdm'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [PACKAGES[0], *PACKAGES[2:]], ids=lambda p: p.__name__)
def test_every_package_is_typed(package: ModuleType) -> None:
    assert (Path(str(package.__file__)).parent / "py.typed").exists()


def test_both_modes_have_the_same_signature() -> None:
    embed = inspect.signature(EmbeddingsClient.embed)
    assert inspect.signature(EmbeddingsClient.aembed) == embed


def test_the_client_shows_its_options_in_its_signature() -> None:
    options = inspect.signature(EmbeddingsClient).parameters.values()
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}
    assert [option.name for option in options if option.default is option.empty] == ["model"]


@pytest.mark.parametrize(
    ("package", "framework", "extra"),
    [
        ("langchain_aimlapi_embeddings", "langchain_core", "aimlapi-embeddings[langchain]"),
        ("llama_index_aimlapi_embeddings", "llama_index.core", "aimlapi-embeddings[llama-index]"),
        ("aimlapi_embeddings.batches", "pyarrow", "aimlapi-embeddings[arrow]"),
    ],
)
def test_a_missing_framework_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, framework: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, package)
    monkeypatch.setitem(sys.modules, framework, None)
    with pytest.raises(ImportError) as caught:
        importlib.import_module(package)
    assert extra in str(caught.value)


def test_a_missing_tqdm_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    embeddings = AIMLAPIEmbeddings(model=OPENAI, api_key="k", show_progress_bar=True)
    with pytest.raises(ImportError, match=r"aimlapi-embeddings\[langchain\]"):
        embeddings.embed_documents(["a"])


def test_a_missing_numpy_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    result = EmbeddingsClient(model=OPENAI, api_key="k").embed([])
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"array\(\) needs NumPy: pip install numpy"):
        result.array()


def test_the_mask_of_unfinished_texts_names_the_remedy_for_a_missing_numpy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        emulator.running() as base_url,
        EmbeddingsClient(model=OPENAI, api_key="k", base_url=base_url, batch_size=1) as client,
        pytest.raises(AIMLAPIError) as caught,
    ):
        client.embed(["a", "word " * 9000])
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match="mask needs NumPy: pip install numpy"):
        _ = caught.value.partial.mask
