"""How many texts share a request, by family, through all entry points."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest

from aimlapi_embeddings import AuthenticationError, emulator, supported_models
from tests.support.entry_points import EntryPoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:of-tomorrow is not a model:UserWarning"),
]

GOOGLE = "text-multilingual-embedding-002"
GECKO = "textembedding-gecko@003"
OPENAI = "text-embedding-3-small"
VOYAGE = "voyage-law-2"
BGE = "BAAI/bge-base-en-v1.5"
M2 = "togethercomputer/m2-bert-80M-{}-retrieval"
QWEN = "alibaba/qwen-text-embedding-v3"
NUGEN = "nugen-flash-embed"
UNKNOWN = "of-tomorrow"
SIZES = {row.id: row.native_dimensions for row in supported_models()}
BAD_REQUEST = {"content-type": "application/json"}


def answer(request: emulator.Request, most: int | None = None) -> emulator.Reply:
    """Give each text a vector that begins with its length, or refuse more texts than `most`."""
    body = json.loads(request.body)
    texts = body["input"]
    texts = [texts] if isinstance(texts, str) else texts
    if most is not None and len(texts) > most:
        said = {"message": f"Too many texts: {len(texts)}, at most {most} are allowed."}
        return emulator.Reply(400, BAD_REQUEST, json.dumps(said).encode())
    zeros = bytes(4 * (SIZES.get(body["model"]) or 1) - 4)
    rows = [struct.pack("<f", len(text)) + zeros for text in texts]
    data = [{"index": i, "embedding": b64encode(row).decode()} for i, row in enumerate(rows)]
    return emulator.Reply(200, {}, json.dumps({"data": data}).encode())


def made(entry_point: EntryPoint, model: str, **options: Any) -> EntryPoint:
    entry_point.fake_server.answer = answer
    provider = "nugen" if model == NUGEN else "aimlapi"
    return entry_point.make(model, provider=provider, **{"max_concurrency": 1, **options})


def sizes(entry_point: EntryPoint) -> list[int | str]:
    """Return the number of texts of each request, or "alone" for a text outside a list."""
    return [
        "alone" if isinstance(sent, str) else len(sent) for sent in entry_point.fake_server.inputs
    ]


def test_voyage_texts_over_800_characters_are_sent_alone_and_the_others_together(
    entry_point: EntryPoint,
) -> None:
    texts = ["a", "b" * 800, "c" * 801, "d", "e" * 8000, "f" * 8001, "g" * 799, "h"]
    vectors = made(entry_point, VOYAGE).documents(texts)
    fields = {"model": VOYAGE, "input_type": "document"}
    assert entry_point.fake_server.bodies == [
        {**fields, "input": ["a", "b" * 800, "d", "g" * 799, "h"]},
        {**fields, "input": "c" * 801},
        {**fields, "input": "e" * 8000},
        {
            **fields,
            "input": "f" * 8001,
        },  # longer than the schema allows; it is sent for the server to judge
    ]
    assert [vector[0] for vector in vectors] == [len(text) for text in texts]


def test_a_long_voyage_query_is_sent_as_a_string(entry_point: EntryPoint) -> None:
    made(entry_point, VOYAGE).query("q" * 801)
    entry_point.query("q" * 800)
    assert entry_point.fake_server.inputs == ["q" * 801, ["q" * 800]]


def numbered(count: int, tokens: int = 1) -> list[str]:
    """Make texts of an estimated size: one token for each three bytes, plus one."""
    return [f"{i:05}".ljust(3 * tokens - 3, "x") for i in range(count)]


# model, texts, texts of each request
BATCHES: list[tuple[str, list[str], list[int | str]]] = [
    (QWEN, numbered(25), [10, 10, 5]),
    (GECKO, numbered(12), [5, 5, 2]),
    (GOOGLE, numbered(250), [250]),
    (GOOGLE, numbered(500), [250, 250]),
    (GOOGLE, numbered(251), [126, 125]),
    (GOOGLE, numbered(10, tokens=2_000), [10]),
    (GOOGLE, numbered(11, tokens=2_000), [10, 1]),
    (OPENAI, numbered(2048), [2048]),
    (OPENAI, numbered(4096), [2048, 2048]),
    (OPENAI, numbered(2049), [1025, 1024]),
    (OPENAI, numbered(40, tokens=7_500), [40]),
    (OPENAI, numbered(41, tokens=7_500), [40, 1]),
    (VOYAGE, numbered(2000), [1000, 1000]),
    (VOYAGE, numbered(500, tokens=240), [500]),
    (VOYAGE, numbered(501, tokens=240), [251, 250]),
    (M2.format("2k"), numbered(3), ["alone", "alone", "alone"]),
    (M2.format("32k"), numbered(200), [100, 100]),
    (BGE, numbered(200), [100, 100]),
    (NUGEN, numbered(200), [100, 100]),
    (UNKNOWN, numbered(200), [100, 100]),
]


@pytest.mark.parametrize(
    ("model", "texts", "requests"),
    BATCHES,
    ids=lambda value: f"{len(value)}" if isinstance(value, list) else value,
)
def test_a_request_holds_as_many_texts_as_its_family_allows(
    entry_point: EntryPoint, model: str, texts: list[str], requests: list[int | str]
) -> None:
    vectors = made(entry_point, model).documents(texts)
    assert sizes(entry_point) == requests
    assert [vector[0] for vector in vectors] == [len(text) for text in texts]


@pytest.mark.parametrize(
    ("model", "batch_size", "requests"),
    [
        (QWEN, 11, [10, 10, 4]),
        (QWEN, 7, [7, 7, 7, 3]),
        (GECKO, 250, [5, 5, 5, 5, 4]),
        (GOOGLE, 12, [12, 12]),
        (VOYAGE, 10_000, [24]),
        (M2.format("8k"), 10, ["alone"] * 24),
        (UNKNOWN, 20, [20, 4]),
    ],
)
def test_batch_size_can_only_lower_the_limit(
    entry_point: EntryPoint, model: str, batch_size: int, requests: list[int | str]
) -> None:
    made(entry_point, model, batch_size=batch_size).documents(numbered(24))
    assert sizes(entry_point) == requests


@pytest.mark.parametrize("model", [BGE, M2.format("32k"), NUGEN, UNKNOWN, GOOGLE, QWEN])
def test_a_limit_below_the_known_one_is_found_by_halving(
    entry_point: EntryPoint, model: str
) -> None:
    texts = [f"{'x' * i}" for i in range(1, 61)]
    made(entry_point, model)
    entry_point.fake_server.answer = lambda request: answer(request, most=7)
    assert [vector[0] for vector in entry_point.documents(texts)] == [*range(1, 61)]
    accepted = [size for size in sizes(entry_point) if isinstance(size, int) and size <= 7]
    assert sum(accepted) == 60


@pytest.mark.parametrize(
    ("model", "max_concurrency", "size"),
    [
        (OPENAI, 1, 2048),
        (OPENAI, 8, 1024),
        (OPENAI, 16, 512),
        (OPENAI, 500, 64),  # the least size of a batch
        ("text-embedding-3-large", 16, 256),
    ],
)
def test_replies_in_flight_stay_below_64_megabytes(
    entry_point: EntryPoint, model: str, max_concurrency: int, size: int
) -> None:
    made(entry_point, model, max_concurrency=max_concurrency)
    entry_point.fake_server.answer = lambda _: emulator.Reply(401, {}, b"")  # ends the call early
    with pytest.raises(AuthenticationError):
        entry_point.documents(numbered(2 * max_concurrency * size))
    assert set(sizes(entry_point)) == {size}
