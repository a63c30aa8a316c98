"""A batch goes out as the kind it came in, with each vector on its own text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimlapi_embeddings import ConfigurationError, InvalidInputError, emulator
from aimlapi_embeddings.batches import EmbedBatches
from tests.support.batches import (
    KINDS,
    SIZE,
    TEXTS,
    expected,
    inputs,
    pd,
    pl,
    step,
    table,
    vectors_of,
)

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize("column", ["fixed", "list"])
def test_a_result_has_the_type_of_its_batch_and_each_vector_belongs_to_its_text(
    server: emulator.Emulator, kind: str, column: str
) -> None:
    batch = KINDS[kind](table())
    with step(column=column) as embed:
        result = embed(batch)
    assert type(result) is type(batch)
    np.testing.assert_array_equal(vectors_of(result), expected(TEXTS))


@kinds
def test_other_columns_stay_as_they_are(server: emulator.Emulator, kind: str) -> None:
    batch = KINDS[kind](table())
    with step() as embed:
        result = embed(batch)
    if isinstance(batch, dict):
        assert list(result) == [*batch, "vector"]
        assert all(result[name] is batch[name] for name in batch)
    elif isinstance(batch, pd.DataFrame):
        pd.testing.assert_frame_equal(result.drop(columns="vector"), batch)
    elif isinstance(batch, pl.DataFrame):
        assert result.drop("vector").equals(batch)
    else:
        assert result.select(batch.schema.names).equals(batch)
        assert result.schema.names == [*batch.schema.names, "vector"]


@kinds
def test_a_batch_without_rows_sends_nothing_and_has_the_columns(
    kind: str,
) -> None:
    if kind == "record batch":
        batch: Any = pa.RecordBatch.from_pylist([], table().schema)
    else:
        batch = KINDS[kind](table([]))
    with step(column="fixed", on_error="keep") as embed:  # there is no key, and none is needed
        result = embed(batch)
    if isinstance(result, pa.Table | pa.RecordBatch):
        assert result.schema == embed.schema(batch.schema)
    assert names_of(result) == ["id", "text", "tags", "vector", "error"]
    if isinstance(result, dict):
        assert result["vector"].shape == (0, SIZE)
    if isinstance(result, pl.DataFrame):
        assert result.schema["vector"] == pl.Array(pl.Float32, SIZE)


def names_of(result: Any) -> list[str]:
    if isinstance(result, pa.Table | pa.RecordBatch):
        return list(result.schema.names)
    return list(getattr(result, "columns", result))


def test_the_schema_that_is_told_is_that_of_the_result(server: emulator.Emulator) -> None:
    batch = table()
    for options in ({}, {"column": "list"}, {"on_error": "keep"}, {"vector": "id"}):
        options = {"keep_existing": False, **options}
        with step(**options) as embed:
            assert embed(batch).schema == embed.schema(batch.schema)


def test_a_table_of_many_chunks_is_read_in_order(server: emulator.Emulator) -> None:
    chunked = pa.concat_tables([table([text]) for text in TEXTS])
    with step() as embed:
        np.testing.assert_array_equal(vectors_of(embed(chunked)), expected(TEXTS))


def test_dictionaries_and_large_strings_are_texts(server: emulator.Emulator) -> None:
    with step() as embed:
        for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()):
            column = pa.array(TEXTS).cast(kind)
            result = embed(pa.table({"text": column}))
            np.testing.assert_array_equal(vectors_of(result), expected(TEXTS))


def test_batches_are_embedded_one_after_the_other_as_they_are_asked_for(
    server: emulator.Emulator,
) -> None:
    with step() as embed:
        results = embed.over(iter(table().to_batches(max_chunksize=2)))
        assert not server.requests
        first = next(results)
        assert inputs(server) == [TEXTS[:2]]
        whole = pa.Table.from_batches([first, *results])
    np.testing.assert_array_equal(vectors_of(whole), expected(TEXTS))


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1, max_size=5), max_size=12), st.integers(1, 5))
def test_whatever_the_texts_and_the_batches_each_vector_is_on_its_text(
    server: emulator.Emulator, texts: list[str], size: int
) -> None:
    texts = [text for text in texts if text.encode(errors="ignore").decode() == text]
    with step() as embed:
        batches = embed.over(table(texts).to_batches(max_chunksize=size))
        found = [row for batch in batches for row in vectors_of(batch)]
    np.testing.assert_array_equal(np.array(found).reshape(-1, SIZE), expected(texts))


def test_titles_come_from_their_column_and_may_be_null(server: emulator.Emulator) -> None:
    batch = pa.table({"text": ["a", "b", "c"], "title": ["T", None, ""]})
    google = {"model": "text-multilingual-embedding-002", "dimensions": SIZE}
    with EmbedBatches(title="title", **google) as embed:
        result = vectors_of(embed(batch))
        alone = embed.client.embed(["a", "b", "c"], titles=["T", None, None]).array()
    np.testing.assert_array_equal(result, alone)


def test_the_role_reaches_the_server(server: emulator.Emulator) -> None:
    with EmbedBatches(model="voyage-2", role="document") as embed:
        embed(pa.table({"text": ["a"]}))
    assert b'"input_type":"document"' in server.requests[0].body


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (pa.table({"texts": ["a"]}), "Did you mean 'texts'"),
        (pa.table({"body": ["a"]}), "which has 'body'. Pass text= with the name of the column"),
        (pa.table({"text": [1]}), "column without strings: its first value is of the type int"),
        (pd.DataFrame({"text": [None, 2.5]}), "the type float. Cast the column to strings first"),
        ({"text": np.zeros((1, 2))}, "the type list"),
        (pa.table([["a"], ["b"]], names=["text", "text"]), "2 columns of the batch"),
        (pa.table({"text": ["a"], "vector": ["b"]}), "and not of vectors"),
        ({}, "which has none"),
    ],
)
def test_a_column_that_does_not_fit_is_named(batch: Any, words: str) -> None:
    with step() as embed, pytest.raises(ConfigurationError, match=words):
        embed(batch)


@kinds
def test_over_refuses_one_batch_at_once_and_tells_to_call_the_step(kind: str) -> None:
    batch = KINDS[kind](table())
    words = rf"over\(\) takes an iterable .* one batch, a {type(batch).__name__}: call the step"
    with step() as embed, pytest.raises(InvalidInputError, match=words):
        embed.over(batch)


@pytest.mark.parametrize("batches", [5, None])
def test_over_refuses_at_once_what_is_no_iterable(batches: Any) -> None:
    words = r"over\(\) takes an iterable of batches, and not one of the type"
    with step() as embed, pytest.raises(InvalidInputError, match=words):
        embed.over(batches)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"text": "abc"}, "'text' is no column of the batch, but of the type str"),
        ({"text": 5}, "'text' is no column of the batch, but of the type int"),
        ({"text": iter("ab")}, "'text' is no column of the batch"),
        ({"text": np.array("a")}, "'text' is no column of the batch, but of the type ndarray"),
        ({"id": [1], "text": ["a", "b"]}, "not of the same length: {'id': 1, 'text': 2}"),
        ({"text": ["a", "b"], "id": [1]}, "not of the same length: {'text': 2, 'id': 1}"),
    ],
)
def test_a_dict_has_columns_of_one_length(
    server: emulator.Emulator, batch: Any, words: str
) -> None:
    with step() as embed, pytest.raises(InvalidInputError, match=re.escape(words)):
        embed(batch)
    assert not server.requests


@pytest.mark.parametrize("batch", [["a"], "a", pl.LazyFrame({"text": ["a"]}), pa.array(["a"])])
def test_what_is_no_table_is_refused(batch: Any) -> None:
    with step() as embed, pytest.raises(InvalidInputError, match="a batch is a Table"):
        embed(batch)
