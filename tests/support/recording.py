"""How cassettes are recorded, scrubbed, named and counted.

A cassette is recorded from the live service when its key is in the environment, else from the
emulator, with the live host written into it. Replies that cannot be provoked live (an empty
account, too many requests), and scenarios about our request alone, always come from the emulator.
Each reply says where it is from. Only the headers below are kept in requests and replies, and
values that differ from one recording to the next are replaced.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
from vcr.request import Request
from vcr.serialize import deserialize
from vcr.serializers import yamlserializer

from aimlapi_embeddings import emulator, supported_models
from tests.support.entry_points import KEY
from tests.support.scenario import Scenario

CASSETTES = Path(__file__).parents[1] / "cassettes"
HOSTS = {"aimlapi": "https://api.aimlapi.com", "nugen": "https://api.nugen.in"}
ORIGINS = ("live", "emulator", "documentation")
ORIGIN = "x-recorded-from"

REQUEST_HEADERS = ("content-type",)
REPLY_HEADERS = (
    "content-type",
    "retry-after",
    "x-aimlapi-credits-used",
    "x-aimlapi-usd-spent",
    "x-inference-id",
    "x-request-id",
    ORIGIN,
)
# Values that differ from one recording to the next. They are replaced by values of the same shape.
_ID = re.compile(rb'("(?:id|requestId)"\s*:\s*"(?:embd-|embed-|nugen-)?)([^"]*)"')
_TIMESTAMP = re.compile(rb'("timestamp"\s*:\s*")[^"]*"')
_CREATED = re.compile(rb'("created"\s*:\s*)\d+(\.\d+)?')
_KEY = re.compile(rb"\b(?:sk|pk)-[\w*.-]+|\bBearer\s+[\w*.-]+")

# Read at import, because the fixture `clean_environment` removes the keys from each test.
_LIVE_KEYS = {
    "aimlapi": os.environ.get("AIMLAPI_API_KEY", ""),
    "nugen": os.environ.get("NUGEN_API_KEY", ""),
}

Source = Literal["cassette", "emulator", "live"]


def source_of(scenario: Scenario, record_mode: str, folder: Path, done: set[str]) -> Source:
    """Decide where the replies of a scenario come from in this test.

    Args:
        scenario: The scenario.
        record_mode: pytest's option: "none" replays, "once" and "new_episodes" record what is
            missing, "rewrite" and "all" record everything anew.
        folder: Of the cassettes.
        done: Scenarios recorded in this session. The first test of a scenario records it, and the
            others replay that recording.
    """
    missing = not (folder / f"{scenario}.yaml").exists()
    wanted = missing if record_mode in ("once", "new_episodes") else record_mode != "none"
    if not wanted or scenario.documented or str(scenario) in done:
        return "cassette"
    return "live" if scenario.served and _LIVE_KEYS[scenario.provider] else "emulator"


def vcr_config(scenario: Scenario, source: Source) -> dict[str, Any]:
    """Configure vcrpy for one scenario."""
    return {
        "record_mode": "none" if source == "cassette" else "rewrite",
        # vcrpy's own "body" would accept reordered JSON.
        "match_on": ["method", "uri", "raw_body"],
        "before_record_request": partial(clean_request, HOSTS[scenario.provider]),
        "before_record_response": partial(clean_reply, source),
    }


def clean_request(host: str, request: Request) -> Request:
    request.uri = re.sub(r"^http://127\.0\.0\.1:\d+", host, request.uri)
    request.headers = {
        name: value for name, value in request.headers.items() if name.lower() in REQUEST_HEADERS
    }
    return request


def clean_reply(source: Source, reply: dict[str, Any]) -> dict[str, Any]:
    """Scrub a reply. vcrpy also calls this for replies that it reads from a cassette."""
    if source == "cassette":
        return reply
    headers = {name.lower(): values for name, values in reply["headers"].items()}
    pairs = [(name, value) for name, values in headers.items() for value in values]
    status = reply["status"]["code"]
    # httpx decodes the compression of the body.
    body = httpx.Response(status, headers=pairs, content=reply["body"]["string"]).content
    kept = {name: values for name, values in headers.items() if name in REPLY_HEADERS}
    for name in kept.keys() & {"x-inference-id", "x-request-id"}:
        kept[name] = [re.sub(r"\w", "0", value) for value in kept[name]]
    kept.setdefault(ORIGIN, [source])
    return {
        "status": reply["status"],
        "headers": dict(sorted(kept.items())),
        "body": {"string": _scrubbed(body)},
    }


def _scrubbed(body: bytes) -> bytes:
    for key in filter(None, (*_LIVE_KEYS.values(), KEY)):
        body = body.replace(key.encode(), b"KEY")
    body = _KEY.sub(b"KEY", body)
    body = _ID.sub(lambda found: found[1] + re.sub(rb"\w", b"0", found[2]) + b'"', body)
    body = _TIMESTAMP.sub(rb'\g<1>2026-01-01T00:00:00.000Z"', body)
    return _CREATED.sub(lambda found: found[1] + b"1767225600" + (b".5" if found[2] else b""), body)


@contextmanager
def serving(scenario: Scenario, source: Source) -> Iterator[dict[str, Any]]:
    """Yield the client options with which a scenario is recorded or replayed."""
    key = KEY + scenario.key_end
    if source != "emulator":
        live = source == "live" and not scenario.key_end
        yield {"api_key": _LIVE_KEYS[scenario.provider] if live else key}
        return
    behaviour = emulator.Emulator(
        faults=itertools.repeat(emulator.Fault(scenario.fault) if scenario.fault else None),
        withdrawn=frozenset({scenario.model} if scenario.withdrawn else ()),
    )
    # Without TLS no certificates are loaded, which saves 20 ms for each client. No connection is
    # kept, because each call of the async client may come from another event loop.
    unkept = httpx.Limits(max_keepalive_connections=0)
    with emulator.running(behaviour) as base_url, httpx.Client(verify=False) as client:
        yield {
            "api_key": key,
            "base_url": base_url,
            "http_client": client,
            "async_http_client": httpx.AsyncClient(verify=False, limits=unkept),
        }


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and its reply."""

    request: Request
    reply: Mapping[str, Any]

    @property
    def asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = json.loads(self.request.body)
        return asked

    @property
    def answered(self) -> dict[str, Any]:
        answered: dict[str, Any] = json.loads(self.reply["body"]["string"])
        return answered

    @property
    def good(self) -> bool:
        status: int = self.reply["status"]["code"]
        return 200 <= status < 300

    @property
    def tokens(self) -> int:
        """Billed tokens according to the reply."""
        usage = (self.answered.get("usage") or {}) if self.good else {}
        return usage.get("total_tokens") or usage.get("prompt_tokens") or 0

    @property
    def origin(self) -> str:
        [origin] = self.reply["headers"][ORIGIN]
        return str(origin)


def read(path: Path) -> list[Exchange]:
    """Read a cassette."""
    cassette = deserialize(path.read_text(encoding="utf-8"), yamlserializer)
    return [Exchange(*pair) for pair in zip(*cassette, strict=True)]


def read_all(folder: Path) -> dict[str, list[Exchange]]:
    """Read every cassette of a folder, by the name of its scenario."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): read(path)
        for path in sorted(folder.rglob("*.yaml"))
    }


class Count(NamedTuple):
    """What the cassettes of one family hold."""

    models: int
    cassettes: int
    origins: Counter[str]


def count(loaded: Mapping[str, list[Exchange]]) -> dict[str, Count]:
    """Count by family."""
    ids = {name: row.id for row in supported_models() for name in (row.id, *row.aliases)}
    counts = {}
    for family in sorted({name.partition("/")[0] for name in loaded}):
        of_family = [
            cassette for name, cassette in loaded.items() if name.partition("/")[0] == family
        ]
        exchanges = [exchange for cassette in of_family for exchange in cassette]
        served = {exchange.asked["model"] for exchange in exchanges if exchange.good}
        models = {ids.get(name, name) for name in served}
        origins = Counter(exchange.origin for exchange in exchanges)
        counts[family] = Count(len(models), len(of_family), origins)
    return counts


def summary(folder: Path) -> str:
    """Summarise in one line what is recorded and where it is from."""
    counts = count(read_all(folder))
    models = sum(counted.models for counted in counts.values())
    cassettes = sum(counted.cassettes for counted in counts.values())
    origins = sum((counted.origins for counted in counts.values()), Counter[str]())
    replies = ", ".join(f"{origins[origin]} {origin}" for origin in ORIGINS)
    return (
        f"recorded: {len(counts)} families, {models} models, {cassettes} cassettes; "
        f"replies: {replies}"
    )
