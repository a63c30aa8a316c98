"""The public names are exact, and imports run one way."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from surfaces import OPENAI

import aimlapi_embeddings
import langchain_aimlapi_embeddings
import llama_index_aimlapi_embeddings
from aimlapi_embeddings import EmbeddingsClient, emulator

PACKAGES = (
    aimlapi_embeddings,
    emulator,
    langchain_aimlapi_embeddings,
    llama_index_aimlapi_embeddings,
)
CORE = Path(aimlapi_embeddings.__file__).parent
# Each layer may import from the ones before it, and modules of a layer not from each other, but
# for the few that are told.
LAYERS = [
    {"_types", "_errors", "_version"},
    {"_providers", "_families", "_matrix"},
    {"_backoff", "_endpoint", "_limiter", "_models", "_progress", "_secrets", "_slots"},
    {"_arguments", "_options", "_response", "_result", "_status"},
    {"_planning", "_request"},
    {"_flow"},
    {"_collect", "_run", "_transport"},
    {"_client"},
]
WITHIN_A_LAYER = {("_errors", "_types")}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_all_names_exactly_what_is_public(package: ModuleType) -> None:
    public = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public | ({"__version__"} & set(package.__all__)) == set(package.__all__)
    assert package.__all__ == sorted(package.__all__)


def test_core_modules_import_only_from_earlier_layers() -> None:
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    modules = {path.stem for path in CORE.glob("_*.py")} - {"__init__"}
    assert modules == set(level)
    for module in modules:
        for imported in imports_of(CORE / f"{module}.py"):
            other = imported.removeprefix("aimlapi_embeddings.")
            if imported.startswith("aimlapi_embeddings.") and (module, other) not in WITHIN_A_LAYER:
                assert level[other] < level[module], f"{module} imports {other}"


def test_only_the_transport_imports_httpx() -> None:
    importers = {path.stem for path in CORE.glob("*.py") if "httpx" in imports_of(path)}
    assert importers == {"_transport"}


@pytest.mark.parametrize("package", PACKAGES[2:], ids=lambda p: p.__name__)
def test_an_adapter_imports_public_names_and_no_other_adapter(package: ModuleType) -> None:
    for path in Path(str(package.__file__)).parent.glob("*.py"):
        for imported in imports_of(path):
            root = imported.split(".")[0]
            assert imported == "aimlapi_embeddings" or not imported.startswith("aimlapi_embeddings")
            assert root not in {p.__name__ for p in PACKAGES[2:]} - {package.__name__}
            assert root not in {"httpx", "asyncio", "threading"}


def test_the_core_imports_neither_framework_nor_numpy() -> None:
    code = (
        "import sys, aimlapi_embeddings;"
        "heavy = {'numpy', 'pydantic', 'langchain_core', 'llama_index', 'tqdm', 'openai'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [PACKAGES[0], *PACKAGES[2:]], ids=lambda p: p.__name__)
def test_every_package_is_typed(package: ModuleType) -> None:
    assert (Path(str(package.__file__)).parent / "py.typed").exists()


def test_both_colours_have_the_same_signature() -> None:
    embed = inspect.signature(EmbeddingsClient.embed)
    assert inspect.signature(EmbeddingsClient.aembed) == embed


@pytest.mark.parametrize(
    ("package", "framework", "extra"),
    [
        ("langchain_aimlapi_embeddings", "langchain_core", "aimlapi-embeddings[langchain]"),
        ("llama_index_aimlapi_embeddings", "llama_index.core", "aimlapi-embeddings[llama-index]"),
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
    with (
        pytest.raises(ImportError, match=r"aimlapi-embeddings\[langchain\]"),
        aimlapi_embeddings.progress_bar(),
    ):
        pass


def test_a_missing_numpy_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    result = EmbeddingsClient(model=OPENAI, api_key="k").embed([])
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match="pip install numpy"):
        result.array()
