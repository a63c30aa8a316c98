"""Every scenario is replayed from one cassette by all six entry points."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from vcr.cassette import Cassette

from tests.support.entry_points import MODES, EntryPoint, FakeServer, Mode, Package
from tests.support.recording import Exchange
from tests.support.scenario import Call, Scenario
from tests.support.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.vcr,
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*longer than:UserWarning"),
    pytest.mark.filterwarnings("ignore:emulated/of-tomorrow is not a model:UserWarning"),
]

WAYS = [
    pytest.param(scenario, name, mode, id=f"{scenario}-{name}-{mode}")
    for scenario in SCENARIOS
    for name in scenario.packages
    for mode in MODES
]


def play(scenario: Scenario, entry_point: EntryPoint) -> list[tuple[Call, list[list[float]]]]:
    """Make the calls of a scenario; return each with its vectors."""
    played = []
    for i, call in enumerate(scenario.calls):
        if scenario.error and i >= len(scenario.calls) - scenario.fails:
            with pytest.raises(scenario.error) as caught:
                embed(entry_point, call)
            assert type(caught.value) is scenario.error
        else:
            played.append((call, embed(entry_point, call)))
    return played


def embed(entry_point: EntryPoint, call: Call) -> list[list[float]]:
    if call.role == "query":
        return [entry_point.query(text) for text in call.texts]
    options = {"titles": list(call.titles)} if call.titles else {}
    return entry_point.documents(list(call.texts), **options)


def told(cassette: list[Exchange]) -> dict[tuple[str | None, str], list[float]]:
    """Return the vectors of a cassette by title and text as sent."""
    vectors = {}
    for exchange in (exchange for exchange in cassette if exchange.good):
        asked, data = exchange.asked, exchange.answered["data"]
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        for item in data:
            vectors[asked.get("title"), texts[item["index"]]] = numbers(item["embedding"])
    return vectors


def numbers(embedding: str | list[float]) -> list[float]:
    if isinstance(embedding, list):
        return embedding
    packed = base64.b64decode(embedding)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


@pytest.mark.parametrize(("scenario", "package", "mode"), WAYS)
def test_every_entry_point_replays_the_same_cassette(
    scenario: Scenario,
    package: Package,
    mode: Mode,
    vcr: Cassette,
    source: str,
    service: dict[str, Any],
) -> None:
    entry_point = EntryPoint(package, mode, FakeServer()).make_plain(
        scenario.provider, model=scenario.model, **service, **scenario.options
    )
    played = play(scenario, entry_point)
    entry_point.client.close()

    cassette = [Exchange(*pair) for pair in vcr.data]
    assert vcr.play_count == (len(cassette) if source == "cassette" else 0)
    vectors = told(cassette)
    for call, got in played:
        assert [len(vector) for vector in got] == [scenario.size] * len(call.texts)
        for title, text, vector in zip(
            call.titles or [None] * len(call.texts), call.texts, got, strict=True
        ):
            [sent] = [key for key in vectors if key[0] == title and key[1].endswith(text)]
            assert vector == vectors[sent]
    assert entry_point.client.usage.requests == len(cassette)
    assert entry_point.client.usage.total_tokens == sum(exchange.tokens for exchange in cassette)
