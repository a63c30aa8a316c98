"""Hypothesis strategies: malformed replies of a server, and unusual values of options."""

from __future__ import annotations

import base64
import json
import math
import struct
from decimal import Decimal
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from aimlapi_embeddings import emulator
from tests.support.entry_points import KEY, OPENAI

# Replies

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
    """A body that has the structure of a valid reply, with some wrong parts."""
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
    """A valid body with one part removed or replaced."""
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


# Options


class Odd:
    """A value of a type that no option expects."""


ODD = [Odd(), Odd, print, Path("x"), Decimal(1), 1j, range(3), 10**400, "\ud800", "a\n", " "]
ODD += [5, b"x", [], {}, (), "no", {"a": object()}, {"a": "\ud800"}, {"a": 10**400}]
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
