"""Whatever a server says and whatever an option holds, only documented errors come out.

`pytest tests/test_fuzz.py --hypothesis-profile=long` looks for some minutes.
"""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
import math
import pickle
import struct
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from adapters import NUGEN
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from surfaces import GOOGLE, KEY, OPENAI, Clock, Colour, Surface, Wire

from aimlapi_embeddings import AIMLAPIError, ConfigurationError, EmbeddingsClient, emulator
from langchain_aimlapi_embeddings import AIMLAPIEmbeddings, NugenEmbeddings
from llama_index_aimlapi_embeddings import AIMLAPIEmbedding, NugenEmbedding

pytestmark = [
    pytest.mark.timeout(3600),  # of the long profile
    pytest.mark.filterwarnings("ignore:.* is not a model this version knows"),
]
fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

# What servers say

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(KEY),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["message", "error", "detail", "loc", "msg", "title", "data", "usage"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NUMBERS = st.floats() | st.integers() | st.sampled_from([math.nan, -math.inf, 1e300, 10**400])


def _packed(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


EMBEDDINGS = st.one_of(
    st.lists(NUMBERS, max_size=4),
    st.lists(st.floats(width=32), max_size=4).map(_packed),
    st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode()),
    st.text(max_size=9),
    JSON,
)
GOOD_EMBEDDINGS = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2)


@st.composite
def almost_good(draw: st.DrawFn, texts: int) -> bytes:
    """A body with the bones of a good reply."""
    count = draw(st.sampled_from([texts] * 4 + [0, texts - 1, texts + 1]))
    like = draw(st.sampled_from([GOOD_EMBEDDINGS, GOOD_EMBEDDINGS.map(_packed), EMBEDDINGS]))
    data = [{"embedding": draw(like), "index": i} for i in range(count)]
    for item in data:
        if draw(st.integers(0, 9)) == 0:
            item["index"] = draw(st.integers(-1, texts) | JSON)
    body = {"data": data}
    for name in ("usage", "meta"):
        if draw(st.booleans()):
            body[name] = draw(JSON)
    return json.dumps(body).encode()


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A good body with some of it missing, or other bytes in its place."""
    start = draw(st.integers(0, len(good)))
    stop = draw(st.integers(start, len(good)))
    return good[:start] + draw(st.binary(max_size=3)) + good[stop:]


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "retry-after",
            "content-type",
            "content-encoding",
            "location",
            "x-inference-id",
            "x-request-id",
            "x-aimlapi-credits-used",
            "x-aimlapi-usd-spent",
        ]
    )
    | st.from_regex(r"[a-z-]{1,9}", fullmatch=True),
    st.sampled_from(["0", "1", "-1", "1e400", "nan", "gzip", "deflate", "Sun, 99", KEY])
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    | st.from_regex(r"[\x20-\x7e\xa0-\xff]{0,20}", fullmatch=True),
    max_size=4,
).map(lambda headers: {name: value.encode("latin-1") for name, value in headers.items()})
STATUSES = st.just(200) | st.sampled_from([201, 204, 301, 400, 401, 413, 422, 429, 500, 503])
TEXTS = ["a", "b", "c"]
GOOD = emulator.answer(
    emulator.Request(
        "POST",
        "/v1/embeddings",
        {"authorization": "Bearer k"},
        json.dumps({"model": OPENAI, "input": TEXTS, "dimensions": 2}).encode(),
    )
).body
BODIES = st.one_of(
    almost_good(len(TEXTS)), damaged(GOOD), JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=50), st.just(GOOD),
)  # fmt: skip
REPLIES = st.builds(emulator.Reply, STATUSES | st.integers(200, 999), st.just({}) | HEADERS, BODIES)


def embed(surface: Surface) -> list[list[float]] | AIMLAPIError:
    try:
        return surface.documents(TEXTS)
    except AIMLAPIError as error:
        return error


@fuzzed
@given(
    replies=st.lists(REPLIES, min_size=1, max_size=3),
    options=st.sampled_from([{}, {"dimensions": 2}]),
)
def test_a_reply_of_any_kind_gives_vectors_or_a_documented_error(
    colour: Colour, clock: Clock, replies: list[emulator.Reply], options: dict[str, Any]
) -> None:
    wire = Wire()
    queue = iter(replies)
    wire.answer = lambda request: next(queue, replies[-1])
    surface = Surface("core", colour, wire).make(OPENAI, max_retries=1, **options)
    outcome = embed(surface)
    event(type(outcome).__name__)
    assert surface.client.usage.requests == len(wire.requests)
    if isinstance(outcome, AIMLAPIError):
        assert KEY not in f"{outcome!s}{outcome!r}{vars(outcome)}"
        assert outcome.partial is not None
        assert len(outcome.partial.vectors) == len(TEXTS)
        copy = pickle.loads(pickle.dumps(outcome))
        assert (type(copy), str(copy)) == (type(outcome), str(outcome))
    else:
        size = options.get("dimensions", len(outcome[0]))
        assert size > 0
        assert [len(vector) for vector in outcome] == [size] * len(TEXTS)
        numbers = [number for vector in outcome for number in vector]
        assert all(type(number) is float and math.isfinite(number) for number in numbers)


# What options hold


class Odd:
    """A value of a type that nobody expects."""


ODD = [Odd(), Odd, print, Path("x"), Decimal(1), 1j, range(3), 10**400, "\ud800", "a\n", " "]
ODD += [np.arange(2), np.arange(0), np.float64(0.5), np.int64(3), np.str_("auto")]
GOOD_SOMEWHERE = [
    "auto",
    "base64",
    "google",
    "nugen",
    "CLUSTERING",
    "truncate",
    "http://example.com",
]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=9),
        st.binary(max_size=9),
        st.text(max_size=9).map("https://h{}".format),
        st.sampled_from(ODD),
        st.sampled_from(GOOD_SOMEWHERE),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.sampled_from(["model", "Host", 5]), inner),
    ),
    max_leaves=4,
)

# What else an option is called, in the client's own words or by an alias.
ALSO: Mapping[str, tuple[str, ...]] = {
    "model_name": ("model",),
    "aimlapi_api_key": ("api_key",),
    "nugen_api_key": ("api_key",),
    "aimlapi_api_base": ("base_url",),
    "nugen_api_base": ("base_url",),
    "api_base": ("base_url",),
    "chunk_size": ("batch_size",),
    "request_timeout": ("timeout",),
    "default_headers": ("headers",),
    "model_kwargs": ("extra_body",),
    "additional_kwargs": ("extra_body",),
    "http_async_client": ("async_http_client",),
}

USUAL: Mapping[Callable[..., Any], dict[str, Any]] = {
    EmbeddingsClient: {"model": GOOGLE, "api_key": KEY},
    AIMLAPIEmbeddings: {"model": GOOGLE, "aimlapi_api_key": KEY},
    NugenEmbeddings: {"model": NUGEN, "nugen_api_key": KEY},
    AIMLAPIEmbedding: {"model_name": GOOGLE, "api_key": KEY},
    NugenEmbedding: {"model_name": NUGEN, "api_key": KEY},
}
REFUSAL = {**dict.fromkeys(USUAL, ValidationError), EmbeddingsClient: ConfigurationError}
WAYS = pytest.mark.parametrize("make", USUAL, ids=lambda make: make.__name__)


def options_of(make: Callable[..., Any]) -> list[str]:
    fields = getattr(make, "model_fields", None)
    return sorted(fields or inspect.signature(make).parameters)


def build(make: Callable[..., Any], options: Mapping[str, object]) -> str | None:
    """Build one, and use it if it lets itself be built; return what the refusal says."""
    wire = httpx.Client(transport=httpx.MockTransport(Wire()))
    try:
        built = make(**{**USUAL[make], "http_client": wire, **options})
    except REFUSAL[make] as error:
        return str(error)
    except TypeError as error:
        if str(error) == "embeddings_cache must be of type BaseKVStore":  # so says the framework
            return str(error)
        raise
    if "http_client" not in options:  # or it might find a way out
        with contextlib.suppress(AIMLAPIError):
            assert len(getattr(built, "client", built).embed(["a", "b"]).vectors) == 2
    return None


@WAYS
@fuzzed
@given(data=st.data())
def test_a_value_that_an_option_cannot_have_is_refused_and_the_option_named(
    make: Callable[..., Any], clock: Clock, data: st.DataObject
) -> None:
    option = data.draw(st.sampled_from(options_of(make)))
    said = build(make, {option: data.draw(VALUES)})
    event(f"{option} {'taken' if said is None else 'refused'}")
    assert said is None or any(name in said for name in (option, *ALSO.get(option, ())))


@WAYS
@fuzzed
@given(data=st.data())
def test_values_of_any_kind_are_taken_or_refused(
    make: Callable[..., Any], clock: Clock, data: st.DataObject
) -> None:
    names = data.draw(st.sets(st.sampled_from(options_of(make)), min_size=2, max_size=5))
    build(make, {name: data.draw(VALUES, label=name) for name in sorted(names)})


@WAYS
@fuzzed
@given(name=st.text(), value=VALUES)
def test_an_unknown_option_is_refused_and_named(
    make: Callable[..., Any], name: str, value: object
) -> None:
    refusal = TypeError if make is EmbeddingsClient else ValidationError
    with pytest.raises(refusal) as caught:
        make(**{**USUAL[make], f"{name}_": value})
    assert any(shown in str(caught.value) for shown in (f"'{name}_'", repr(f"{name}_")))
