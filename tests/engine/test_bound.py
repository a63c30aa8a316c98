"""The bound on requests in flight: refusals lower it, successes raise it, a probe narrows it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from aimlapi_embeddings._engine.bound import Bound


class Load:
    """Requests on one bound, sent by hand: their tickets, and what their replies say."""

    def __init__(self, most: int, in_flight: int = 0) -> None:
        self.bound = Bound(most)
        self._tickets: Iterator[int] = itertools.count(1)
        self.newest = 0
        self.wave = self.send(in_flight)

    def send(self, count: int = 1) -> list[int]:
        """Let requests leave."""
        tickets = [next(self._tickets) for _ in range(count)]
        self.bound.holders.update(dict.fromkeys(tickets))
        self.newest = tickets[-1] if tickets else self.newest
        return tickets

    def refuse(self, ticket: int) -> None:
        """Answer with 429. The ticket is still held while the reply is noted."""
        self.bound.refused(ticket, self.newest)
        self.bound.holders.pop(ticket)

    def succeed(self, ticket: int) -> None:
        """Answer with vectors."""
        self.bound.succeeded(ticket)
        self.bound.holders.pop(ticket)

    def refuse_full(self) -> None:
        """Fill the bound, refuse one request, and end the others without a reply."""
        self.refuse(self.send(self.bound.limit)[-1])
        self.bound.holders.clear()

    def successes_until(self, limit: int) -> int:
        """Answer requests with vectors, one at a time, until the bound is this."""
        for count in range(100_000):
            if self.bound.limit == limit:
                return count
            self.succeed(*self.send())
        raise AssertionError(f"the bound stays at {self.bound.limit}")


def limits_while_probing(load: Load, successes: int) -> list[int]:
    """The bound after each of some successes."""
    limits = []
    for _ in range(successes):
        load.succeed(*load.send())
        limits.append(load.bound.limit)
    return limits


def test_a_new_bound_is_free_up_to_what_was_asked_for() -> None:
    load = Load(3)
    assert (load.bound.limit, load.bound.free) == (3, 3)
    load.send(2)
    assert load.bound.free == 1


@pytest.mark.parametrize(("in_flight", "limit"), [(8, 4), (6, 3), (3, 1), (1, 1)])
def test_a_429_halves_what_is_in_flight(in_flight: int, limit: int) -> None:
    load = Load(8, in_flight)
    load.refuse(load.wave[0])
    assert load.bound.limit == limit


def test_from_256_one_refusal_is_enough_to_come_near_to_what_is_in_flight() -> None:
    load = Load(256, in_flight=20)
    load.refuse(load.wave[0])
    assert load.bound.limit == 10


def test_a_bound_is_never_below_one() -> None:
    load = Load(1)
    for _ in range(3):
        load.refuse(*load.send())
    assert load.bound.limit == 1


def test_requests_refused_together_halve_the_bound_once() -> None:
    """And the rest of them show how many the server took: here it took five of eight."""
    load = Load(8, in_flight=8)
    load.refuse(load.wave[0])
    assert load.bound.limit == 4
    for ticket in load.wave[-2:]:
        load.refuse(ticket)
    assert load.bound.limit == 4


def test_a_429_halves_the_bound_where_more_is_in_flight_than_it_allows() -> None:
    """Those of a client with other options count too, and one more may be lent."""
    load = Load(4, in_flight=8)
    load.refuse(load.wave[0])
    assert load.bound.limit == 2


def test_a_429_of_another_bound_counts_beside_what_is_in_flight() -> None:
    """An interactive request was refused beside five of bulk work: the server met six."""
    load = Load(8, in_flight=5)
    load.bound.refused(load.newest + 1, load.newest + 1)
    assert load.bound.limit == 3


def test_requests_refused_together_lower_the_bound_to_what_the_server_took() -> None:
    load = Load(8, in_flight=8)
    for ticket in load.wave[:6]:
        load.refuse(ticket)
    assert load.bound.limit == 2


def test_a_wave_that_is_refused_altogether_leaves_a_bound_of_one() -> None:
    load = Load(8, in_flight=8)
    for ticket in load.wave:
        load.refuse(ticket)
    assert load.bound.limit == 1


def test_only_requests_that_left_after_a_halving_may_halve_again() -> None:
    load = Load(8, in_flight=8)
    load.refuse(load.wave[0])
    for ticket in load.wave[1:5]:
        load.succeed(ticket)
    assert load.bound.limit == 7, "each success raises it while it is below what was refused"
    later = load.send(3)
    load.refuse(load.wave[5])
    assert load.bound.limit == 5, "an old request: five others are in flight"
    load.refuse(later[0])
    assert load.bound.limit == 2, "a new one: four others were in flight, so half of five"


def test_a_bound_grows_fast_to_just_below_where_it_was_refused() -> None:
    load = Load(8)
    load.refuse_full()
    assert load.successes_until(7) == 7 - 4


def test_a_bound_that_was_refused_is_tried_again_after_eight_rounds() -> None:
    load = Load(8)
    load.refuse_full()
    load.successes_until(7)
    assert load.successes_until(8) == 8 * 7


def test_each_refusal_at_the_same_bound_doubles_the_patience_up_to_64_rounds() -> None:
    load = Load(8)
    rounds = []
    for _ in range(5):
        load.refuse_full()
        load.successes_until(7)
        rounds.append(load.successes_until(8) / 7)
    assert rounds == [8, 16, 32, 64, 64]


def test_a_refusal_at_another_bound_begins_with_the_first_patience() -> None:
    load = Load(8)
    for _ in range(2):
        load.refuse_full()
        load.successes_until(8)
    load.refuse_full()
    load.refuse_full()  # at a bound of four
    load.successes_until(3)
    assert load.successes_until(4) == 8 * 3


def test_past_the_figure_that_was_refused_a_bound_grows_fast_again() -> None:
    load = Load(8)
    load.refuse_full()
    load.refuse_full()  # at four
    load.successes_until(4)
    assert [load.successes_until(limit) for limit in (5, 6, 7, 8)] == [4, 1, 1, 1]


def test_a_refusal_of_a_single_request_in_flight_teaches_no_bound() -> None:
    """A rate is exceeded, not a number in flight: the bound grows back without patience."""
    load = Load(8, in_flight=1)
    load.refuse(load.wave[0])
    assert load.bound.limit == 1
    assert load.successes_until(8) == 7


def test_a_refusal_of_a_single_request_does_not_forget_the_figure_refused_before() -> None:
    load = Load(8)
    load.refuse_full()
    load.refuse_full()  # at four
    load.refuse(*load.send())
    load.successes_until(3)
    assert load.successes_until(4) == 8 * 3


def test_a_refusal_far_from_the_bound_is_one_at_what_was_in_flight() -> None:
    load = Load(8, in_flight=2)
    load.refuse(load.wave[0])
    load.bound.holders.clear()
    assert load.bound.limit == 1
    assert load.successes_until(2) == 8


def test_a_halving_forgets_the_successes_before_it() -> None:
    load = Load(3)
    load.refuse_full()
    load.successes_until(2)
    for _ in range(8 * 2 - 1):
        load.succeed(*load.send())
    load.refuse_full()
    load.succeed(*load.send())
    assert load.bound.limit == 1


@pytest.mark.parametrize("most", [1, 2, 8])
def test_successes_never_raise_a_bound_above_what_was_asked_for(most: int) -> None:
    load = Load(most)
    for _ in range(100):
        load.succeed(*load.send())
    assert load.bound.limit == load.bound.most == most


def test_successes_at_the_full_bound_are_no_credit_for_later() -> None:
    load = Load(8)
    for _ in range(100):
        load.succeed(*load.send())
    load.refuse_full()
    assert load.bound.limit == 4


def test_a_probe_lets_requests_leave_one_at_a_time_and_each_success_doubles_that() -> None:
    load = Load(6)
    load.bound.probe(load.newest)
    assert load.bound.limit == 1
    assert limits_while_probing(load, 4) == [2, 4, 6, 6]


def test_requests_that_left_before_a_probe_prove_nothing_about_the_size() -> None:
    load = Load(8, in_flight=1)
    load.bound.probe(load.newest)
    load.succeed(load.wave[0])
    assert load.bound.limit == 1


def test_a_probe_leaves_the_bound_that_a_429_has_lowered() -> None:
    load = Load(8)
    load.refuse_full()
    load.bound.probe(load.newest)
    assert limits_while_probing(load, 3) == [2, 4, 7], "each success raises the bound as well"


def test_as_many_are_woken_as_may_leave_interactive_calls_first() -> None:
    load, woken = Load(3, in_flight=1), []
    for name in "ab":
        load.bound.waiting[1].append(lambda name=name: woken.append(name))  # type: ignore[misc]
    load.bound.waiting[0].append(lambda: woken.append("interactive"))
    load.bound.wake()
    assert woken == ["interactive", "a"]


def test_nobody_is_woken_where_there_is_no_room() -> None:
    load, woken = Load(2, in_flight=2), []
    load.bound.waiting[1].append(lambda: woken.append("a"))
    load.bound.wake()
    assert woken == []
    load.bound.refused(load.wave[0], load.newest)  # more in flight than the bound now is
    load.bound.wake()
    assert woken == []
