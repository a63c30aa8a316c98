"""Which request is it? Its id of ours and the server's: in headers, logs, results and errors."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
import re
from typing import Any

import httpx
import pytest

from aimlapi_embeddings import (
    AIMLAPIError,
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    EmbeddingsClient,
    InvalidInputError,
    ReplyError,
    emulator,
)
from aimlapi_embeddings._protocol.correlation import new_request_ids, own_request_id
from aimlapi_embeddings.emulator import Fault, faults
from tests.support.emulator_server import connected, serving
from tests.support.entry_points import OPENAI, Clock, EntryPoint, FakeServer, Mode
from tests.support.flows import Rig, bad, good

HEADER = "x-client-request-id"
FORMAT = "Unrecognized key(s) in object: 'encoding_format'"


def ids(fake_server: FakeServer) -> list[str]:
    return [request.headers[HEADER] for request in fake_server.requests]


def test_each_request_has_another_id_of_letters_digits_and_hyphens(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI, batch_size=1).documents(list("abcdef"))
    entry_point.query("q")
    found = ids(entry_point.fake_server)
    assert len(set(found)) == len(found) == 7
    assert all(re.fullmatch(r"[A-Za-z0-9-]{8,64}", id) for id in found)


def test_retries_of_a_request_keep_its_id(entry_point: EntryPoint, clock: Clock) -> None:
    reset = httpx.ConnectError("reset")
    entry_point.fake_server.will(Fault(503), Fault(429), reset, None)
    entry_point.make(OPENAI).query("q")
    found = ids(entry_point.fake_server)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_our_own_connections_send_it_too(package: Any, mode: Mode) -> None:
    with serving(faults=[Fault(503, retry_after="0")]) as (server, base_url):
        entry_point = connected(package, mode, base_url)
        entry_point.documents(["a", "b", "c", "d"])
        entry_point.client.close()
        found = [request.headers[HEADER] for request in server.requests]
    assert (len(found), len(set(found))) == (3, 2)


def test_a_request_that_differs_from_the_one_before_has_another_id() -> None:
    """A part of a refused batch, and the same texts in another format."""
    rig = Rig(4).run(
        lambda numbers: bad(400) if 2 in numbers and len(numbers) > 1 else good(numbers)
    )
    assert len(set(rig.request_ids)) == len(rig.sent) > 1
    replies = iter([bad(400, FORMAT), bad(503)])
    rig = Rig(2, encoding_format="base64").run(lambda numbers: next(replies, good(numbers)))
    assert rig.request_ids == ["request-1", "request-2", "request-2"]


def test_a_part_that_was_cut_while_it_waited_has_another_id() -> None:
    rig = Rig(4)

    def server(numbers: list[int]) -> Any:
        if len(numbers) == 4:
            rig.limits.learn(2, float("inf"))  # as another call may at this moment
            return bad(503)
        return good(numbers)

    rig.run(server)
    assert rig.sent == [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert rig.request_ids == ["request-1", "request-2", "request-3"]


@pytest.mark.parametrize("spelling", ["X-Client-Request-Id", "x-client-request-id"])
def test_a_header_of_the_users_wins(entry_point: EntryPoint, spelling: str) -> None:
    entry_point.make(OPENAI, headers={spelling: "mine"}, max_retries=0).query("q")
    entry_point.fake_server.will(Fault(401))
    with pytest.raises(AuthenticationError) as caught:
        entry_point.query("q")
    assert ids(entry_point.fake_server) == ["mine", "mine"]
    assert caught.value.client_request_id == "mine"


def test_a_header_of_the_users_http_client_wins(entry_point: EntryPoint) -> None:
    transport = httpx.MockTransport(entry_point.fake_server)
    headers = {"X-CLIENT-REQUEST-ID": "theirs"}
    entry_point.make(
        OPENAI,
        http_client=httpx.Client(transport=transport, headers=headers),
        async_http_client=httpx.AsyncClient(transport=transport, headers=headers),
    ).query("q")
    assert ids(entry_point.fake_server) == ["theirs"]


def test_headers_in_any_spelling_are_read() -> None:
    assert own_request_id({"X-CLIENT-Request-ID": "a"}) == "a"
    assert own_request_id(httpx.Headers({"X-Client-Request-Id": "a"})) == "a"
    assert own_request_id({"X-Other": "a"}) is own_request_id(None) is None
    assert new_request_ids(None, {"other": "b"}, {HEADER: "a"})() == "a"


def _send(queue: Any, client: EmbeddingsClient, fake_server: FakeServer) -> None:
    client.embed(["a"], role="query")
    queue.put(ids(fake_server)[-1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_ids_of_its_own(fake_server: FakeServer) -> None:
    client = EntryPoint("core", "sync", fake_server).make(OPENAI).client
    client.embed(["a"], role="query")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_send, args=(queue, client, fake_server)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    client.embed(["a"], role="query")
    assert len({*found, *ids(fake_server)}) == 4


def test_the_log_tells_both_ids(entry_point: EntryPoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aimlapi_embeddings")
    entry_point.make(OPENAI).query("q")
    [id] = ids(entry_point.fake_server)
    [line] = [r.getMessage() for r in caplog.records if r.getMessage().startswith("request:")]
    assert line.endswith(f", client request id {id}")


def test_every_error_of_a_request_tells_its_id(entry_point: EntryPoint, clock: Clock) -> None:
    kinds: list[tuple[Any, type[AIMLAPIError]]] = [
        (Fault(401), AuthenticationError),
        (Fault(400), BadRequestError),
        (httpx.ConnectError("refused"), APIConnectionError),
        (Fault(reshape=faults.one_short), ReplyError),
    ]
    for fault, kind in kinds:
        entry_point.make(OPENAI, max_retries=0)
        entry_point.fake_server.will(fault)
        with pytest.raises(kind) as caught:
            entry_point.query("q")
        assert caught.value.client_request_id == ids(entry_point.fake_server)[-1]
        copy = pickle.loads(pickle.dumps(caught.value))
        assert copy.client_request_id == caught.value.client_request_id
        assert caught.value.client_request_id not in str(caught.value), "errors can be compared"


def test_an_error_about_several_texts_has_the_id_of_the_first_refusal() -> None:
    rig = Rig(3)
    rig.run(lambda numbers: bad(400) if {0, 2} & {*numbers} else good(numbers))
    refused = rig.call.work.refused
    assert sorted(refused) == [0, 2]
    for place, error in refused.items():
        assert error.client_request_id == rig.request_ids[rig.sent.index([place])]


def test_an_error_without_a_request_has_no_id(entry_point: EntryPoint) -> None:
    entry_point.make(OPENAI)
    with pytest.raises(InvalidInputError) as caught:
        entry_point.documents([""])
    assert caught.value.client_request_id is None


def test_the_error_of_a_broken_reply_has_the_servers_id(entry_point: EntryPoint) -> None:
    replies: list[emulator.Reply] = []
    answer = entry_point.fake_server.answer

    def short(request: emulator.Request) -> emulator.Reply:
        replies.append(faults.one_short(answer(request)))
        return replies[-1]

    entry_point.fake_server.answer = short
    with pytest.raises(ReplyError) as caught:
        entry_point.make(OPENAI).documents(["a", "b"])
    assert caught.value.request_id == replies[0].headers["x-inference-id"]


def test_a_result_has_the_model_that_answered_and_the_servers_ids(
    fake_server: FakeServer, mode: Mode
) -> None:
    replies: list[emulator.Reply] = []
    answer = fake_server.answer

    def keep(request: emulator.Request) -> emulator.Reply:
        replies.append(answer(request))
        return replies[-1]

    fake_server.answer = keep
    fake_server.will(None, Fault(400), None)
    entry_point = EntryPoint("core", mode, fake_server).make(
        OPENAI, batch_size=2, max_concurrency=1
    )
    call = entry_point.client.embed if mode == "sync" else entry_point.client.aembed
    result = entry_point.wait(call(["a", "b", "c", "d"]))
    assert result.request_ids == tuple(reply.headers["x-inference-id"] for reply in replies)
    assert len(result.request_ids) == 3, "one batch was refused, and cut in two"
    assert (result.model_served, result.provider_served) == (f"openai/{OPENAI}", "openai")
    nothing = entry_point.wait(call([]))
    assert nothing.request_ids == ()
    assert nothing.model_served is nothing.provider_served is None


def test_a_recording_replays_whatever_the_id(fake_server: FakeServer) -> None:
    """Bodies hold no id, so that matchers on method, address and body still match."""
    entry_point = EntryPoint("core", "sync", fake_server).make(OPENAI)
    entry_point.query("q")
    entry_point.query("q")
    first, second = fake_server.requests
    assert first.headers[HEADER] != second.headers[HEADER]
    assert (first.path, first.body) == (second.path, second.body)
    assert json.loads(first.body).keys() == {"model", "input", "encoding_format"}
