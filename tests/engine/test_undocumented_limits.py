"""Undocumented limits and refused texts are found with few requests, over real sockets."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from aimlapi_embeddings import BadRequestError
from aimlapi_embeddings.emulator import Emulator, Fault, running
from tests.support.entry_points import KEY, OPENAI, EntryPoint, FakeServer, Mode
from tests.support.fault_rows import Judge, at_most, at_most_tokens, dislikes, refusal

pytestmark = pytest.mark.usefixtures("unencrypted")
MANY = 1000
TEXTS = tuple(f"text {i}" for i in range(MANY))
# From 1 to 60 words, so that batches of as many texts differ in their tokens.
UNEVEN = tuple(" ".join([f"word{i}"] * (1 + i * 37 % 60)) for i in range(MANY))
CONCURRENCY = 8
BATCH = MANY // CONCURRENCY  # one wave
LATENCY = 0.01  # seconds; enough for several requests to be in flight together
MOST_TEXTS, MOST_TOKENS = 10, 500
TOLD_TEXTS = at_most(MOST_TEXTS)
TOLD_TOKENS = at_most_tokens(MOST_TOKENS, refusal(400, "maximum request size is 500 tokens"))
TOLD_NOTHING = at_most_tokens(MOST_TOKENS, refusal(400, "Request too large"))
WITHOUT_A_MESSAGE = at_most_tokens(MOST_TOKENS, Fault(413, body=b""))
LEAST_REQUESTS = {
    TOLD_TEXTS: MANY / MOST_TEXTS,
    **dict.fromkeys(
        (TOLD_TOKENS, TOLD_NOTHING, WITHOUT_A_MESSAGE),
        sum(len(text.split()) for text in UNEVEN) / MOST_TOKENS,
    ),
}
LIMITS = pytest.mark.parametrize(
    ("judge", "texts"),
    [
        pytest.param(TOLD_TEXTS, TEXTS, id="10 texts"),
        pytest.param(TOLD_TOKENS, UNEVEN, id="500 tokens"),
        pytest.param(TOLD_NOTHING, UNEVEN, id="too large, of what is not told"),
        pytest.param(WITHOUT_A_MESSAGE, UNEVEN, id="413 without a message"),
    ],
)


@functools.cache
def right(texts: Sequence[str]) -> list[list[float]]:
    """The vectors of a call without refusals."""
    return (
        EntryPoint("core", "sync", FakeServer()).make(OPENAI, dimensions=4).documents(list(texts))
    )


@contextmanager
def served(mode: Mode, judge: Judge, **options: object) -> Iterator[tuple[EntryPoint, Emulator]]:
    """Make a client of a server that refuses requests by an undocumented rule."""
    server = Emulator(latency=LATENCY, judge=judge)
    with running(server) as base_url:
        client = {"model": OPENAI, "api_key": KEY, "base_url": base_url, "dimensions": 4}
        entry_point = EntryPoint("core", mode, FakeServer())
        entry_point.make_plain(**{**client, "max_concurrency": CONCURRENCY, **options})
        yield entry_point, server
        entry_point.client.close()


def refused(server: Emulator, judge: Judge) -> int:
    return sum(judge(request) is not None for request in server.requests)


def to_refusal(entry_point: EntryPoint, texts: Sequence[str] = TEXTS) -> BadRequestError:
    """Embed TEXTS, and return the error that is raised."""
    with pytest.raises(BadRequestError) as caught:
        entry_point.documents(list(texts))
    return caught.value


def assert_kept_all_but(error: BadRequestError, *lost: int) -> None:
    assert error.partial is not None
    assert error.partial.vectors == [
        None if i in lost else vector for i, vector in enumerate(right(TEXTS))
    ]


@LIMITS
def test_a_limit_is_found_by_few_requests(mode: Mode, judge: Judge, texts: Sequence[str]) -> None:
    with served(mode, judge) as (entry_point, server):
        assert entry_point.documents(list(texts)) == right(texts)
    # One refusal for each request of the first wave and each halving, and for each time that twice
    # the size is tried: after 8 successes, after 16 more, 32 and 64.
    assert refused(server, judge) <= CONCURRENCY + math.log2(BATCH) + 4
    # A limit found by halving is at worst half of the real one. The texts differ in size, and the
    # rest of each batch is sent on its own.
    assert len(server.requests) <= 4 * LEAST_REQUESTS[judge]


@LIMITS
def test_a_learned_limit_holds_for_the_next_call(
    mode: Mode, judge: Judge, texts: Sequence[str]
) -> None:
    with served(mode, judge) as (entry_point, server):
        entry_point.documents(list(texts[:BATCH]))
        assert refused(server, judge) > 0
        server.requests.clear()
        entry_point.documents(list(texts[BATCH : 2 * BATCH]))
        assert refused(server, judge) <= 1  # twice the size is tried after some successes


@pytest.mark.parametrize("poison", [0, 333, MANY - 1])
@pytest.mark.parametrize("concurrency", [1, CONCURRENCY], ids="{} at once".format)
def test_one_bad_text_among_a_thousand_is_found_by_halving(
    mode: Mode, concurrency: int, poison: int
) -> None:
    with served(mode, dislikes(TEXTS[poison]), max_concurrency=concurrency) as (
        entry_point,
        server,
    ):
        error = to_refusal(entry_point)
    assert error.indices == (poison,)
    assert f"text {poison} of {MANY}, '{TEXTS[poison]}'" in str(error)
    assert_kept_all_but(error, poison)
    halvings = math.ceil(math.log2(MANY / concurrency))
    assert len(server.requests) <= concurrency + 2 * halvings


@pytest.mark.parametrize("concurrency", [1, CONCURRENCY], ids="{} at once".format)
def test_two_bad_texts_with_different_reasons_are_both_found(mode: Mode, concurrency: int) -> None:
    first, second = 200, 777
    rude, odd = dislikes(TEXTS[first], reason="rude"), dislikes(TEXTS[second], reason="odd")
    with served(mode, lambda r: rude(r) or odd(r), max_concurrency=concurrency) as (
        entry_point,
        server,
    ):
        error = to_refusal(entry_point)
    assert error.indices == (first, second)
    assert_kept_all_but(error, first, second)
    halvings = math.ceil(math.log2(MANY / concurrency))
    assert len(server.requests) <= concurrency + 2 * 2 * halvings


def test_two_bad_texts_of_different_batches_are_both_found(mode: Mode) -> None:
    with served(mode, dislikes(TEXTS[200], TEXTS[777])) as (entry_point, _):
        error = to_refusal(entry_point)
    assert error.indices == (200, 777)
    assert_kept_all_but(error, 200, 777)


def test_a_request_refused_for_every_text_is_at_fault_itself_after_few_requests(
    mode: Mode,
) -> None:
    no = refusal(400, "model: no longer takes dimensions")
    with served(mode, lambda _: no, max_concurrency=1) as (entry_point, server):
        error = to_refusal(entry_point)
    assert error.indices == tuple(range(MANY))
    assert len(server.requests) <= 40


def test_single_texts_refused_for_the_same_reason_end_the_call(
    mode: Mode,
) -> None:
    no = refusal(400, "model: no longer takes dimensions")
    with served(mode, lambda _: no, batch_size=1) as (entry_point, server):
        error = to_refusal(entry_point)
    assert len(error.indices) == 1
    assert len(server.requests) <= 10 * CONCURRENCY  # of a thousand
