"""Calls with a cache: what is found is not sent, what is sent is kept before the progress moves."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from aimlapi_embeddings import (
    AuthenticationError,
    BadRequestError,
    CacheError,
    CacheWarning,
    ConfigurationError,
    EmbeddingsClient,
    InvalidInputError,
    ReplyError,
    Usage,
    VectorCache,
    emulator,
)
from tests.support.entry_points import GOOGLE, KEY, OPENAI, EntryPoint, FakeServer, Mode
from tests.support.sockets import SOON, eventually

TEXTS = [f"text {i}" for i in range(40)]


def embed(point: EntryPoint, texts: list[str], **options: Any) -> Any:
    """Embed through the core, for the whole result."""
    call = point.client.embed if point.mode == "sync" else point.client.aembed
    return point.wait(call(texts, **options))


@pytest.fixture
def core(mode: Mode, fake_server: FakeServer) -> EntryPoint:
    return EntryPoint("core", mode, fake_server)


def sent_texts(server: FakeServer) -> list[str]:
    return [
        text for given in server.inputs for text in (given if isinstance(given, list) else [given])
    ]


# Both adapters


def test_a_text_is_paid_for_once(entry_point: EntryPoint, cache: VectorCache) -> None:
    first = entry_point.make(cache=cache).documents(TEXTS)
    query = entry_point.query("text 0")
    sent = len(entry_point.fake_server.requests)
    assert entry_point.documents(TEXTS) == first
    assert entry_point.query("text 0") == query
    assert entry_point.make(cache=cache.path).documents(TEXTS[::-1]) == first[::-1]
    assert len(entry_point.fake_server.requests) == sent
    assert entry_point.client.usage == Usage(cached=len(TEXTS))


@pytest.mark.parametrize("model", [GOOGLE, OPENAI])
def test_each_missing_text_gets_its_own_vector(
    entry_point: EntryPoint, cache: VectorCache, model: str
) -> None:
    """Part of a call is cached, and the reply for the rest comes shuffled."""
    shuffler = random.Random(1)

    def shuffled(request: emulator.Request) -> emulator.Reply:
        reply = emulator.answer(request)
        body = json.loads(reply.body)
        shuffler.shuffle(body["data"])
        return emulator.Reply(reply.status, reply.headers, json.dumps(body).encode())

    expected = dict(zip(TEXTS, entry_point.make(model).documents(TEXTS), strict=True))
    entry_point.fake_server.answer = shuffled
    entry_point.make(model, cache=cache, batch_size=7)
    for size in (5, 13, 26, 40):
        some = shuffler.sample(TEXTS, size)
        assert entry_point.documents([*some, some[0]]) == [expected[t] for t in [*some, some[0]]]


def test_packages_share_one_file(cache: VectorCache, mode: Mode, fake_server: FakeServer) -> None:
    found = [
        EntryPoint(package, mode, fake_server).make(cache=cache).documents(TEXTS)
        for package in ("core", "langchain", "llama_index")
    ]
    assert found[0] == found[1] == found[2]
    assert sent_texts(fake_server) == TEXTS


def test_a_cache_that_cannot_be_opened_is_an_error_of_the_constructor(
    entry_point: EntryPoint, tmp_path: Path
) -> None:
    with pytest.raises(CacheError, match="is a folder"):
        entry_point.make(cache=tmp_path)


# What is told


def test_usage_tells_what_was_found_and_progress_begins_there(
    core: EntryPoint, cache: VectorCache
) -> None:
    core.make(cache=cache, batch_size=10, max_concurrency=1)
    embed(core, TEXTS[:15])
    told: list[tuple[int, int]] = []
    result = embed(
        core, [*TEXTS, "text 39"], progress=lambda done, total: told.append((done, total))
    )
    assert told[0] == (15, 41)
    assert told[-1] == (41, 41)
    assert result.usage.cached == 15
    assert result.usage.deduplicated == 1
    assert core.client.usage.cached == 15


def test_vectors_that_are_known_are_neither_looked_up_nor_counted(
    core: EntryPoint, cache: VectorCache
) -> None:
    core.make(cache=cache, dimensions=2)
    embed(core, TEXTS[:2])
    result = embed(core, TEXTS[:4], known={0: [5.0, 5.0], 3: [6.0, 6.0]})
    assert result.vectors[0] == [5.0, 5.0]
    assert result.vectors[3] == [6.0, 6.0]
    assert result.usage.cached == 1
    assert len(cache) == 3


@pytest.mark.parametrize(
    "known", [{1: [5.0, 5.0], 2: [6.0]}, {1: b"eightbyt", 2: b"four"}, {1: [5.0, 5.0], 2: b"four"}]
)
def test_vectors_of_several_sizes_cannot_be_known(core: EntryPoint, known: dict[int, Any]) -> None:
    core.make(dimensions=2)
    with pytest.raises(InvalidInputError, match=r"known\[2\] has 1 .*known\[1\] has 2") as caught:
        embed(core, TEXTS[:4], known=known)
    assert caught.value.indices == (2,)
    assert core.fake_server.requests == []


@pytest.mark.parametrize("texts", [1, 32, 33, 700])
def test_any_number_of_texts_is_found(core: EntryPoint, cache: VectorCache, texts: int) -> None:
    many = [f"text {i}" for i in range(texts)]
    core.make(OPENAI, cache=cache, dimensions=8)
    first = embed(core, many).array()
    result = embed(core, many)
    assert (result.array() == first).all()
    assert result.usage == Usage(cached=texts)


@pytest.mark.parametrize("numbers", [[0.1, -0.0, 5e-324], [1e300, 1.0, 2.0], [0.5, 0.25, -2.0]])
def test_json_numbers_come_back_bit_for_bit(
    core: EntryPoint, cache: VectorCache, numbers: list[float]
) -> None:
    def answer(request: emulator.Request) -> emulator.Reply:
        body = {"data": [{"index": 0, "embedding": numbers}]}
        return emulator.Reply(200, {}, json.dumps(body).encode())

    core.fake_server.answer = answer
    core.make(OPENAI, cache=cache, extra_body={"dimensions": 3})
    assert repr(embed(core, ["a"]).vectors) == repr([numbers])
    assert repr(embed(core, ["a"]).vectors) == repr([numbers])
    assert len(core.fake_server.requests) == 1


def test_a_batch_is_on_the_disk_before_the_progress_moves(
    core: EntryPoint, cache: VectorCache
) -> None:
    core.make(cache=cache, batch_size=5)
    with VectorCache(cache.path) as other:
        seen: list[tuple[int, int]] = []
        embed(core, TEXTS, progress=lambda done, total: seen.append((done, len(other))))
    assert seen[0] == (0, 0)
    assert all(kept >= done for done, kept in seen)
    assert seen[-1] == (40, 40)


def transactions(cache: VectorCache) -> int:
    """Count the transactions that have written, as the file itself does in its header."""
    return int.from_bytes(cache.path.read_bytes()[24:28], "big")


def test_replies_that_wait_for_the_disk_share_a_transaction(
    core: EntryPoint, cache: VectorCache
) -> None:
    """More of them than an event loop has threads at hand."""
    replies = 40
    other = sqlite3.connect(cache.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    core.make(cache=cache, batch_size=1, max_concurrency=replies)
    before = transactions(cache)

    def release() -> None:
        wait_until(lambda: core.client.usage.requests == replies)
        time.sleep(0.2)  # from a reply that is counted to one that waits
        other.execute("ROLLBACK")

    releasing = threading.Thread(target=release)
    releasing.start()
    embed(core, [f"text {i}" for i in range(replies)])
    releasing.join()
    other.close()
    assert transactions(cache) <= before + 2, "one, and one for a thread that was slow"
    assert len(cache) == replies


def test_vectors_are_kept_as_they_came_and_normalized_after_reading(
    core: EntryPoint, cache: VectorCache
) -> None:
    def answer(request: emulator.Request) -> emulator.Reply:
        body = {"data": [{"index": 0, "embedding": [3.0, 4.0]}]}
        return emulator.Reply(200, {}, json.dumps(body).encode())

    core.fake_server.answer = answer
    for normalize, expected in [(True, 0.6), (False, 3.0), (True, 0.6)]:
        core.make(OPENAI, cache=cache, extra_body={"dimensions": 2}, normalize=normalize)
        assert embed(core, ["a"]).vectors[0][0] == pytest.approx(expected)
    assert len(core.fake_server.requests) == 1


def test_a_text_that_was_cut_by_us_is_found_by_the_whole_text(
    core: EntryPoint, cache: VectorCache
) -> None:
    long, longer = "word " * 9000, "word " * 9001
    core.make(OPENAI, cache=cache, dimensions=8, too_long="truncate")
    first = embed(core, [long]).vectors
    sent = len(core.fake_server.requests)
    assert embed(core, [long]).vectors == first
    assert len(core.fake_server.requests) == sent
    embed(core, [longer])
    assert len(core.fake_server.requests) > sent


PROSE = "some words of a long text that goes on and on " * 1_500
DENSE = "a b c d e f g h i j k l m n o p " * 2_000  # cut by the estimate, refused, and cut again


def streamed(point: EntryPoint, texts: list[str]) -> tuple[list[Any], dict[int, int]]:
    """Embed as a stream; return all vectors, and how much of each text is in them."""
    if point.mode == "sync":
        results = list(point.client.embed_iter(texts, batches_of=len(texts)))
    else:

        async def collect() -> list[Any]:
            return [each async for each in point.client.aembed_iter(texts, batches_of=len(texts))]

        results = point.wait(collect())
    (result,) = results
    return result.vectors, result.truncated


def test_a_vector_of_the_cache_has_the_number_of_characters_that_were_sent(
    core: EntryPoint, cache: VectorCache
) -> None:
    texts = ["a text", PROSE, DENSE, "another text", PROSE]
    core.make(OPENAI, cache=cache, dimensions=8, too_long="truncate")
    first = embed(core, texts)
    assert [*first.truncated] == [1, 2, 4]
    assert first.truncated[2] < 4 * 8191 * 0.75, "it was cut again after a refusal"
    sent = len(core.fake_server.requests)
    again = embed(core, texts)
    assert (again.vectors, again.truncated) == (first.vectors, first.truncated)
    assert streamed(core, texts) == (first.vectors, first.truncated)
    shifted = {i + 1: characters for i, characters in first.truncated.items()}
    assert embed(core, ["new", *texts]).truncated == shifted
    assert embed(core, ["known", *texts], known={0: first.vectors[0]}).truncated == shifted
    assert len(core.fake_server.requests) == sent + 1
    with VectorCache(cache.path) as other:
        core.make(OPENAI, cache=other, dimensions=8, too_long="truncate")
        assert embed(core, texts).truncated == first.truncated


def test_a_stream_keeps_how_much_of_a_text_was_sent(core: EntryPoint, cache: VectorCache) -> None:
    texts = ["a text", PROSE, DENSE, "another text"]
    core.make(OPENAI, cache=cache, dimensions=8, too_long="truncate")
    first = streamed(core, texts)
    assert [*first[1]] == [1, 2]
    assert embed(core, texts).truncated == first[1]
    assert core.client.usage.cached == len(texts)


def test_an_error_lists_truncated_texts_whose_vectors_were_in_the_cache(
    core: EntryPoint, cache: VectorCache
) -> None:
    core.make(OPENAI, cache=cache, dimensions=8, too_long="truncate")
    kept = embed(core, [PROSE]).truncated[0]
    core.fake_server.answer = lambda request: emulator.Reply(401, {}, b'{"message": "no"}')
    with pytest.raises(AuthenticationError) as caught:
        embed(core, ["new", PROSE])
    assert caught.value.partial is not None
    assert caught.value.partial.truncated == {1: kept}


def test_the_log_tells_of_texts_that_are_cut_and_not_of_those_that_were(
    core: EntryPoint, cache: VectorCache, caplog: pytest.LogCaptureFixture
) -> None:
    core.make(OPENAI, cache=cache, dimensions=8, too_long="truncate")
    embed(core, [PROSE])
    caplog.set_level("INFO", "aimlapi_embeddings")
    embed(core, [PROSE, "a text", PROSE + "and on"])
    told = [each.getMessage() for each in caplog.records if "cut" in each.getMessage()]
    assert told[0].startswith("1 texts are longer")
    assert [line.split(":")[0] for line in told[1:]] == ["text 2 was cut"]


# Errors


def test_what_was_finished_before_an_error_is_not_paid_again(
    entry_point: EntryPoint, cache: VectorCache
) -> None:
    def refusing(request: emulator.Request) -> emulator.Reply:
        if b"text 39" in request.body:
            return emulator.Reply(401, {}, b'{"message": "no"}')
        return emulator.answer(request)

    server = entry_point.fake_server
    server.answer = refusing
    entry_point.make(cache=cache, batch_size=5, max_concurrency=1)
    with pytest.raises(AuthenticationError):
        entry_point.documents(TEXTS)
    assert len(cache) == 35
    server.answer = emulator.answer
    server.requests.clear()
    assert len(entry_point.documents(TEXTS)) == 40
    assert sent_texts(server) == TEXTS[35:]


def test_a_text_at_fault_is_not_kept_and_the_others_are(
    core: EntryPoint, cache: VectorCache
) -> None:
    def refusing(request: emulator.Request) -> emulator.Reply:
        if b"text 7" in request.body:
            return emulator.Reply(400, {}, b'{"message": "a bad text"}')
        return emulator.answer(request)

    core.fake_server.answer = refusing
    core.make(cache=cache)
    for _ in range(2):
        with pytest.raises(BadRequestError) as caught:
            embed(core, TEXTS)
        assert caught.value.indices == (7,)
        assert [*caught.value.partial.mask].count(False) == 1
    assert len(cache) == 39


def test_a_reply_that_cannot_be_trusted_is_not_kept(core: EntryPoint, cache: VectorCache) -> None:
    core.fake_server.answer = lambda request: emulator.Reply(200, {}, b'{"data": []}')
    core.make(cache=cache)
    with pytest.raises(ReplyError):
        embed(core, TEXTS)
    assert len(cache) == 0


def test_a_cache_that_cannot_be_read_is_an_error_before_any_request(
    entry_point: EntryPoint, cache: VectorCache
) -> None:
    entry_point.make(cache=VectorCache(cache.path, timeout=0.05))
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CacheError, match="held by another process") as caught:
        entry_point.documents(TEXTS)
    assert caught.value.partial is not None
    assert [*caught.value.partial.vectors] == [None] * 40
    assert not entry_point.fake_server.requests
    other.execute("ROLLBACK")
    other.close()
    assert len(entry_point.documents(TEXTS)) == 40


def test_a_cache_that_cannot_be_written_is_a_warning_and_the_call_goes_on(
    entry_point: EntryPoint, cache: VectorCache
) -> None:
    entry_point.make(cache=VectorCache(cache.path, timeout=0.05), batch_size=10)
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(CacheWarning, match="could not be written") as said:
        assert len(entry_point.documents(TEXTS)) == 40
    assert len([each for each in said if each.category is CacheWarning]) == 1
    other.close()


@pytest.mark.parametrize("bad", [5, object(), b"path", ""])
def test_what_is_no_cache_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache"):
        EmbeddingsClient(model=OPENAI, api_key=KEY, cache=bad)


@pytest.mark.parametrize("bad", [True, False, ":memory:"])
def test_what_stands_for_a_cache_elsewhere_is_refused_with_a_remedy(
    bad: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"cache={bad!r} .*'vectors.db'"):
        EmbeddingsClient(model=OPENAI, api_key=KEY, cache=bad)
    assert not [*tmp_path.iterdir()]


# Calls that end while their replies are on the way


def test_a_reply_that_comes_after_a_sync_call_has_failed_is_kept(cache: VectorCache) -> None:
    asked_for, failed = threading.Event(), threading.Event()

    def answer(request: httpx.Request) -> httpx.Response:
        asked = emulator.Request("POST", "/v1/embeddings", dict(request.headers), request.content)
        if b"text 0" in request.content:
            assert asked_for.wait(20)
            return httpx.Response(401, json={"message": "no"})
        asked_for.set()
        assert failed.wait(20)
        reply = emulator.answer(asked)
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    http_client = httpx.Client(transport=httpx.MockTransport(answer))
    client = EmbeddingsClient(
        model=OPENAI, api_key=KEY, http_client=http_client, cache=cache, batch_size=1
    )
    with pytest.raises(AuthenticationError):
        client.embed(["text 0", "text 1"])
    failed.set()
    wait_until(lambda: len(cache) == 1)
    http_client.close()


def wait_until(happened: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if happened():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen")


def test_a_call_that_is_cancelled_while_it_writes_keeps_and_counts_what_it_paid_for(
    cache: VectorCache,
) -> None:
    """Another process holds the file, so that the write waits."""
    other = sqlite3.connect(cache.path, isolation_level=None)

    async def main() -> Usage:
        arrived = asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            other.execute("BEGIN IMMEDIATE")
            asked = emulator.Request(
                "POST", "/v1/embeddings", dict(request.headers), request.content
            )
            reply = emulator.answer(asked)
            arrived.set()
            return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body)

        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = EmbeddingsClient(
                model=OPENAI, api_key=KEY, async_http_client=http_client, cache=cache
            )
            task = asyncio.create_task(client.aembed(["a text"]))
            await arrived.wait()
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.execute("ROLLBACK")
            return client.usage

    usage = asyncio.run(main())
    other.close()
    assert usage.requests == 1
    assert usage.total_tokens > 0
    eventually(lambda: len(cache) == 1)


def test_other_tasks_run_while_a_write_waits(cache: VectorCache, fake_server: FakeServer) -> None:
    point = EntryPoint("core", "async", fake_server).make(cache=cache)
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def main() -> None:
        task = asyncio.create_task(point.client.aembed(["a text"]))
        for _ in range(20):
            await asyncio.sleep(0.01)  # it would not end, were the loop held up
        assert not task.done()
        other.execute("ROLLBACK")
        await task

    asyncio.run(main())
    other.close()
    assert len(cache) == 1


class Ended(ThreadPoolExecutor):
    """Starts no threads any more."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.shutdown()


def test_a_cache_serves_async_calls_where_no_thread_can_be_had(
    fake_server: FakeServer, cache: VectorCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the interpreter, and where the system allows no more of them."""
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", Ended)
    entry_point = EntryPoint("core", "async", fake_server).make(cache=cache)
    client = entry_point.client

    async def use() -> tuple[list[list[float]], list[list[float]]]:
        first = await client.aembed(["a", "b"])
        again = [vector async for vector in client.aembed_iter(["a", "b"])]
        return first.vectors, again

    first, again = asyncio.run(use())
    assert first == again
    assert len(fake_server.requests) == 1


def test_a_cache_does_not_wait_for_the_threads_of_the_event_loop(
    fake_server: FakeServer, cache: VectorCache
) -> None:
    client = EntryPoint("core", "async", fake_server).make(cache=cache).client
    texts = [f"text {i}" for i in range(100)]  # looked up in a thread, since they are many

    async def use() -> None:
        pool, done = ThreadPoolExecutor(1), threading.Event()
        asyncio.get_running_loop().set_default_executor(pool)
        busy = asyncio.create_task(asyncio.to_thread(done.wait, SOON))
        try:
            await client.aembed(texts)
            assert (await client.aembed(texts)).usage.cached == 100
            assert len([vector async for vector in client.aembed_iter(texts)]) == 100
            assert not busy.done()
        finally:
            done.set()
            await busy

    asyncio.run(use())
