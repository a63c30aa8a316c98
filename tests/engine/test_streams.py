"""Streams: n texts in, n vectors out in their order, in bounded memory, whatever goes wrong."""

from __future__ import annotations

import json
import operator
import threading
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from opentelemetry.trace import StatusCode

from aimlapi_embeddings import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    EmbeddingResult,
    EmbeddingsClient,
    InvalidInputError,
    ReplyError,
)
from aimlapi_embeddings.emulator import Emulator, Fault, Reply, Request, faults
from tests.support.entry_points import GOOGLE, OPENAI, EntryPoint, FakeServer, Mode
from tests.support.streams import Source, from_task, read
from tests.support.telemetry import attributes, collecting

pytestmark = pytest.mark.timeout(60)  # what hangs hangs for ever


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


def client_of(core: EntryPoint, **options: Any) -> EmbeddingsClient:
    return core.make(OPENAI, **{"dimensions": 4, **options}).client


def refusing(server: FakeServer, *words: str) -> None:
    """Let the server refuse requests that hold one of these words."""
    answer = server.answer

    def judge(request: Request) -> Reply:
        if any(word.encode() in request.body for word in words):
            return Emulator().reply(request, Fault(400, body=b'{"message": "cannot read this"}'))
        return answer(request)

    server.answer = judge


# Order, count, requests

SOURCES: list[Callable[[Iterable[str]], Any]] = [list, iter, Source]


@settings(max_examples=60)
@given(
    kinds=st.lists(st.integers(0, 30), max_size=60),
    batch_size=st.integers(1, 9),
    max_concurrency=st.sampled_from([None, 1, 2, 5]),
    window=st.sampled_from([None, 1, 2, 7, 40]),
    batches_of=st.sampled_from([None, 1, 4, 100]),
    as_source=st.sampled_from([*SOURCES, from_task]),
    script=st.lists(
        st.sampled_from(
            [
                None,
                Fault(500),
                Fault(429),
                Fault(429, retry_after="3"),
                httpx.ConnectError("refused"),
                Fault(reshape=faults.shuffled),
                Fault(reshape=faults.as_floats),
            ]
        ),
        max_size=6,
    ),
)
def test_any_source_gives_its_vectors_in_order_whatever_fails_in_between(
    mode: Mode,
    clock: Any,
    kinds: list[int],
    batch_size: int,
    max_concurrency: int | None,
    window: int | None,
    batches_of: int | None,
    as_source: Callable[[Iterable[str]], Any],
    script: list[Any],
) -> None:
    server = FakeServer()
    core = EntryPoint("core", mode, server)
    client = client_of(core, batch_size=batch_size, max_concurrency=max_concurrency, max_retries=20)
    texts = [f"text {kind}" for kind in kinds]
    expected = core.documents(texts)
    server.requests.clear()
    server.will(*script)
    if as_source is from_task and mode == "sync":
        as_source = iter
    reading = read(client, mode, texts, as_source=as_source, window=window, batches_of=batches_of)
    assert reading.error is None
    if batches_of is None:
        assert reading.got == expected
    else:
        assert [vector for result in reading.got for vector in result.vectors] == expected
        assert all(len(result) == batches_of for result in reading.got[:-1])
    # A connection that was refused carried no request.
    sent = len(server.requests) - sum(isinstance(each, Exception) for each in script)
    assert sent <= reading.stream.usage.requests <= len(server.requests)


@pytest.mark.parametrize("texts", [1, 4, 63, 64, 200, 1000])
@pytest.mark.parametrize("max_concurrency", [1, 3, 8])
def test_a_list_takes_the_requests_of_embed(
    core: EntryPoint, fake_server: FakeServer, texts: int, max_concurrency: int
) -> None:
    client = client_of(core, batch_size=100, max_concurrency=max_concurrency)
    given = [f"text {i}" for i in range(texts)]
    core.documents(given)
    expected = sorted(fake_server.inputs)
    fake_server.requests.clear()
    read(client, core.mode, given)
    assert sorted(fake_server.inputs) == expected


@pytest.mark.parametrize("window", [None, 70])
def test_a_source_of_unknown_length_fills_its_requests(
    core: EntryPoint, fake_server: FakeServer, window: int | None
) -> None:
    client = client_of(core, batch_size=10, max_concurrency=3)
    read(client, core.mode, Source(f"text {i}" for i in range(1234)), window=window)
    assert sorted(map(len, fake_server.inputs)) == [4, *[10] * 123]


def test_a_text_that_occurs_twice_in_the_window_is_paid_for_once(core: EntryPoint) -> None:
    client = client_of(core, batch_size=10)
    before = client.usage
    reading = read(client, core.mode, [f"text {i % 7}" for i in range(100)], window=20)
    assert reading.stream.usage.prompt_tokens == client.embed(["text 0"]).usage.prompt_tokens * 7
    assert reading.stream.usage.deduplicated == 93
    assert client.usage.deduplicated - before.deduplicated == 93


def test_vectors_of_the_same_text_are_lists_of_their_own(core: EntryPoint) -> None:
    first, second = read(client_of(core), core.mode, ["a", "a"]).got
    first.append(0.0)
    assert first != second


def test_titles_travel_with_their_texts(core: EntryPoint, fake_server: FakeServer) -> None:
    client = core.make(GOOGLE).client
    items = [("a", "one"), "b", ("c", "one"), ("a", "two"), ("d", None)]
    got = read(client, core.mode, items).got
    by_title = {body.get("title"): body["input"] for body in fake_server.bodies}
    assert by_title == {"one": ["a", "c"], None: ["b", "d"], "two": ["a"]}
    for item, vector in zip(items, got, strict=True):
        text, title = item if isinstance(item, tuple) else (item, None)
        assert [vector] == client.embed([text], titles=[title]).vectors


def test_many_titles_are_sent_side_by_side(core: EntryPoint, fake_server: FakeServer) -> None:
    client = core.make(GOOGLE, max_concurrency=4).client
    items = [(f"text {i}", f"title {i}") for i in range(40)]
    reading = read(client, core.mode, Source(items), window=8)
    assert len(reading.got) == len(fake_server.requests) == 40


# The window


@pytest.mark.parametrize("window", [1, 5, 32])
def test_no_more_is_read_than_the_window_holds(core: EntryPoint, window: int) -> None:
    source = Source(f"text {i}" for i in range(200))
    handed_over = count()

    def check(_: Any) -> None:
        # The one that was handed over just now is not in the window any more.
        assert source.read - next(handed_over) <= window + 1

    client = client_of(core, batch_size=4, max_concurrency=2)
    assert len(read(client, core.mode, source, window=window, each=check).got) == 200


def test_the_default_window_fills_eight_requests_for_each_in_flight(core: EntryPoint) -> None:
    source = Source(f"text {i}" for i in range(10_000))
    client = client_of(core, batch_size=10, max_concurrency=3)
    most = 0
    handed_over = count()

    def note(_: Any) -> None:
        nonlocal most
        most = max(most, source.read - next(handed_over))

    read(client, core.mode, source, each=note)
    assert 8 * 3 * 10 - 10 <= most <= 8 * 3 * 10 + 1


def test_the_source_is_read_in_the_thread_that_asks(core: EntryPoint) -> None:
    source = Source(f"text {i}" for i in range(50))
    read(client_of(core, batch_size=4), core.mode, source)
    assert source.threads == {threading.get_ident()}


def test_an_endless_source_is_read_as_far_as_it_is_asked_for(core: EntryPoint) -> None:
    reading = read(
        client_of(core, batch_size=10), core.mode, (f"text {i}" for i in count()), most=1000
    )
    assert len(reading.got) == 1000


# Texts that cannot be embedded

BAD: list[tuple[Any, str]] = [
    (None, "is None"),
    ("", "is empty"),
    (float("nan"), "is NaN"),
    ("\ud800", "has a lone surrogate"),
    ((None, None), "is None"),
    ("refused", "cannot read this"),
]
NO_TEXTS: list[tuple[Any, str]] = [
    (3, "is an int"),
    (b"text", "is a bytes"),
    (["text"], "is a list"),
    (("a", "b", "c"), "is a tuple"),
    ((3, None), "is an int"),
    (Document(page_content="text"), "pass its text, document.page_content"),
]


@pytest.mark.parametrize(
    ("bad", "why"), [*BAD, *NO_TEXTS], ids=[repr(bad) for bad, _ in [*BAD, *NO_TEXTS]]
)
@pytest.mark.parametrize("place", [0, 5, 19])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_a_bad_text_is_met_in_its_turn(
    core: EntryPoint, fake_server: FakeServer, bad: Any, why: str, place: int, window: int | None
) -> None:
    client = client_of(core, batch_size=4, max_concurrency=2)
    good = [f"text {i}" for i in range(19)]
    expected = core.documents(good)
    refusing(fake_server, "refused")
    texts = [*good[:place], bad, *good[place:]]
    reading = read(client, core.mode, iter(texts), window=window)
    assert reading.got == expected[:place]
    assert isinstance(reading.error, InvalidInputError | BadRequestError)
    assert why in str(reading.error)
    assert reading.error.indices == (place,)
    partial = reading.error.partial
    assert partial is not None
    assert partial.start == place
    assert partial.usage == reading.stream.usage
    held = [None, *expected[place:]]
    assert [v for v in partial.vectors if v is not None] == [
        v for v, h in zip(held, partial.vectors, strict=False) if h is not None
    ]


@pytest.mark.parametrize("batches_of", [None, 6])
def test_none_takes_the_place_of_a_bad_text_where_that_is_asked_for(
    core: EntryPoint, fake_server: FakeServer, batches_of: int | None
) -> None:
    client = client_of(core, batch_size=4, max_concurrency=2)
    good = [f"text {i}" for i in range(19)]
    expected: dict[str, Any] = dict(zip(good, core.documents(good), strict=True))
    refusing(fake_server, "refused")
    texts = list[Any](good)
    for i, (bad, _) in enumerate(BAD):
        texts.insert(2 * i + 1, bad)
    texts += ["refused", None]
    reading = read(
        client, core.mode, iter(texts), on_invalid="none", batches_of=batches_of, window=9
    )
    assert reading.error is None
    got = reading.got
    if batches_of is not None:
        got = [vector for result in reading.got for vector in result.vectors]
        for result in reading.got:
            array = result.array()
            assert [bool(row) for row in (array != array).all(axis=1)] == [
                vector is None for vector in result.vectors
            ]
    assert got == [expected.get(text) if isinstance(text, str) else None for text in texts]
    places = [2 * i + 1 for i in range(len(BAD))] + [len(texts) - 2, len(texts) - 1]
    assert sorted(reading.stream.invalid) == places
    assert reading.stream.invalid_count == len(places)
    for i, (_, why) in enumerate(BAD):
        assert why in reading.stream.invalid[2 * i + 1]


@pytest.mark.parametrize(("item", "why"), NO_TEXTS, ids=[repr(item) for item, _ in NO_TEXTS])
def test_an_item_that_is_no_text_raises_in_its_turn_also_where_none_is_asked_for(
    core: EntryPoint, item: Any, why: str
) -> None:
    reading = read(client_of(core), core.mode, ["a", None, item, "b"], on_invalid="none")
    assert [vector is not None for vector in reading.got] == [True, False]
    assert isinstance(reading.error, InvalidInputError)
    assert "texts[2] " in str(reading.error)
    assert why in str(reading.error)
    assert "on_invalid" not in str(reading.error), "it is no remedy"
    assert reading.stream.invalid == {1: "is None"}


def test_a_title_that_is_no_text_raises_also_where_none_is_asked_for(core: EntryPoint) -> None:
    client = core.make(GOOGLE).client
    reading = read(client, core.mode, ["a", ("b", ""), ("c", 3)], on_invalid="none")
    assert [vector is not None for vector in reading.got] == [True, False]
    assert isinstance(reading.error, InvalidInputError)
    assert "texts[2] has a title that is an int" in str(reading.error)


def test_reasons_are_kept_for_the_first_thousand_invalid_texts(core: EntryPoint) -> None:
    reading = read(client_of(core), core.mode, ["a", *[None] * 1500], on_invalid="none")
    assert reading.stream.invalid_count == 1500
    assert len(reading.stream.invalid) == 1000


@pytest.mark.parametrize("on_invalid", ["raise", "none"])
def test_the_request_is_blamed_where_a_server_refuses_everything(
    core: EntryPoint, fake_server: FakeServer, on_invalid: str
) -> None:
    refusing(fake_server, "text")
    client = client_of(core, batch_size=8)
    reading = read(client, core.mode, (f"text {i}" for i in count()), on_invalid=on_invalid)
    assert isinstance(reading.error, BadRequestError)
    assert reading.got == []
    assert not reading.error.refused


def test_few_texts_that_are_all_refused_are_at_fault_themselves(
    core: EntryPoint, fake_server: FakeServer
) -> None:
    refusing(fake_server, "text")
    client = client_of(core)
    reading = read(client, core.mode, Source(["text 0"]), on_invalid="none")
    assert (reading.got, reading.error) == ([None], None)


def test_titles_for_a_family_without_them_are_refused_in_their_turn(core: EntryPoint) -> None:
    reading = read(client_of(core), core.mode, ["a", ("b", "title")], on_invalid="none")
    assert isinstance(reading.error, ConfigurationError)
    assert str(reading.error) == (
        "texts[1] is a tuple of two, which is read as a text and its title, and titles cannot be "
        "given to the family 'openai'; leave them out. A text without a title is passed alone: the "
        "text, and no tuple."
    )
    assert len(reading.got) == 1


def test_what_a_source_raises_is_raised_when_all_before_it_was_handed_over(
    core: EntryPoint,
) -> None:
    def failing() -> Any:
        yield from ("a", "b", "c")
        raise OSError("the disk is gone")

    reading = read(client_of(core, batch_size=2), core.mode, failing())
    assert len(reading.got) == 3
    assert isinstance(reading.error, OSError)
    assert reading.error.partial.usage == reading.stream.usage  # type: ignore[attr-defined]


# Errors


def test_an_error_is_raised_behind_what_was_finished_and_carries_the_rest(
    core: EntryPoint, fake_server: FakeServer
) -> None:
    client = client_of(core, batch_size=2, max_concurrency=1)
    texts = [f"text {i}" for i in range(10)]
    expected = core.documents(texts)
    fake_server.requests.clear()
    fake_server.will(None, None, Fault(401))
    reading = read(client, core.mode, iter(texts))
    assert reading.got == expected[:4]
    assert isinstance(reading.error, AuthenticationError)
    assert len(fake_server.requests) == 3
    assert reading.error.partial is not None
    assert reading.error.partial.start == 4
    assert list(reading.error.partial.vectors) == [None] * len(reading.error.partial)


def test_vectors_behind_the_error_are_in_its_partial_result(
    core: EntryPoint, fake_server: FakeServer
) -> None:
    client = client_of(core, batch_size=2, max_concurrency=1, max_retries=0)
    texts = [f"text {i}" for i in range(9)]
    expected = core.documents(texts)
    refusing(fake_server, '"text 4"')
    reading = read(client, core.mode, iter(texts))
    assert reading.got == expected[:4]
    error = reading.error
    assert isinstance(error, BadRequestError)
    assert error.indices == (4,)
    assert error.partial is not None
    assert error.partial.start == 4
    for vector, wanted in zip(error.partial.vectors, expected[4:], strict=False):
        assert vector is None or vector == wanted


def test_a_stream_that_raised_has_ended(core: EntryPoint) -> None:
    client = client_of(core)
    stream: Any = client.embed_iter(["a", None, "b"])
    assert len(next(stream)) == 4
    with pytest.raises(InvalidInputError):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_vectors_that_change_their_size_end_the_stream(
    core: EntryPoint, fake_server: FakeServer
) -> None:
    core.make("qwen3-embedding-8b", provider="nugen", batch_size=1, max_concurrency=1)
    data = [[{"embedding": [0.5] * size}] for size in (2, 2, 3)]
    fake_server.will(*(Fault(body=json.dumps({"data": each}).encode()) for each in data))
    reading = read(core.client, core.mode, iter("abc"))
    assert reading.got == [[0.5, 0.5]] * 2
    assert isinstance(reading.error, ReplyError)
    assert "changed the model" in str(reading.error)


def test_an_error_of_the_progress_callback_ends_the_stream(core: EntryPoint) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise LookupError("enough")

    reading = read(client_of(core, batch_size=2), core.mode, iter("abcdef"), progress=stop)
    assert isinstance(reading.error, LookupError)


# Progress, results, options


@pytest.mark.parametrize("as_source", [list, Source])
def test_progress_moves_with_the_replies_up_to_all_texts(
    core: EntryPoint, fake_server: FakeServer, as_source: Any
) -> None:
    refusing(fake_server, "refused")
    seen: list[tuple[int, int]] = []
    texts = as_source([*(f"text {i}" for i in range(8)), "refused", "refused", None, "text 0"])
    read(
        client_of(core, batch_size=3),
        core.mode,
        texts,
        progress=lambda done, total: seen.append((done, total)),
        on_invalid="none",
    )
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[0][0] == 0
    assert seen[-1] == (12, 12)
    assert as_source is Source or {total for _, total in seen} == {12}


def test_results_tell_what_was_spent_since_the_one_before(core: EntryPoint) -> None:
    reading = read(client_of(core, batch_size=3), core.mode, iter("abcdefghij"), batches_of=4)
    assert [len(result) for result in reading.got] == [4, 4, 2]
    assert all(isinstance(result, EmbeddingResult) for result in reading.got)
    assert [result.array().shape for result in reading.got] == [(4, 4), (4, 4), (2, 4)]
    cost = reading.got[0].usage + reading.got[1].usage + reading.got[2].usage
    assert (cost.requests, cost.prompt_tokens) == (4, reading.stream.usage.prompt_tokens)
    assert {result.model for result in reading.got} == {OPENAI}


def test_a_shorter_result_comes_before_an_error(core: EntryPoint) -> None:
    reading = read(client_of(core), core.mode, ["a", "b", "c", None], batches_of=2)
    assert [len(result) for result in reading.got] == [2, 1]
    assert reading.error is not None
    assert reading.error.partial.start == 3  # type: ignore[attr-defined]


def test_vectors_are_scaled_where_that_is_asked_for(core: EntryPoint) -> None:
    client = core.make("nugen-flash-embed", provider="nugen", normalize=True).client
    expected = client.embed(["a", "b"]).vectors
    assert read(client, core.mode, ["a", "b"]).got == expected
    [result] = read(client, core.mode, ["a", "b"], batches_of=2).got
    assert result.vectors == expected


def test_a_text_that_is_too_long_is_an_error_in_its_turn(core: EntryPoint) -> None:
    long = "word " * 20_000
    reading = read(client_of(core, too_long="error"), core.mode, ["a", long, "b"])
    assert len(reading.got) == 1
    assert isinstance(reading.error, InvalidInputError | BadRequestError)
    assert reading.error.indices == (1,)


def test_a_text_that_is_too_long_is_cut_where_that_is_asked_for(core: EntryPoint) -> None:
    texts = ["a", "word " * 20_000, "b"]
    client = client_of(core, too_long="truncate")
    expected = client.embed(texts)
    [result] = read(client, core.mode, texts, batches_of=3).got
    assert result.vectors == expected.vectors
    assert result.truncated == expected.truncated
    assert expected.truncated


def test_roles_and_task_types_reach_the_wire(core: EntryPoint, fake_server: FakeServer) -> None:
    client = core.make(GOOGLE).client
    read(client, core.mode, ["a"], role="query")
    read(client, core.mode, ["a"], task_type="CLUSTERING")
    assert [body["task_type"] for body in fake_server.bodies] == ["RETRIEVAL_QUERY", "CLUSTERING"]


def test_cached_texts_are_not_sent_and_new_ones_are_kept(
    core: EntryPoint, fake_server: FakeServer, tmp_path: Path
) -> None:
    client = client_of(core, batch_size=100, cache=tmp_path / "cache")
    texts = [f"text {i}" for i in range(1000)]
    expected = client.embed(texts[:600]).vectors
    fake_server.requests.clear()
    reading = read(client, core.mode, iter(texts))
    assert reading.got[:600] == expected
    assert reading.stream.usage.cached == 600
    assert [text for body in fake_server.inputs for text in body] == texts[600:]
    fake_server.requests.clear()
    again = read(client, core.mode, iter(texts))
    assert again.got == reading.got
    assert again.stream.usage.cached == 1000
    assert fake_server.requests == []


def bad_calls() -> list[tuple[dict[str, Any], str]]:
    return [
        ({"texts": "one"}, "texts must be an iterable"),
        ({"texts": b"one"}, "texts must be an iterable"),
        ({"texts": None}, "texts must be an iterable"),
        ({"texts": 3}, "texts must be an iterable"),
        ({"texts": {"a": 1}}, "texts must be an iterable"),
        ({"window": 0}, "window"),
        ({"window": True}, "window"),
        ({"batches_of": 0}, "batches_of"),
        ({"batches_of": "many"}, "batches_of"),
        ({"on_invalid": "skip"}, "on_invalid='skip'"),
        ({"on_invalid": None}, "on_invalid=None"),
        ({"role": "passage"}, "role='passage'"),
        ({"task_type": "CLUSTERING"}, "task"),
        ({"progress": "bar"}, "progress='bar'"),
    ]


@pytest.mark.parametrize(("arguments", "said"), bad_calls(), ids=str)
def test_arguments_that_cannot_work_are_refused_before_anything_is_read(
    core: EntryPoint, arguments: dict[str, Any], said: str
) -> None:
    client = client_of(core)
    stream = client.embed_iter if core.mode == "sync" else client.aembed_iter
    with pytest.raises((ConfigurationError, InvalidInputError), match=said) as caught:
        stream(**{"texts": ["a"], **arguments})
    if "progress" not in arguments:
        assert caught.value.partial is not None
        assert len(caught.value.partial) == 0


def test_an_async_source_is_not_for_the_sync_method(fake_server: FakeServer) -> None:
    client = client_of(EntryPoint("core", "sync", fake_server))
    with pytest.raises(InvalidInputError, match="aembed_iter"):
        client.embed_iter(from_task(["a"]))  # type: ignore[call-overload]


def test_nothing_is_sent_for_no_texts(core: EntryPoint, fake_server: FakeServer) -> None:
    reading = read(client_of(core), core.mode, [])
    assert (reading.got, reading.error, fake_server.requests) == ([], None, [])


def test_a_source_without_a_length_is_read(core: EntryPoint) -> None:
    class Unsized(Source):
        def __len__(self) -> int:
            raise NotImplementedError

    with pytest.raises(NotImplementedError):
        operator.length_hint(Unsized([]))
    assert len(read(client_of(core), core.mode, Unsized(["a", "b"])).got) == 2


def test_a_budget_that_is_used_up_ends_the_stream_behind_what_was_paid_for(
    core: EntryPoint,
) -> None:
    client = client_of(core, batch_size=2, max_concurrency=1, max_tokens=60)
    reading = read(client, core.mode, (f"text {i}" for i in count()))
    assert isinstance(reading.error, BudgetExceededError)
    assert reading.got
    assert reading.error.partial is not None
    assert reading.error.partial.start == len(reading.got)
    assert client.usage.total_tokens <= 60


@pytest.mark.parametrize(("texts", "most"), [(7, None), (None, 5)])
def test_a_stream_is_one_span_and_its_requests_are_children(
    core: EntryPoint, texts: int | None, most: int | None
) -> None:
    with collecting() as spans:
        client = client_of(core, batch_size=2)
        source = (f"text {i}" for i in (range(texts) if texts else count()))
        reading = read(client, core.mode, source, most=most, window=6)
        assert len(reading.got) == (texts or most)
        [call] = spans.calls
        assert call.status.status_code is StatusCode.UNSET
        assert spans.requests
        assert {request.parent.span_id for request in spans.requests if request.parent} == {
            call.get_span_context().span_id
        }


@pytest.mark.parametrize("batches_of", [None, 2])
def test_the_span_of_a_stream_names_the_replies_of_all_of_it(
    core: EntryPoint, batches_of: int | None
) -> None:
    with collecting() as spans:
        client = client_of(core, batch_size=2)
        read(client, core.mode, iter("abcdef"), batches_of=batches_of, window=4)
        assert len(attributes(spans.call)["aimlapi_embeddings.request_ids"]) == 3


def test_an_error_of_a_stream_is_recorded_on_its_span(
    core: EntryPoint, fake_server: FakeServer
) -> None:
    fake_server.will(Fault(401))
    with collecting() as spans:
        read(client_of(core), core.mode, ["a"])
        assert attributes(spans.call)["error.type"] == "401"
