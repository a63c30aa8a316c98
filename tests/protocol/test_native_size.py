"""Vectors must have the native size of the model when no size was requested."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aimlapi_embeddings import ReplyError, supported_models
from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer, Mode

KNOWN = [row for row in supported_models() if row.native_dimensions]


def of_size(size: int) -> Fault:
    """Answer with one vector of this size."""
    data = [{"embedding": [0.5] * size, "index": 0}]
    return Fault(status=200, body=json.dumps({"data": data, "model": "another"}).encode())


@pytest.mark.filterwarnings("ignore:.*left the list:UserWarning")
@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row.id)
def test_vectors_of_another_size_than_the_native_one_are_refused(row: Any) -> None:
    entry_point = EntryPoint("core", "sync", FakeServer())
    entry_point.make(row.id, provider=row.family.provider)
    entry_point.fake_server.will(of_size(512))
    with pytest.raises(ReplyError, match=f"512 numbers, but {row.native_dimensions} were expected"):
        entry_point.query("q")


def test_vectors_of_another_size_in_a_later_call_are_refused(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    entry_point.fake_server.will(None, of_size(768))
    assert len(entry_point.query("q")) == 1536
    with pytest.raises(ReplyError, match="the server names the model 'another'"):
        entry_point.query("q")
    assert len(entry_point.fake_server.requests) == 2


def test_a_requested_size_overrides_the_native_one(entry_point: EntryPoint) -> None:
    entry_point.make(GOOGLE, dimensions=8)
    assert len(entry_point.query("q")) == 8
    entry_point.fake_server.will(of_size(768))
    with pytest.raises(ReplyError, match="768 numbers, but 8 were expected"):
        entry_point.query("q")


@pytest.mark.filterwarnings("ignore:of-tomorrow is not a model:UserWarning")
@pytest.mark.parametrize("family", [None, "openai", "google"])
def test_an_unknown_model_has_no_native_size(entry_point: EntryPoint, family: str | None) -> None:
    entry_point.make("of-tomorrow", family=family)
    entry_point.fake_server.will(of_size(5))
    assert entry_point.query("q") == [0.5] * 5


@pytest.mark.parametrize(("asked", "given"), [(768, 768), (None, 5), ("768", 5)])
def test_a_size_in_the_extra_body_overrides_the_native_one(
    fake_server: FakeServer, mode: Mode, asked: object, given: int
) -> None:
    entry_point = EntryPoint("core", mode, fake_server)
    entry_point.make(OPENAI, dimensions=256, extra_body={"dimensions": asked})
    fake_server.will(of_size(given))
    assert entry_point.query("q") == [0.5] * given


def test_vectors_of_another_size_than_that_in_the_extra_body_are_refused(
    fake_server: FakeServer, mode: Mode
) -> None:
    entry_point = EntryPoint("core", mode, fake_server)
    entry_point.make(OPENAI, dimensions=256, extra_body={"dimensions": 768})
    fake_server.will(of_size(256))
    with pytest.raises(ReplyError, match="256 numbers, but 768 were expected"):
        entry_point.query("q")
