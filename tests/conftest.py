"""Fixtures and options for all tests: environment, fake server, entry points, recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from aimlapi_embeddings import EmbeddingsClient
from tests.support import optional_imports, recording
from tests.support.entry_points import MODES, PACKAGES, Clock, EntryPoint, FakeServer, Mode, Package
from tests.support.scenario import Scenario

# No limit of time, since the machine may be busy. CI tries the same examples every time.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", settings.get_profile("suite"), max_examples=10_000)
settings.load_profile("suite")  # --hypothesis-profile chooses the other one

FOREIGN = ("AIMLAPI_", "NUGEN_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the keys, base URLs and proxies of this machine from the environment."""
    for name in os.environ:
        if name.upper().startswith(FOREIGN):
            monkeypatch.delenv(name)


@pytest.fixture
def fake_server() -> FakeServer:
    """A fake server that answers with `emulator.answer`, without a socket."""
    return FakeServer()


@pytest.fixture
def unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load no certificates: that takes 20 ms for each client, and these tests use plain HTTP."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A simulated clock for all clients of the test: waiting takes no real time."""
    clock = Clock()
    monkeypatch.setattr(EmbeddingsClient, "_clock", clock)
    return clock


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Sync and async: the same test covers both modes."""
    mode: Mode = request.param
    return mode


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Package:
    """The core and both adapters."""
    name: Package = request.param
    return name


@pytest.fixture
def entry_point(package: Package, mode: Mode, fake_server: FakeServer) -> EntryPoint:
    """One of the six entry points, connected to the fake server."""
    return EntryPoint(package, mode, fake_server)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cassettes",
        type=Path,
        default=recording.CASSETTES,
        help="folder of the recordings (%(default)s)",
    )
    parser.addoption(
        "--all-extras",
        action="store_true",
        help="fail where an extra is not installed, or where a test is skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    optional_imports.required = config.getoption("--all-extras")


@pytest.hookimpl(trylast=True)  # after the order was shuffled
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """When recording, run the tests that record first, then those that read the cassettes."""
    if config.getoption("--record-mode") not in (None, "none"):
        items.sort(key=lambda item: item.get_closest_marker("vcr") is None)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With `--all-extras`, a skipped test fails the session."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if optional_imports.required and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    terminalreporter.write_line(recording.summary(config.getoption("--cassettes")))


@pytest.fixture(scope="session")
def cassettes(pytestconfig: pytest.Config) -> Path:
    """The folder of the recordings."""
    folder: Path = pytestconfig.getoption("--cassettes")
    return folder


@pytest.fixture(scope="session")
def recorded() -> set[str]:
    """Names of the scenarios recorded in this session."""
    return set()


@pytest.fixture(scope="module")
def vcr_cassette_dir(cassettes: Path) -> str:
    return str(cassettes)


@pytest.fixture
def default_cassette_name(scenario: Scenario) -> str:
    return str(scenario)


@pytest.fixture
def source(
    scenario: Scenario, record_mode: str, cassettes: Path, recorded: set[str]
) -> recording.Source:
    """Whether this test replays a cassette, or records from the emulator or a live service."""
    source = recording.source_of(scenario, record_mode, cassettes, recorded)
    if source != "cassette":
        recorded.add(str(scenario))
    return source


@pytest.fixture
def vcr_config(scenario: Scenario, source: recording.Source) -> dict[str, Any]:
    return recording.vcr_config(scenario, source)


@pytest.fixture
def service(
    scenario: Scenario,
    source: recording.Source,
    request: pytest.FixtureRequest,
) -> Iterator[dict[str, Any]]:
    """Client options with which this scenario is recorded or replayed."""
    request.getfixturevalue("socket_enabled" if source == "live" else "unencrypted")
    with recording.serving(scenario, source) as options:
        yield {**options, "max_concurrency": 1, "max_retries": 0}
