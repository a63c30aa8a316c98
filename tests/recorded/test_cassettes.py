"""The cassettes: all are used, none holds a secret, and each names its origin."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from vcr import VCR
from vcr.errors import CannotOverwriteExistingCassetteException

from aimlapi_embeddings import supported_models
from tests.docs.code_blocks import ROOT
from tests.docs.tables import recordings
from tests.support.entry_points import KEY, EntryPoint
from tests.support.recorded_models import RECORDED_MODELS
from tests.support.recording import (
    HOSTS,
    ORIGINS,
    REPLY_HEADERS,
    REQUEST_HEADERS,
    Exchange,
    count,
    read_all,
    serving,
    summary,
    vcr_config,
)
from tests.support.scenario import Scenario
from tests.support.scenarios import SCENARIOS

LIMIT = 3_000_000  # bytes of all cassettes together
BY_NAME = {str(scenario): scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def loaded(cassettes: Path) -> dict[str, list[Exchange]]:
    return read_all(cassettes)


@pytest.fixture(scope="module")
def exchanges(loaded: dict[str, list[Exchange]]) -> list[Exchange]:
    return [exchange for cassette in loaded.values() for exchange in cassette]


def test_every_scenario_has_a_cassette_and_every_cassette_a_scenario(
    loaded: dict[str, list[Exchange]], cassettes: Path
) -> None:
    assert set(loaded) - set(BY_NAME) == set(), "cassettes without a scenario"
    assert set(BY_NAME) - set(loaded) == set(), "not recorded: pytest --record-mode=once"
    assert {path.suffix for path in cassettes.rglob("*") if path.is_file()} == {".yaml"}


def test_no_two_scenarios_share_a_cassette() -> None:
    names = Counter(
        str(scenario).lower() for scenario in SCENARIOS
    )  # some file systems ignore case
    assert [name for name, times in names.items() if times > 1] == []


def test_every_name_of_every_model_is_recorded(exchanges: list[Exchange]) -> None:
    recorded = {(exchange.asked["model"]) for exchange in exchanges if exchange.good}
    known = {name for row in supported_models() for name in (row.id, *row.aliases)}
    assert known - recorded == set()


def test_the_family_table_lists_exactly_the_recorded_models() -> None:
    rows = {(row.family.name, row.id, row.aliases) for row in supported_models()}
    assert rows == {(model.family, model.id, model.aliases) for model in RECORDED_MODELS}


def test_requests_go_to_the_live_hosts(loaded: dict[str, list[Exchange]]) -> None:
    paths = {"aimlapi": "/v1/embeddings", "nugen": "/api/v3/inference/embeddings"}
    for name, cassette in loaded.items():
        provider = BY_NAME[name].provider
        found = {(exchange.request.method, exchange.request.uri) for exchange in cassette}
        assert found == {("POST", HOSTS[provider] + paths[provider])}, name


def test_cassettes_keep_only_the_listed_headers(exchanges: list[Exchange]) -> None:
    for exchange in exchanges:
        assert {*exchange.request.headers} == {*REQUEST_HEADERS}
        assert {*exchange.reply["headers"]} <= {*REPLY_HEADERS}


SECRETS = re.compile(
    rf"""{re.escape(KEY)} | \b(?:sk|pk)-\w | \bbearer\b | authorization | cookie
    | api[_-]?key["']?\s*[:=] | \beyJ[\w-]+\.[\w-]+\.""",
    re.X | re.I,
)
# Values that differ from one recording to the next: ids other than zeros, all times but one.
VOLATILE = re.compile(
    r"""\b(?!0{8}-)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
    | embe?d-0*[1-9a-f] | nugen-0*[1-9] | \b20\d\d-\d\d-\d\dT(?!00:00:00\.000Z)
    | "created"\s*:\s*(?!1767225600\b) | \b127\.0\.0\.1""",
    re.X,
)


@pytest.mark.parametrize("pattern", [SECRETS, VOLATILE], ids=["secrets", "volatile"])
def test_no_cassette_holds_a_key_an_id_or_a_date(cassettes: Path, pattern: re.Pattern[str]) -> None:
    for path in cassettes.rglob("*.yaml"):
        found = pattern.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found[0]!r}"


@pytest.mark.parametrize(
    "leak",
    [
        f"Authorization: Bearer {KEY}",
        "Incorrect API key provided: sk-abc***",
        "set-cookie:",
        "api_key=",
        "bearer abc",
    ],
)
def test_the_pattern_for_secrets_matches_leaked_keys(leak: str) -> None:
    assert SECRETS.search(leak)


def test_the_cassettes_stay_below_their_total_size_limit(cassettes: Path) -> None:
    assert sum(path.stat().st_size for path in cassettes.rglob("*.yaml")) < LIMIT


def test_each_reply_names_its_origin_and_the_manual_counts_them(
    loaded: dict[str, list[Exchange]], exchanges: list[Exchange], cassettes: Path
) -> None:
    origins = Counter(exchange.origin for exchange in exchanges)
    assert set(origins) <= set(ORIGINS)
    assert origins["documentation"] == 1
    assert sum((counts.origins for counts in count(loaded).values()), Counter()) == origins
    assert all(f"{origins[origin]} {origin}" in summary(cassettes) for origin in ORIGINS)
    assert recordings(cassettes) in (ROOT / "docs/testing.md").read_text(encoding="utf-8")


def test_a_scenario_that_cannot_be_served_live_is_never_labelled_live(
    loaded: dict[str, list[Exchange]],
) -> None:
    for name, cassette in loaded.items():
        if not BY_NAME[name].served:
            assert {exchange.origin for exchange in cassette} == {"emulator"}, name


def test_the_published_reply_is_returned_to_the_last_bit(
    entry_point: EntryPoint, loaded: dict[str, list[Exchange]], cassettes: Path
) -> None:
    scenario = BY_NAME["google/published_reply"]
    vector = replay(scenario, entry_point, cassettes)
    assert vector[:2] == [0.10541483759880066, -0.007883904501795769]
    assert vector[-2:] == [-0.005290816072374582, 0.044632382690906525]
    digest = hashlib.sha256(struct.pack("<768d", *vector)).hexdigest()
    assert digest == "f8bdf75d82f75e3b779a1b7cfd274606274bb72adaaaa54a98c63c652ab7d227"
    assert vector == loaded[str(scenario)][0].answered["data"][0]["embedding"]


Change = Callable[[dict[str, Any]], dict[str, Any]]


def replay(
    scenario: Scenario,
    entry_point: EntryPoint,
    cassettes: Path,
    transport: ChangedBodies | None = None,
) -> list[float]:
    """Make the calls of a scenario from its cassette, and return the vector of its last query."""
    cassette = VCR().use_cassette(
        f"{cassettes / str(scenario)}.yaml", **vcr_config(scenario, "cassette")
    )
    clients = transport and {
        "http_client": httpx.Client(transport=transport),
        "async_http_client": httpx.AsyncClient(transport=transport),
    }
    with cassette, serving(scenario, "cassette") as options:
        entry_point.make_plain(
            model=scenario.model, **options, **scenario.options, **(clients or {})
        )
        vector: list[float] = []
        for call in scenario.calls:
            if call.role == "query":
                vector = entry_point.query(call.texts[0])
            else:
                entry_point.documents(call.texts)
        entry_point.client.close()
        return vector


MUTATIONS: dict[str, Change] = {
    "another task type": lambda body: {**body, "task_type": "RETRIEVAL_QUERY"},
    "another size": lambda body: {**body, "dimensions": 9},
    "one more field": lambda body: {**body, "auto_truncate": True},
    "one field less": lambda body: {k: v for k, v in body.items() if k != "dimensions"},
    "another text": lambda body: {**body, "input": [*body["input"], "more"]},
    "a text instead of a list": lambda body: {**body, "input": body["input"][0]},
    "another order of keys": lambda body: dict(reversed(body.items())),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_request_that_differs_in_one_thing_is_not_in_the_cassette(
    entry_point: EntryPoint, cassettes: Path, mutation: str
) -> None:
    scenario = BY_NAME["google/task_question_answering"]
    unchanged, changed = ChangedBodies(lambda body: body), ChangedBodies(MUTATIONS[mutation])
    assert len(replay(scenario, entry_point, cassettes, unchanged)) == scenario.size
    with pytest.raises(CannotOverwriteExistingCassetteException):
        replay(scenario, entry_point, cassettes, changed)


class ChangedBodies(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Changes the body of each request before it is sent."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def changed(self, request: httpx.Request) -> httpx.Request:
        body = self.change(json.loads(request.content))
        content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        headers = {**request.headers, "content-length": str(len(content))}
        return httpx.Request(request.method, request.url, headers=headers, content=content)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with httpx.HTTPTransport(verify=False) as transport:
            reply = transport.handle_request(self.changed(request))
            reply.read()
            return reply

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with httpx.AsyncHTTPTransport(verify=False) as transport:
            reply = await transport.handle_async_request(self.changed(request))
            await reply.aread()
            return reply


def test_a_request_to_another_url_is_not_in_the_cassette(
    entry_point: EntryPoint, cassettes: Path
) -> None:
    scenario = BY_NAME["google/query"]
    elsewhere = {**scenario.options, "base_url": "https://api.aimlapi.com/v2"}
    with pytest.raises(CannotOverwriteExistingCassetteException):
        replay(Scenario(**{**vars_of(scenario), "options": elsewhere}), entry_point, cassettes)


def vars_of(scenario: Scenario) -> dict[str, Any]:
    return {name: getattr(scenario, name) for name in Scenario.__slots__}


def test_recording_twice_from_the_emulator_gives_the_same_bytes(
    tmp_path: Path, loaded: dict[str, list[Exchange]], cassettes: Path
) -> None:
    """The recordings go through different entry points, which must send the same bytes."""
    ways = {
        tmp_path / "all": "core-sync",
        tmp_path / "some": "llama_index-async and (google or nugen or qwen)",
    }
    running = [record(folder, way, cassettes) for folder, way in ways.items()]
    for process in running:
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 0, said
    every, some = map(contents, ways)
    assert len(some) > 50
    assert some == {name: every[name] for name in some}
    anew = read_all(tmp_path / "all")
    assert set(anew) == set(loaded)
    for name, cassette in loaded.items():
        if {exchange.origin for exchange in cassette} == {"emulator"}:
            assert comparable(anew[name]) == comparable(cassette), f"{name}: record it again"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.yaml")}


def record(folder: Path, way: str, cassettes: Path) -> subprocess.Popen[str]:
    for scenario in (scenario for scenario in SCENARIOS if scenario.documented):
        (folder / scenario.family).mkdir(parents=True)
        shutil.copy(cassettes / f"{scenario}.yaml", folder / f"{scenario}.yaml")
    tests = Path(__file__).with_name("test_scenarios.py")
    options = ("--record-mode=rewrite", f"--cassettes={folder}", "-k", way, "-q")
    command = [sys.executable, "-m", "pytest", str(tests), *options, "-p", "no:cacheprovider"]
    return subprocess.Popen(
        command, cwd=tests.parents[2], env=os.environ, text=True, stdout=subprocess.PIPE
    )


def comparable(cassette: list[Exchange]) -> list[tuple[object, ...]]:
    return [(exchange.request.uri, exchange.request.body, exchange.reply) for exchange in cassette]
