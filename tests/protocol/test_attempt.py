"""One sending of one request: when it may begin, and when it is broken off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aimlapi_embeddings._protocol.attempt import Attempt, CallEnded, TooSlowError, Watchdog
from aimlapi_embeddings._protocol.transport import HTTPTransport
from tests.support.emulator_server import serving
from tests.support.sockets import eventually, ports_to

NAME = "aimlapi-embeddings-watchdog"
ENDED_LATE = 1.5  # seconds, with room for a slow machine


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == NAME}


class Connection:
    """Notes when it is shut down."""

    def __init__(self) -> None:
        self.shut_down_at: float | None = None

    def shut_down(self) -> None:
        self.shut_down_at = time.monotonic()


@contextmanager
def watchdog() -> Iterator[Watchdog]:
    """A watchdog whose thread ends with the test."""
    before = threads()
    made = Watchdog()
    yield made
    made.close()
    eventually(lambda: not threads() - before)


def watched(made: Watchdog, seconds: float) -> tuple[Attempt, Connection, float]:
    """An attempt that is watched, its connection, and when it began."""
    attempt, connection = Attempt(), Connection()
    attempt.use(connection)
    began = time.monotonic()
    made.watch(attempt, seconds)
    return attempt, connection, began


def test_sending_is_noted_when_it_begins() -> None:
    attempt = Attempt(lambda: False)
    assert (attempt.reused, attempt.sent, attempt.answered) == (False, False, False)
    attempt.begin()
    assert attempt.sent


def test_sending_must_not_begin_when_the_call_has_ended() -> None:
    over = threading.Event()
    attempt = Attempt(over.is_set)
    over.set()
    with pytest.raises(CallEnded):
        attempt.begin()
    assert not attempt.sent


class Key:
    def get_secret_value(self) -> str:
        return "key"


def test_a_call_that_ends_between_connecting_and_sending_sends_nothing() -> None:
    asked: list[bool] = []

    def is_over() -> bool:
        asked.append(True)
        return bool(ports_to(base_url))  # as soon as the connection is open

    with serving() as (server, base_url):
        transport = HTTPTransport(f"{base_url}/v1/embeddings", Key(), {})
        attempt = Attempt(is_over)
        with pytest.raises(CallEnded):
            transport.send(b"{}", attempt)
        assert asked
        assert (attempt.reused, attempt.sent) == (False, False)
        assert not ports_to(base_url), "the connection is closed"
        transport.close()
        assert server.requests == []


def test_a_call_that_ended_before_sends_nothing_on_an_idle_connection_either() -> None:
    with serving() as (server, base_url):
        transport = HTTPTransport(f"{base_url}/v1/embeddings", Key(), {})
        transport.send(b"{}", Attempt(lambda: False))
        with pytest.raises(CallEnded):
            transport.send(b"{}", Attempt(lambda: True))
        assert len(server.requests) == 1
        assert not ports_to(base_url)
        transport.close()


def test_the_time_of_an_attempt_as_a_whole_is_checked() -> None:
    attempt = Attempt()
    attempt.check_time()
    attempt.deadline = time.monotonic() - 0.001
    with pytest.raises(TooSlowError):
        attempt.check_time()


def test_an_attempt_without_a_connection_can_be_shut_down() -> None:
    Attempt().shut_down()


def test_an_attempt_is_broken_off_at_its_deadline() -> None:
    with watchdog() as made:
        attempt, connection, began = watched(made, 0.2)
        eventually(lambda: connection.shut_down_at)
        assert attempt.expired
        assert connection.shut_down_at is not None
        assert 0.2 <= connection.shut_down_at - began < ENDED_LATE


def test_an_attempt_that_has_ended_is_left_alone() -> None:
    with watchdog() as made:
        attempt, connection, _ = watched(made, 0.1)
        made.forget(attempt)
        time.sleep(0.3)
        assert (attempt.expired, connection.shut_down_at) == (False, None)


def test_one_thread_watches_all_attempts() -> None:
    before = threads()
    with watchdog() as made:
        attempts = [watched(made, 0.2) for _ in range(20)]
        assert len(threads() - before) == 1
        eventually(lambda: all(connection.shut_down_at for _, connection, _ in attempts))
        assert {thread.daemon for thread in threads() - before} == {True}


def test_an_attempt_that_begins_while_nothing_was_watched_is_broken_off_in_time() -> None:
    with watchdog() as made:
        attempt, _, _ = watched(made, 0.1)
        made.forget(attempt)
        time.sleep(0.3)  # until the thread waits for further attempts
        for _ in range(3):
            _, connection, began = watched(made, 0.2)
            eventually(lambda connection=connection: connection.shut_down_at)
            assert connection.shut_down_at is not None
            assert connection.shut_down_at - began < ENDED_LATE
            time.sleep(0.1)


def test_close_ends_the_thread_at_once_when_nothing_is_watched() -> None:
    before, made = threads(), Watchdog()
    attempt, _, _ = watched(made, 60.0)
    made.forget(attempt)
    closed = time.monotonic()
    made.close()
    eventually(lambda: not threads() - before)
    assert time.monotonic() - closed < ENDED_LATE


def test_close_leaves_attempts_in_flight_watched_and_ends_with_the_last() -> None:
    before, made = threads(), Watchdog()
    _, connection, _ = watched(made, 0.4)
    ended, _, _ = watched(made, 60.0)
    made.close()
    eventually(lambda: connection.shut_down_at)
    assert threads() - before, "one attempt is left"
    forgotten = time.monotonic()
    made.forget(ended)
    eventually(lambda: not threads() - before)
    assert time.monotonic() - forgotten < ENDED_LATE


@pytest.mark.slow
def test_the_thread_ends_after_some_seconds_without_attempts_and_is_started_again() -> None:
    before, made = threads(), Watchdog()
    attempt, _, _ = watched(made, 0.2)
    made.forget(attempt)
    time.sleep(1.0)
    assert threads() - before
    eventually(lambda: not threads() - before)
    _, connection, _ = watched(made, 0.1)
    eventually(lambda: connection.shut_down_at)
    made.close()


def test_where_no_thread_can_be_started_replies_are_read_unwatched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == NAME:
            raise RuntimeError("can't start new thread")
        start(thread)

    with watchdog() as made, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        attempt, connection, _ = watched(made, 0.1)
        assert attempt.deadline - time.monotonic() <= 0.1
        patch.undo()
        _, later, _ = watched(made, 0.1)  # and the next one starts it
        eventually(lambda: connection.shut_down_at and later.shut_down_at)
