"""Results, errors, logs, output and warnings of calls do not show the key."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator

import pytest

from aimlapi_embeddings import AIMLAPIError
from aimlapi_embeddings.emulator import Fault, faults
from tests.support import key_exposure
from tests.support.emulator_server import calls_of, connected, serving
from tests.support.entry_points import KEY, Mode, Package
from tests.support.interrupted_call import HANGS, interrupted_call
from tests.support.key_exposure import assert_hidden

ECHO = b'{"message": "Incorrect API key provided: %s."}' % KEY.encode()
# Each is the fault of one request. Some are those of a server that repeats the key.
FAULTS = {
    "none": None,
    "reset before the headers": Fault(drop="before_headers"),
    "end before the headers": Fault(drop="before_headers", reset=False),
    "end in the headers": Fault(drop="in_headers", reset=False),
    "end in the body": Fault(drop="in_body", reset=False),
    "late": HANGS,
    "not gzip": Fault(headers={"content-encoding": "gzip"}),
    **{f"{status}": Fault(status, body=ECHO) for status in (400, 401, 403, 404, 413, 422)},
    **{f"{status}": Fault(status, body=ECHO) for status in (408, 429, 500, 503)},
    "end in a body that repeats it": Fault(401, body=ECHO * 4, drop="in_body", reset=False),
    "redirect": Fault(307, {"location": f"https://elsewhere/?key={KEY}"}, ECHO),
    "headers that repeat it": Fault(500, {"x-inference-id": KEY, "retry-after": KEY}),
    "no list": Fault(body=ECHO),
    "no JSON": Fault(body=KEY.encode()),
    "short": Fault(reshape=faults.one_short),
    "NaN": Fault(reshape=faults.with_nan),
    "half a reply": Fault(reshape=faults.cut_short),
}


@pytest.fixture
def emitted(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], str]]:
    """A function that returns all log records, output and warnings so far.

    Left out is httpcore's DEBUG record of the headers of a reply, which quotes a server that
    repeats the key in one.
    """
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        def collect() -> str:
            logged = [record.getMessage() for record in caplog.records]
            logged = [said for said in logged if "receive_response_headers.complete" not in said]
            return "\n".join([*logged, *capfd.readouterr(), *map(repr, warned)])

        yield collect


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_outcome_of_a_request_shows_the_key(
    package: Package, mode: Mode, fault: Fault | None, emitted: Callable[[], str]
) -> None:
    bar = {"langchain": {"show_progress_bar": True}, "llama_index": {"show_progress": True}}
    with serving(faults=[None, fault]) as (server, base_url):
        entry_point = connected(
            package,
            mode,
            base_url,
            max_retries=0,
            max_concurrency=1,
            timeout=0.3,
            **bar.get(package, {}),
        )
        shown = []
        try:
            entry_point.documents(["a", "b", "c"])
        except AIMLAPIError as error:
            shown.append(key_exposure.all_of(error))
        else:  # a connection that breaks before the reply is taken for one that was idle too long
            assert fault is None or fault.drop in ("before_headers", "in_headers")
        shown += [
            repr(entry_point.embedder),
            repr(entry_point.client),
            repr(entry_point.client.usage),
        ]
        shown += [repr(vars(entry_point.embedder)), repr(vars(entry_point.client))]
        entry_point.client.close()
    shown.append(emitted())
    assert "send_request_headers" in shown[-1]
    assert "send_request_headers.started" in shown[-1]
    assert_hidden("\n".join(shown))
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_a_refused_connection_does_not_show_the_key(
    package: Package, mode: Mode, emitted: Callable[[], str]
) -> None:
    entry_point = connected(package, mode, "http://127.0.0.1:9", max_retries=1)
    with pytest.raises(AIMLAPIError) as caught:
        entry_point.query("q")
    assert_hidden(key_exposure.all_of(caught.value) + emitted())


# Ctrl-C and cancellation: their tracebacks hold frames of the HTTP library


@pytest.mark.parametrize("requests", [1, 8])
def test_ctrl_c_does_not_show_the_key(package: Package, requests: int) -> None:
    with interrupted_call() as interrupted:
        entry_point = connected(package, "sync", interrupted.base_url, batch_size=1)
        interrupted.when(requests, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as caught:
            entry_point.documents([str(i) for i in range(requests)])
        entry_point.client.close()
    assert_hidden(key_exposure.all_of(caught.value))


@pytest.mark.parametrize("requests", [1, 8])
def test_cancellation_does_not_show_the_key(package: Package, requests: int) -> None:
    async def use() -> None:
        entry_point = connected(package, "async", interrupted.base_url, batch_size=1)
        embed = calls_of(entry_point.embedder)[1]
        task = asyncio.ensure_future(embed([str(i) for i in range(requests)]))
        await asyncio.to_thread(interrupted.wait_for, requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert_hidden(key_exposure.all_of(caught.value))

    with interrupted_call() as interrupted:
        asyncio.run(use())


def test_an_exception_that_the_caller_handles_keeps_its_traceback(mode: Mode) -> None:
    """Only frames of the HTTP library are removed."""
    entry_point = connected("core", mode, "http://127.0.0.1:9", max_retries=0)

    def fall_back() -> None:
        try:
            {}["the caller's own"]
        except KeyError:
            entry_point.query("q")

    with pytest.raises(AIMLAPIError) as caught:
        fall_back()
    [own] = [link for link in key_exposure.chain(caught.value) if isinstance(link, KeyError)]
    assert own.__traceback__ is not None
