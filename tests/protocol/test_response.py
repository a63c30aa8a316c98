"""A reply gives its vectors in input order or a ReplyError, never a shifted or wrong vector."""

from __future__ import annotations

import base64
import json
import math
import struct
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import ReplyError
from aimlapi_embeddings._protocol.response import is_finite, parse_reply, size_of
from aimlapi_embeddings._protocol.vectors import floats_of
from aimlapi_embeddings._types import Reply, Row

NO_BASE64 = ["no base64!", "AAAA$A==", "AAAAA", "AA AA", "AAAA=A", "AAA\u00e9"]
FUZZ = settings(max_examples=150)
NAN, INFINITY = math.nan, math.inf


def floats(row: Row) -> list[float]:
    return row if isinstance(row, list) else floats_of(row).tolist()


def packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def in_base64(row: list[float] | bytes) -> str:
    return base64.b64encode(row if isinstance(row, bytes) else packed(row)).decode()


def reply(data: Any, **more: Any) -> Reply:
    return Reply(200, {}, json.dumps({"data": data, **more}).encode())


def items(*embeddings: Any) -> list[dict[str, Any]]:
    return [{"embedding": embedding, "index": i} for i, embedding in enumerate(embeddings)]


def indexed(*indexes: Any) -> list[dict[str, Any]]:
    """Make vectors that hold their index, counted from 1."""
    return [{"embedding": [(i or 0) + 1.0], "index": i} for i in indexes]


def vectors(answer: Reply, expected: int) -> list[list[float]]:
    return [floats(row) for row in parse_reply(answer, expected).rows]


def refused(answer: Reply, expected: int, **options: Any) -> str:
    """Return the message with which a reply is refused."""
    with pytest.raises(ReplyError) as caught:
        parse_reply(answer, expected, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    "embeddings",
    [
        ([1.0, -2.5], [0.5, 4.0]),
        (in_base64([1.0, -2.5]), in_base64([0.5, 4.0])),
        ([1.0, -2.5], in_base64([0.5, 4.0])),
        ([1, -2.5], [0.5, 4]),
    ],
    ids=["numbers", "base64", "mixed", "integers"],
)
def test_numbers_and_base64_are_the_same_vectors(embeddings: tuple[Any, ...]) -> None:
    assert vectors(reply(items(*embeddings)), 2) == [[1.0, -2.5], [0.5, 4.0]]


@FUZZ
@given(st.permutations(range(6)))
def test_vectors_are_placed_by_their_index(order: list[int]) -> None:
    assert vectors(reply(indexed(*order)), 6) == [[i + 1.0] for i in range(6)]


@pytest.mark.parametrize("absent", [{}, {"index": None}], ids=["missing", "null"])
def test_without_indexes_the_order_of_the_reply_counts(absent: dict[str, None]) -> None:
    data = [{"embedding": [1.0], **absent}, {"embedding": [2.0], **absent}]
    assert vectors(reply(data), 2) == [[1.0], [2.0]]


@pytest.mark.parametrize(
    "indexes",
    [(0, 0), (1, 1), (0, 2), (1, 2), (0, -1), (None, 0), (0, None), (0, 10**18), (None, 2)],
)
def test_repeated_or_missing_indexes_are_refused(indexes: tuple[int | None, ...]) -> None:
    said = refused(reply(indexed(*indexes)), 2)
    assert said == (
        f"the vectors' indexes are not 0 to 1, each once: {list(indexes)}. Ask the provider, or "
        "set batch_size=1, where the order does not matter."
    )


@pytest.mark.parametrize("order", [*permutations([None, 1, 2])])
def test_an_index_that_is_left_out_beside_others_is_0(order: tuple[int | None, ...]) -> None:
    """Protobuf leaves out numbers that are 0, and so does Google's endpoint."""
    assert vectors(reply(indexed(*order)), 3) == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("index", ["0", 0.5, True, [0], 10**400])
def test_an_index_that_is_no_integer_in_range_is_refused(index: Any) -> None:
    assert refused(reply([{"embedding": [1.0], "index": index}]), 1)


def test_only_the_first_wrong_indexes_are_shown() -> None:
    assert len(refused(reply(indexed(*[7] * 1000)), 1000)) < 300


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_short_or_long_reply_is_refused(count: int) -> None:
    said = refused(reply(indexed(*range(count))), 2)
    assert said == f"2 texts were sent, but {count} vectors came back."


@pytest.mark.parametrize("ragged", [[1.0], [1.0, 2.0, 3.0], in_base64([1.0])])
def test_a_ragged_reply_is_refused(ragged: Any) -> None:
    said = refused(reply(items([1.0, 2.0], ragged)), 2)
    assert said.endswith("numbers, but 2 are in vector 0.")


@pytest.mark.parametrize("vector", [[1.0, 2.0], in_base64([1.0, 2.0])])
def test_a_vector_of_another_size_than_expected_is_refused(vector: Any) -> None:
    said = refused(reply(items(vector)), 1, size=3)
    assert said == "vector 0 of the reply has 2 numbers, but 3 were expected."


@pytest.mark.parametrize("size", [None, 2])
def test_a_vector_of_the_expected_size_is_accepted(size: int | None) -> None:
    assert parse_reply(reply(items([1.0, 2.0])), 1, size=size).rows == [[1.0, 2.0]]


@pytest.mark.parametrize("empty", [[], "", None])
def test_an_empty_vector_is_refused(empty: Any) -> None:
    assert refused(reply(items([1.0], empty)), 2) == "vector 1 of the reply is empty or null."


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_base64_that_is_not_four_bytes_a_number_is_refused(count: int) -> None:
    said = refused(reply(items(in_base64(bytes(count)))), 1)
    assert said == f"vector 0 of the reply is {count} bytes long, not four for each number."


@pytest.mark.parametrize(
    "embedding",
    [True, 1.0, {}, ["1.0"], [True], [[1.0]], *NO_BASE64],
)
def test_a_value_that_is_no_vector_is_refused(embedding: Any) -> None:
    assert "is not a list of embeddings" in refused(reply(items(embedding)), 1)


@pytest.mark.parametrize("place", [0, 1, 767])
@pytest.mark.parametrize("bad", [NAN, -NAN, INFINITY, -INFINITY])
def test_nan_and_infinity_in_base64_are_refused_at_any_position(bad: float, place: int) -> None:
    vector = [1e38] * 768  # large numbers share most of the bits
    vector[place] = bad
    said = refused(reply(items([1.0] * 768, in_base64(vector))), 2)
    assert said == "vector 1 of the reply holds NaN, infinity or null."


@pytest.mark.parametrize("number", ["null", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("row", ["[%s]", "[1.0, %s, 2.0]", "[1.0,%s]", "[ %s ,1]"])
def test_nan_and_infinity_among_json_numbers_are_refused_as_those_of_one_text(
    number: str, row: str
) -> None:
    bad, good = row % number, row % "3.0"
    body = f'{{"data":[{{"index":1,"embedding":{bad}}},{{"index":0,"embedding":{good}}}]}}'
    said = refused(Reply(200, {}, body.encode()), 2)
    assert said == "vector 1 of the reply holds NaN, infinity or null."


@pytest.mark.parametrize("number", ["1e400", "-1e400", "nan", "NULL", "NaN5", "--Infinity"])
def test_what_is_no_number_of_json_is_refused(number: str) -> None:
    assert refused(Reply(200, {}, b'{"data":[{"embedding":[%s]}]}' % number.encode()), 1)


@pytest.mark.parametrize(
    "row",
    [
        packed([3.4028234663852886e38, -3.4028234663852886e38]),
        packed([1.7014118346046923e38, 1.0]),
        packed([1e-45, -0.0]),
        [1.7e308, 1.7e308],
        [-1.7e308, -1.7e308, 1.7e308],
    ],
)
def test_huge_and_tiny_numbers_are_finite(row: Row) -> None:
    embedding = row if isinstance(row, list) else in_base64(row)
    assert parse_reply(reply(items(embedding)), 1).rows == [row]


@FUZZ
@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0x7F00_0000, 0x7FFF_FFFF), min_size=1))
@example([0x7F80_0000])
@example([0xFF80_0000])
@example([0x7F80_0001])
@example([0xFFFF_FFFF])
@example([0x7F7F_FFFF, 0xFF7F_FFFF])
def test_packed_numbers_are_finite_exactly_if_each_is(patterns: list[int]) -> None:
    row = struct.pack(f"<{len(patterns)}I", *patterns)
    assert is_finite(row) is all(map(math.isfinite, floats(row)))


@FUZZ
@given(st.lists(st.floats()))
def test_listed_numbers_are_finite_exactly_if_each_is(row: list[float]) -> None:
    assert is_finite(row) is all(map(math.isfinite, row))


@pytest.mark.parametrize("row", [[1.0, 2.0, 3.0], packed([1.0, 2.0, 3.0])])
def test_the_size_of_a_row_is_its_count_of_numbers(row: Row) -> None:
    assert size_of(row) == 3


@pytest.mark.parametrize(
    "body",
    [b"", b"<html></html>", b"{}", b"[]", b"null", b'{"data":null}', b'{"data":{}}', b'{"data":[',
     b'{"data":[1]}', b'{"data":[{}]}', b'{"data":"\xff"}', b'{"error":{"message":"no"}}'],
)  # fmt: skip
def test_a_body_without_a_list_of_embeddings_is_refused_and_shown(body: bytes) -> None:
    said = refused(Reply(201, {}, body), 1)
    assert said.startswith("the reply (status 201) is not a list of embeddings: ")
    assert said.endswith(f"it starts {body[:80]!r}. Check base_url, or ask the provider.")


def test_only_the_start_of_a_long_body_is_shown() -> None:
    assert len(refused(Reply(200, {}, b"<" * 100_000), 1)) < 400


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_a_deeply_nested_body_is_read_or_refused(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for body in (nested, b'{"data":[{"embedding":[1.0]}],"usage":' + nested + b"}"):
        try:
            rows = parse_reply(Reply(200, {}, body), 1).rows
        except ReplyError:
            continue
        assert rows == [[1.0]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["data", "embedding", "index", "usage", "meta", "total_tokens"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@FUZZ
@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), st.integers(1, 3))
def test_any_body_is_read_or_a_reply_error(body: bytes, expected: int) -> None:
    try:
        rows = parse_reply(Reply(200, {}, body), expected).rows
    except ReplyError:
        return
    assert len(rows) == expected


@FUZZ
@given(st.lists(st.fixed_dictionaries({"embedding": JSON}, optional={"index": JSON}), max_size=3))
def test_any_value_of_data_is_read_or_a_reply_error(data: list[Any]) -> None:
    try:
        rows = parse_reply(reply(data), 1).rows
    except ReplyError:
        return
    assert [len(row) > 0 for row in rows] == [True]
