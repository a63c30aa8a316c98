"""A StopIteration of what the user gave is an error, and never the end of a call or a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.entry_points import OPENAI, EntryPoint, FakeServer, Mode
from tests.support.streams import read

pytestmark = pytest.mark.timeout(60)  # what hangs hangs for ever

TEXTS = ["a", "b", "c"]
Given = Callable[[FakeServer, type[Exception], int], dict[str, Any]]


class Limiter:
    """Grants so many requests."""

    def __init__(self, error: type[Exception], grants: int) -> None:
        self._error, self._grants = error, grants

    def acquire(self) -> None:
        self._grants -= 1
        if self._grants < 0:
            raise self._error

    async def aacquire(self) -> None:
        self.acquire()


def limiter(server: FakeServer, error: type[Exception], after: int) -> dict[str, Any]:
    return {"rate_limiter": Limiter(error, after)}


def transport(server: FakeServer, error: type[Exception], after: int) -> dict[str, Any]:
    server.will(*[None] * after, *[error()] * 3)
    return {}


def progress(server: FakeServer, error: type[Exception], after: int) -> dict[str, Any]:
    calls: Iterator[Any] = iter(range(1 + after))

    def move(done: int, total: int) -> None:
        if next(calls, None) is None:
            raise error

    return {"progress": move}


def core_of(mode: Mode, server: FakeServer, **options: Any) -> EntryPoint:
    return EntryPoint("core", mode, server).make(OPENAI, dimensions=4, max_concurrency=1, **options)


@pytest.mark.parametrize("given", [limiter, transport, progress])
@pytest.mark.parametrize(("batch_size", "after"), [(9, 0), (1, 0), (1, 1)])
def test_a_call_ends_with_an_error_and_what_was_finished(
    mode: Mode, fake_server: FakeServer, given: Given, batch_size: int, after: int
) -> None:
    options = given(fake_server, StopIteration, after)
    named = {"progress": options.pop("progress", None)}
    core = core_of(mode, fake_server, batch_size=batch_size, **options)
    with pytest.raises(RuntimeError, match="raised") as caught:
        core.documents(TEXTS, **named)
    finished = caught.value.partial.vectors  # type: ignore[attr-defined]
    known = after if given is not progress else batch_size * (after + 1)
    assert sum(vector is not None for vector in finished) == min(known, 3)


def test_a_loop_over_calls_does_not_end_as_if_all_was_done(fake_server: FakeServer) -> None:
    client = core_of("sync", fake_server, **limiter(fake_server, StopIteration, 1)).client
    with pytest.raises(RuntimeError, match="a StopIteration was raised by what this was given"):
        list(map(client.embed, [["a"], ["b"], ["c"]]))
    assert len(fake_server.requests) == 1


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("given", [limiter, transport, progress])
def test_a_stream_ends_with_an_error_and_what_was_finished(
    mode: Mode, fake_server: FakeServer, given: Given, error: type[Exception]
) -> None:
    options = given(fake_server, error, 1)
    named = {"progress": options.pop("progress", None)}
    client = core_of(mode, fake_server, batch_size=1, **options).client
    reading = read(client, mode, TEXTS, **named)
    assert isinstance(reading.error, RuntimeError)
    partial = reading.error.partial  # type: ignore[attr-defined]
    assert partial.start == len(reading.got) >= 1
    assert partial.usage == reading.stream.usage


def test_what_a_source_raises_is_told_from_its_end(mode: Mode, fake_server: FakeServer) -> None:
    class Failing:
        """Raises what means its end in the other mode."""

        def __init__(self) -> None:
            self._texts = iter(TEXTS)

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            if (text := next(self._texts, None)) is None:
                raise StopAsyncIteration
            return text

    reading = read(core_of(mode, fake_server).client, mode, Failing())
    assert len(reading.got) == 3
    assert isinstance(reading.error, RuntimeError)
    assert "StopAsyncIteration was raised by what this was given: a source" in str(reading.error)
    assert reading.error.partial.start == 3  # type: ignore[attr-defined]
    assert isinstance(reading.error.__cause__, StopAsyncIteration)
