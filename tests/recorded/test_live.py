"""Calls of the live services: `pytest -m live`, with AIMLAPI_API_KEY or NUGEN_API_KEY set.

Shapes must be those of the family table. What the documents leave open is asked too, and the
answers are printed; no answer is wrong. All of it costs a few US cents.
"""

from __future__ import annotations

import base64
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import httpx
import pytest

from aimlapi_embeddings import EmbeddingsClient, Model, supported_models
from tests.support.live_questions import GOOGLE, LAURA, PROBES, UNANSWERED, Probe

pytestmark = [
    pytest.mark.live,
    pytest.mark.enable_socket,
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*longer than:UserWarning"),
]

# Read at import, because the fixture `clean_environment` removes them from each test.
KEYS, BASES = (
    {name: os.environ.get(f"{name.upper()}_API_{what}", "") for name in ("aimlapi", "nugen")}
    for what in ("KEY", "BASE")
)
HOSTS = {
    "aimlapi": "https://api.aimlapi.com/v1",
    "nugen": "https://api.nugen.in/api/v3/inference",
}
# The test model may be closed to ordinary keys; it is one of the open questions below.
LISTED = [row for row in supported_models() if not row.retired and row.family.name != "generic"]
RETIRED = [row for row in supported_models() if row.retired]
QUESTION = "Who is a DJ?"
SECONDS = 120.0

by_id = attrgetter("id")
Say = Callable[[str], None]


@pytest.fixture
def say(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Say:
    """A function that prints a line although pytest captures output."""
    reporter: Any = request.config.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        with capsys.disabled():
            reporter.ensure_newline()
            reporter.write_line(f"live: {line}")

    return write


@pytest.fixture
def post() -> Iterator[Callable[[Probe], httpx.Response]]:
    with httpx.Client(timeout=SECONDS) as client:

        def send(probe: Probe) -> httpx.Response:
            key = probe.key or key_for(probe.provider)
            base = BASES[probe.provider] or HOSTS[probe.provider]
            body = {"model": probe.model, "input": probe.input, **probe.fields}
            headers = {"Authorization": f"Bearer {key}"}
            return client.post(f"{base.rstrip('/')}/embeddings", json=body, headers=headers)

        yield send


def key_for(provider: str) -> str:
    return KEYS[provider] or pytest.skip(f"{provider.upper()}_API_KEY is not set")


@pytest.mark.parametrize("row", LISTED, ids=by_id)
def test_live_vectors_have_the_size_of_the_family_table(row: Model, say: Say) -> None:
    provider = row.family.provider
    client = EmbeddingsClient(
        model=row.id,
        provider=provider,  # type: ignore[arg-type]
        api_key=key_for(provider),
        base_url=BASES[provider] or None,
        timeout=SECONDS,
    )
    with client:
        results = [client.embed([LAURA]), client.embed([QUESTION], role="query")]
    sizes = {len(result.vectors[0]) for result in results}
    lengths = ", ".join(f"{math.hypot(*result.vectors[0]):.6f}" for result in results)
    say(f"{row.id}: {sizes} numbers, length {lengths}; {client.usage}")
    assert len(sizes) == 1
    assert row.native_dimensions in (*sizes, None)  # None: no size is published


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{probe.question} {probe.model}")
def test_each_open_question_gets_an_answer(
    probe: Probe, post: Callable[[Probe], httpx.Response], say: Say
) -> None:
    started = time.monotonic()
    response = post(probe)
    seconds = time.monotonic() - started
    say(f"{probe.provider} {probe.model}: {probe.question}")
    say(f"    {described(response)}; {seconds:.1f} s")


@pytest.mark.parametrize("row", RETIRED, ids=by_id)
def test_a_retired_model_is_requested_and_its_answer_printed(
    row: Model, post: Callable[[Probe], httpx.Response], say: Say
) -> None:
    response = post(Probe("is it gone?", row.family.provider, row.id))
    say(f"{row.id}, retired {row.retired}: {described(response)}")


def test_whether_two_voyage_models_are_one_is_printed(
    post: Callable[[Probe], httpx.Response], say: Say
) -> None:
    first, second = (
        vectors(post(Probe("one model?", "aimlapi", model)))
        for model in ("voyage-code-2", "voyage-large-2")
    )
    if first and second:
        apart = max(abs(x - y) for x, y in zip(first[0], second[0], strict=False))
        say(f"voyage-code-2 and voyage-large-2 differ by at most {apart:.2g}")


def test_whether_the_published_vector_is_current_is_printed(
    post: Callable[[Probe], httpx.Response], say: Say
) -> None:
    response = post(Probe("the published sample", "aimlapi", GOOGLE))
    for vector in vectors(response):
        say(f"{GOOGLE} for the published sample: {vector[:3]}")
        say("    published: [0.10541483759880066, -0.007883904501795769, 0.026113376021385193]")


def test_questions_without_an_answer_are_printed(say: Say) -> None:
    for question in UNANSWERED:
        say(f"not asked: {question}")


TOLD = ("x-", "retry-after", "cf-ray", "server", "ratelimit")


def described(response: httpx.Response) -> str:
    """Describe a reply in one line, without the key."""
    headers = {k: v for k, v in response.headers.items() if k.lower().startswith(TOLD)}
    kind = response.headers.get("content-type", "no content type")
    what = described_body(response)
    for key in filter(None, KEYS.values()):
        what = what.replace(key, "KEY")
    return f"{response.status_code}, {kind}, {what}; {headers}"


def described_body(response: httpx.Response) -> str:
    if not response.is_success:
        return " ".join(response.text.split())[:400]
    body = response.json()
    data = body.pop("data", [])
    forms = {type(item["embedding"]).__name__ for item in data}
    indexes = [item.get("index") for item in data]
    fields = sorted({name for item in data for name in item})
    sizes = {len(vector) for vector in vectors(response)}
    return (
        f"{len(indexes)} vectors of {sizes} as {forms}, indexes {indexes[:3]}, fields {fields}, "
        f"and {json.dumps(body)}"
    )


def vectors(response: httpx.Response) -> list[list[float]]:
    """Decode the vector of a reply from numbers or base64; empty for an error."""
    return [
        memoryview(base64.b64decode(item["embedding"])).cast("f").tolist()
        if isinstance(item["embedding"], str)
        else item["embedding"]
        for item in (response.json().get("data", []) if response.is_success else [])
    ]
