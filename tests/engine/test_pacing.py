"""When may a request leave? Turns, lanes, the server's waits, and what replies teach."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from aimlapi_embeddings._engine.limiter import Limiter
from aimlapi_embeddings._engine.pacing import BULK, INTERACTIVE, Lane, Pacer
from aimlapi_embeddings._engine.steps import Ask, Sleep, Wait
from tests.support.entry_points import Clock
from tests.support.waiting import Loop, Request

LANES = pytest.mark.parametrize("lane", Lane, ids=lambda lane: lane.name.lower())


def a_pacer(most: int | None = 1, clock: Clock | None = None, limiter: Any = None) -> Pacer:
    return Pacer(most, (clock or Clock()).monotonic, limiter)


def holders(pacer: Pacer, count: int, lane: Lane = Lane.BULK, loop: Any = None) -> list[Request]:
    """Requests in flight."""
    requests = [Request(pacer, lane, loop=loop) for _ in range(count)]
    assert all(request.permit for request in requests)
    return requests


def refuse(request: Request) -> bool:
    """Answer with 429; the request is no longer in flight afterwards."""
    assert request.permit is not None
    outage = request.pacer.refused(request.permit)
    request.release()
    return outage


def succeed(request: Request) -> None:
    """Answer with vectors."""
    assert request.permit is not None
    request.pacer.succeeded(request.permit)
    request.release()


def room(pacer: Pacer, lane: Lane = Lane.BULK) -> int:
    """How many requests may leave now; they are given back at once."""
    requests = []
    while (request := Request(pacer, lane)).permit:
        requests.append(request)
    request.give_up()
    for request in requests:
        request.release()
    return len(requests)


# Turns


@LANES
def test_a_free_slot_is_given_at_once(lane: Lane) -> None:
    assert Request(a_pacer(), lane).permit


def test_who_finds_no_slot_waits_and_looks_again_every_50_milliseconds() -> None:
    pacer = a_pacer()
    holders(pacer, 1)
    request = Request(pacer)
    for _ in range(3):
        assert isinstance(request.step, Wait)
        assert request.step.seconds == 0.05
        assert not request.look()


def test_the_more_wait_the_less_often_each_one_looks() -> None:
    """All together look 5,000 times a second at most, which costs a few percent of a CPU."""
    pacer = a_pacer()
    holders(pacer, 1)
    waiting = [Request(pacer) for _ in range(2000)]
    seconds = [each.step.seconds for each in waiting if isinstance(each.step, Wait)]
    assert seconds[:250] == [0.05] * 250
    assert seconds[-1] == pytest.approx(0.4)
    for request in waiting[10:]:
        request.give_up()
    assert not waiting[0].look()
    assert isinstance(waiting[0].step, Wait)
    assert waiting[0].step.seconds == 0.05


def test_a_released_slot_wakes_who_waited_longest() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    first, second = Request(pacer), Request(pacer)
    holder.release()
    assert (first.woken, second.woken) == (True, False)
    assert first.look()


def test_nobody_takes_a_slot_while_others_wait_for_it() -> None:
    """A worker that has just released could be back before the one it woke."""
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    waiting = Request(pacer)
    holder.release()
    assert not Request(pacer).permit
    assert waiting.look()


def test_slots_are_given_in_order_of_arrival() -> None:
    pacer = a_pacer()
    holder = holders(pacer, 1)[0]
    waiting = [Request(pacer) for _ in range(5)]
    for request in waiting:
        holder.release()
        assert [each for each in waiting if not each.permit and each.woken] == [request]
        assert request.look()
        holder = request


@LANES
def test_a_wake_up_without_a_waiter_is_not_lost(lane: Lane) -> None:
    """The first waiter was woken, but its event loop stands still: the next looks for itself."""
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    deaf, second = Request(pacer, lane), Request(pacer, lane)
    holder.release()
    assert deaf.woken
    assert second.look()


def test_who_was_woken_in_vain_leaves_the_precedence_to_those_before() -> None:
    pacer = a_pacer(2)
    one, other = holders(pacer, 2)
    first, second = Request(pacer), Request(pacer)
    one.release()
    other.release()
    assert second.woken
    assert not second.look(), "it was woken, so it has not looked in vain for a whole look"
    assert first.look()
    assert second.look()


def test_who_gives_up_leaves_the_queue_and_passes_its_wake_up_on() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    first, second = Request(pacer), Request(pacer)
    holder.release()
    first.give_up()
    assert second.woken
    assert second.look()


def test_who_gives_up_before_its_turn_swallows_no_later_wake_up() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    first, second = Request(pacer), Request(pacer)
    first.give_up()
    assert not second.woken or not second.look()
    holder.release()
    assert second.woken
    assert second.look()


def test_leave_that_is_given_back_twice_frees_one_slot() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    holder.release()
    assert Request(pacer).permit
    holder.release()
    assert not Request(pacer).permit


class Meddling(Request):
    """A request during whose look for a slot, with the pacer's lock held, something happens."""

    def __init__(self, pacer: Pacer, act: Any) -> None:
        self._act: Any = None
        super().__init__(pacer)
        self._act = act

    @property  # type: ignore[override]
    def loop(self) -> Any:
        act, self._act = self._act, None
        if act is not None:
            act()
        return None

    @loop.setter
    def loop(self, value: Any) -> None:
        pass


@pytest.mark.timeout(20)
@pytest.mark.parametrize("act", ["release", "give up"])
def test_a_finalizer_can_release_or_give_up_while_the_lock_is_held(act: str) -> None:
    """Both take no lock: a collection may run them in the thread that holds it."""
    pacer = a_pacer(2)
    one, other = holders(pacer, 2)
    dropped = Request(pacer)
    meddling = Meddling(pacer, other.release if act == "release" else dropped.give_up)
    dropped.give_up()
    one.release()
    assert meddling.look()


def test_a_pacer_that_goes_on_for_another_counts_its_requests_in_flight_and_its_waits() -> None:
    """So that changing an option of an object does not lift its bound."""
    clock = Clock()
    before = a_pacer(2, clock)
    one, _ = holders(before, 2)
    after = Pacer(3, clock.monotonic, None, before)
    holders(after, 1)
    assert not Request(after).permit
    one.release()
    before.wait_for(10.0)
    later = Pacer(4, clock.monotonic, None, before)
    assert isinstance(Request(later).step, Sleep)


# Lanes


def test_interactive_calls_do_not_wait_for_bulk_calls_unless_a_number_is_given() -> None:
    pacer = a_pacer(None)
    assert pacer.most == BULK == 8
    holders(pacer, BULK)
    assert not Request(pacer).permit
    holders(pacer, INTERACTIVE, Lane.INTERACTIVE)
    assert not Request(pacer, Lane.INTERACTIVE).permit


def test_a_number_bounds_both_lanes_together() -> None:
    pacer = a_pacer(3)
    assert pacer.most == 3
    holders(pacer, 2)
    holders(pacer, 1, Lane.INTERACTIVE)
    assert not Request(pacer).permit
    assert not Request(pacer, Lane.INTERACTIVE).permit


def test_interactive_calls_go_first() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    bulk, interactive = Request(pacer), Request(pacer, Lane.INTERACTIVE)
    holder.release()
    assert (interactive.woken, bulk.woken) == (True, False)
    assert not Request(pacer).permit, "bulk work that arrives now does not barge in either"
    assert interactive.look()


def test_bulk_work_that_arrives_leaves_a_free_slot_to_an_interactive_call() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    interactive = Request(pacer, Lane.INTERACTIVE)
    holder.release()
    bulk = Request(pacer)
    assert not bulk.permit, "it is the first of its own queue"
    assert interactive.look()
    interactive.release()
    assert bulk.look()


def test_bulk_work_takes_a_slot_that_an_interactive_call_leaves_alone_for_a_whole_look() -> None:
    pacer = a_pacer()
    [holder] = holders(pacer, 1)
    bulk, _dead = Request(pacer), Request(pacer, Lane.INTERACTIVE)
    holder.release()
    assert bulk.look()


@pytest.mark.parametrize("most", [None, 5])
def test_a_429_of_either_lane_lowers_the_bound_of_bulk_calls(most: int | None) -> None:
    for lane in Lane:
        pacer = a_pacer(most)
        requests = holders(pacer, pacer.most)
        refused = holders(pacer, 1, lane)[0] if most is None and lane == 0 else requests[0]
        refuse(refused)
        for request in requests:
            request.release()
        assert room(pacer) == pacer.most // 2


def test_interactive_calls_are_bounded_after_a_429_too() -> None:
    pacer = a_pacer(None)
    requests = holders(pacer, 40, Lane.INTERACTIVE)
    refuse(requests[0])
    for request in requests[1:]:
        request.release()
    assert room(pacer, Lane.INTERACTIVE) == 20


# Waits that the server asks for


@LANES
def test_nobody_leaves_while_the_server_asks_to_wait(lane: Lane) -> None:
    clock = Clock()
    pacer = a_pacer(8, clock)
    pacer.wait_for(10.0)
    request = Request(pacer, lane)
    assert isinstance(request.step, Sleep)
    clock.sleep(9.9, threading.Event())
    assert not request.look()
    clock.sleep(2.6, threading.Event())
    assert request.look()


@pytest.mark.parametrize(("seconds", "spread"), [(1.0, 0.25), (10.0, 2.5), (20.0, 5.0), (60.0, 5)])
def test_each_waiter_draws_its_own_moment_within_a_quarter_of_the_wait_and_5_seconds(
    seconds: float, spread: float
) -> None:
    pacer = a_pacer(200)
    pacer.wait_for(seconds)
    waits = [Request(pacer).step for _ in range(200)]
    drawn = [wait.seconds - seconds for wait in waits if isinstance(wait, Sleep)]
    assert len(set(drawn)) == 200
    assert 0.0 <= min(drawn) < 0.1 * spread
    assert 0.9 * spread < max(drawn) <= spread


def test_those_who_waited_in_the_queue_draw_their_own_moments_too() -> None:
    clock = Clock()
    pacer = a_pacer(1, clock)
    [holder] = holders(pacer, 1)
    requests = [Request(pacer) for _ in range(20)]
    pacer.wait_for(10.0)
    holder.release()
    for request in requests:
        assert not request.look()
    waits = {request.step.seconds for request in requests if isinstance(request.step, Sleep)}
    assert len(waits) == 20
    assert 10.0 <= min(waits) < max(waits) <= 12.5


def test_who_has_waited_out_the_servers_wait_does_not_wait_again() -> None:
    clock = Clock()
    pacer = a_pacer(1, clock)
    pacer.wait_for(10.0)
    request = Request(pacer)
    assert isinstance(request.step, Sleep)
    clock.sleep(request.step.seconds, threading.Event())
    assert request.look()


def test_a_shorter_wait_does_not_end_a_longer_one() -> None:
    pacer = a_pacer()
    pacer.wait_for(10.0)
    pacer.wait_for(1.0)
    request = Request(pacer)
    assert isinstance(request.step, Sleep)
    assert request.step.seconds >= 10.0


def test_a_longer_wait_that_is_asked_for_meanwhile_is_obeyed_too() -> None:
    clock = Clock()
    pacer = a_pacer(1, clock)
    pacer.wait_for(1.0)
    request = Request(pacer)
    pacer.wait_for(10.0)
    clock.sleep(1.25, threading.Event())
    assert not request.look()
    assert isinstance(request.step, Sleep)
    assert 8.75 <= request.step.seconds <= 12.5


# The user's rate limiter


class OfTheUser:
    def acquire(self) -> None: ...
    async def aacquire(self) -> None: ...


def test_the_rate_limiter_is_asked_once_before_the_wait_for_a_slot() -> None:
    pacer = a_pacer(limiter=Limiter(OfTheUser()))
    first = Request(pacer, tokens=7)
    assert first.step == Ask(7)
    assert first.look()
    second = Request(pacer, tokens=9)
    assert second.step == Ask(9)
    for _ in range(3):
        assert not second.look()
        assert isinstance(second.step, Wait)


# What replies teach


def test_refusals_are_an_outage_when_nobody_got_through_since_those_before() -> None:
    pacer = a_pacer(8)
    one, other = holders(pacer, 2)
    assert refuse(one), "nothing has succeeded yet"
    assert refuse(other), "the same wave"
    succeed(*holders(pacer, 1))
    assert not refuse(*holders(pacer, 1))
    assert refuse(*holders(pacer, 1)), "nothing in between"


def test_all_refusals_of_a_wave_are_judged_alike() -> None:
    pacer = a_pacer(8)
    refuse(*holders(pacer, 1))
    succeed(*holders(pacer, 1))
    pacer = a_pacer(8)
    succeed(*holders(pacer, 1))
    wave = holders(pacer, 4)
    assert [refuse(request) for request in wave] == [False] * 4


def test_a_success_of_one_lane_shows_that_the_other_gets_through() -> None:
    pacer = a_pacer(None)
    succeed(*holders(pacer, 1, Lane.INTERACTIVE))
    assert not refuse(*holders(pacer, 1, Lane.BULK))


def test_a_probe_holds_bulk_requests_back_and_not_interactive_ones() -> None:
    pacer = a_pacer(None)
    pacer.probe()
    [request] = holders(pacer, 1)
    assert not Request(pacer).permit
    assert Request(pacer, Lane.INTERACTIVE).permit
    succeed(request)
    assert room(pacer) == 0, "those who wait go first"


# Loans: event loops that stand still


def silent_for_long(request: Request) -> None:
    """Let the request look until the loops it has asked count as silent."""
    request.look()  # asks
    threading.Event().wait(0.11)
    request.look()


def test_a_slot_is_lent_at_once_when_the_callers_own_loop_holds_them_all() -> None:
    """A sync call on an event loop: only that loop could end the requests in flight."""
    pacer = a_pacer(2)
    loop = Loop(silent=True)
    holders(pacer, 2, loop=loop)
    request = Request(pacer, blocked=loop)
    assert request.look()


def test_a_slot_is_lent_when_every_holders_loop_is_silent_for_100_milliseconds() -> None:
    """A thread that the loop joins, or a loop that was left standing."""
    pacer = a_pacer(2)
    for loop in (Loop(silent=True), Loop(silent=True)):
        holders(pacer, 1, loop=loop)
    request = Request(pacer)
    assert not request.look()
    assert not request.look(), "the loops have had no time to answer yet"
    threading.Event().wait(0.11)
    assert request.look()


def test_a_free_slot_is_not_kept_for_a_waiter_that_never_runs_again() -> None:
    pacer = a_pacer(2)
    holder, _other = holders(pacer, 2)
    _dead = Request(pacer)
    later = Request(pacer)
    holder.release()  # which wakes the dead one
    assert later.look(), "it has waited 50 ms in vain"


def test_a_slot_is_lent_to_a_request_that_was_woken_in_vain_before() -> None:
    pacer = a_pacer(1)
    [holder] = holders(pacer, 1)
    request = Request(pacer)
    holder.release()
    assert request.woken
    request.waiters[-1].reset()
    loop = Loop(silent=True)
    first = Request(pacer, Lane.INTERACTIVE, loop=loop)  # another one was faster
    assert first.permit
    request.waiters[-1].wake()
    assert not request.look()
    silent_for_long(request)
    assert request.permit or request.look()


def test_all_loops_are_asked_together_and_once_each() -> None:
    pacer = a_pacer(4)
    loops = [Loop(silent=True) for _ in range(4)]
    for loop in loops:
        holders(pacer, 1, loop=loop)
    request = Request(pacer)
    request.look()
    assert [loop.asked for loop in loops] == [1] * 4
    request.look()
    assert [loop.asked for loop in loops] == [1] * 4
    threading.Event().wait(0.11)
    assert request.look()


@pytest.mark.parametrize("alive", ["a thread", "another loop", "the waiter's own loop"])
def test_no_slot_is_lent_while_any_holder_can_run(alive: str) -> None:
    pacer = a_pacer(2)
    mine = Loop()
    holders(pacer, 1, loop=Loop(silent=True))
    runs = {"a thread": None, "another loop": Loop(), "the waiter's own loop": mine}
    holders(pacer, 1, loop=runs[alive])
    request = Request(pacer, loop=mine)
    for _ in range(3):
        silent_for_long(request)
    assert not request.permit


def test_one_slot_is_lent_at_a_time() -> None:
    """The borrower can run, so it is a holder that ends; the next loan follows then."""
    pacer = a_pacer(1)
    loop = Loop(silent=True)
    holders(pacer, 1, loop=loop)
    first, second = Request(pacer, blocked=loop), Request(pacer, blocked=loop)
    assert first.look()
    for _ in range(3):
        silent_for_long(second)
    assert not second.permit
    first.release()
    assert second.look()


def test_a_loop_that_answers_is_asked_again_later() -> None:
    pacer = a_pacer(1)
    loop = Loop()
    holders(pacer, 1, loop=loop)
    request = Request(pacer)
    for _ in range(3):
        silent_for_long(request)
    assert loop.asked >= 3
    assert not request.permit
    loop.silent = True
    silent_for_long(request)
    assert request.permit


def test_the_slots_of_a_closed_loop_are_free() -> None:
    pacer = a_pacer(2)
    loop = Loop()
    late = holders(pacer, 2, loop=loop)
    first, second, third = Request(pacer), Request(pacer), Request(pacer)
    loop.closed = True
    assert first.look()
    assert second.look()
    for request in late:  # a finalizer gives back what is not held any more
        request.release()
    assert not third.look()


def test_a_loop_that_is_closed_while_it_is_asked_counts_as_silent() -> None:
    class Closing(Loop):
        def call_soon_threadsafe(self, call: Any, *arguments: Any) -> None:
            raise RuntimeError("Event loop is closed")

    pacer = a_pacer(1)
    holders(pacer, 1, loop=Closing())
    assert Request(pacer).look()
