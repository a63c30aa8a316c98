"""Vectors that are refused, unusual spellings that are accepted, and what a refusal shows."""

from __future__ import annotations

import base64
import codecs
import gzip
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimlapi_embeddings import ReplyError
from aimlapi_embeddings._protocol.response import is_zero, parse_reply
from aimlapi_embeddings._protocol.vectors import floats_of
from aimlapi_embeddings._types import Reply, Row, Served

VECTOR = [0.6000000238418579, -0.800000011920929, 0.5, 3.25, -1.0]  # exact in float32
PACKED = struct.pack("<5f", *VECTOR)


def reply(embedding: Any, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    item = {"embedding": embedding, "index": 0}
    return Reply(200, headers or {}, json.dumps({"data": [item], **more}).encode())


def floats(row: Row) -> list[float]:
    return row if isinstance(row, list) else floats_of(row).tolist()


def refused(answer: Reply, size: int | None = None) -> str:
    with pytest.raises(ReplyError) as caught:
        parse_reply(answer, 1, size=size)
    return str(caught.value)


@pytest.mark.parametrize("zero", [0.0, -0.0, 0])
@pytest.mark.parametrize("count", [1, 3, 1536])
def test_a_vector_of_zeros_is_refused_in_either_form(zero: float, count: int) -> None:
    packed = base64.b64encode(struct.pack(f"<{count}f", *[zero] * count)).decode()
    for embedding in ([zero] * count, packed):
        assert refused(reply(embedding)).startswith("vector 0 of the reply is all zeros")


@given(
    st.binary(min_size=1).map(lambda row: row * 4)
    | st.lists(st.sampled_from([0, 0x80]), min_size=4).map(bytes).map(lambda row: row * 4)
)
def test_a_packed_vector_is_zero_exactly_if_each_number_is(row: bytes) -> None:
    assert is_zero(row) is not any(floats_of(row))


@pytest.mark.parametrize(("count", "kind"), [(6, "e"), (6, "d")], ids=["float16", "float64"])
def test_numbers_of_another_width_are_refused_by_their_size(count: int, kind: str) -> None:
    packed = base64.b64encode(struct.pack(f"<{count}{kind}", *[0.5] * count)).decode()
    said = refused(reply(packed), size=count)
    assert f"but {count} were expected" in said
    assert f"float{8 * struct.calcsize(kind)}" in said


def test_the_refusal_of_another_size_names_the_model_that_answered() -> None:
    said = refused(reply(VECTOR, model="another"), size=3)
    assert said == (
        "vector 0 of the reply has 5 numbers, but 3 were expected; the server names the model "
        "'another'."
    )


SPELLINGS = {
    "without padding": base64.b64encode(PACKED).decode().rstrip("="),
    "of the URL-safe alphabet": base64.urlsafe_b64encode(PACKED).decode(),
    "URL-safe without padding": base64.urlsafe_b64encode(PACKED).decode().rstrip("="),
    "with line breaks": base64.encodebytes(PACKED * 20).decode(),
    "with line breaks of a mail": base64.encodebytes(PACKED * 20).decode().replace("\n", "\r\n"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_of_base64_are_read(spelling: str) -> None:
    [row] = parse_reply(reply(SPELLINGS[spelling]), 1).rows
    assert floats(row) == VECTOR * (len(row) // len(PACKED))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_any_vector_is_read_from_any_base64(vector: list[float]) -> None:
    packed = struct.pack(f"<{len(vector)}f", *vector)
    spelled = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    if any(vector):
        assert floats(parse_reply(reply(spelled), 1).rows[0]) == vector


@pytest.mark.parametrize("embedding", [VECTOR, base64.b64encode(PACKED).decode()])
def test_a_byte_order_mark_is_skipped(embedding: Any) -> None:
    answer = reply(embedding)
    marked = answer._replace(body=bytearray(codecs.BOM_UTF8 + answer.body))
    assert floats(parse_reply(marked, 1).rows[0]) == VECTOR


def test_indexes_written_as_floats_place_their_vectors() -> None:
    data = [{"embedding": [2.0], "index": 1.0}, {"embedding": [1.0], "index": 0.0}]
    body = json.dumps({"data": data, "usage": {"total_tokens": 7}, "model": "m"}).encode()
    parsed = parse_reply(Reply(200, {}, body), 2)
    assert parsed.rows == [[1.0], [2.0]]
    assert (parsed.usage.total_tokens, parsed.served) == (7, Served("m"))


ERRORS_INSIDE = {
    "empty data": {"data": [], "error": {"message": "the engine is starting"}},
    "data null": {"data": None, "error": {"message": "the engine is starting"}},
    "no data": {"error": "the engine is starting"},
    "a long preface": {"id": "x" * 5_000, "error": {"message": "the engine is starting"}},
    "a message": {"data": {}, "message": "the engine is starting"},
    "in each item": {"data": [{"error": {"message": "the engine is starting"}}]},
    "JSON in a message": {"message": json.dumps({"error": {"message": "the engine is starting"}})},
}


@pytest.mark.parametrize("name", ERRORS_INSIDE)
def test_the_servers_message_inside_a_200_is_shown(name: str) -> None:
    said = refused(Reply(200, {}, json.dumps(ERRORS_INSIDE[name]).encode()))
    assert "; the server says 'the engine is starting'" in said


def test_the_refusal_of_a_short_reply_shows_the_servers_message() -> None:
    body = json.dumps({"data": [{"embedding": [1.0]}], "error": {"message": "half failed"}})
    with pytest.raises(ReplyError, match="but 1 vectors came back; the server says 'half failed'"):
        parse_reply(Reply(200, {}, body.encode()), 2)


def test_the_refusal_of_a_web_page_shows_its_title() -> None:
    page = b"<html><title>Sign in to the network</title></html>"
    assert "the server says 'Sign in to the network'" in refused(Reply(200, {}, page))


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "aes128gcm"])
def test_an_encoding_that_was_not_requested_is_named(encoding: str) -> None:
    answer = Reply(200, {"content-encoding": encoding}, b"\x0b\x02\x80hello\x03")
    assert f"its content-encoding is {encoding!r}" in refused(answer)


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}])
def test_a_body_that_is_compressed_without_a_header_is_named(headers: dict[str, str]) -> None:
    """Or twice, and decompressed once."""
    answer = Reply(200, headers, gzip.compress(b"{}"))
    assert "its body is compressed once more than its content-encoding says" in refused(answer)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity", "GZIP", ""])
def test_an_encoding_that_was_requested_is_not_named(encoding: str) -> None:
    answer = Reply(200, {"content-encoding": encoding}, b"no JSON")
    assert "content-encoding" not in refused(answer)


@pytest.mark.parametrize(
    ("more", "headers", "served"),
    [
        ({}, {}, Served()),
        ({"model": "text-embedding-ada-002-v2"}, {}, Served("text-embedding-ada-002-v2")),
        ({"model": "echo", "meta": {"model": "m", "provider": "p"}}, {}, Served("m", "p")),
        ({"model": "echo"}, {"x-aimlapi-model": "m", "x-aimlapi-provider": "p"}, Served("m", "p")),
        ({"meta": {"model": "m"}}, {"x-aimlapi-model": "n", "x-aimlapi-provider": "p"},
         Served("m", "p")),
        ({"model": 5, "meta": {"model": None, "provider": ["p"]}}, {}, Served()),
        ({"model": "m", "meta": "none"}, {}, Served("m")),
    ],
)  # fmt: skip
def test_model_and_provider_that_answered_are_read(
    more: dict[str, Any], headers: dict[str, str], served: Served
) -> None:
    assert parse_reply(reply(VECTOR, headers, **more), 1).served == served
