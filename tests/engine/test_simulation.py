"""Any server, any calls, any order: what the engine promises holds in all combinations.

Async runs pass in simulated time, see `tests/support/simulated_run.py`: 400 by default, 10,000
with `--hypothesis-profile=long`. Runs with threads take real time, and are fewer.
"""

from __future__ import annotations

import threading

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.support.simulated_laws import LAWS, LAWS_OF_THREADS
from tests.support.simulated_run import (
    CallPlan,
    ClientPlan,
    LoopPlan,
    Outcome,
    Run,
    RunPlan,
)
from tests.support.simulated_server import (
    BAD_REPLIES,
    FINAL,
    HINTS,
    SIZE_WORDS,
    TRANSIENT,
    Connecting,
    Fate,
    Rate,
    ServerPlan,
    vector_of,
)
from tests.support.simulated_stream_laws import STREAM_LAWS, STREAM_LAWS_OF_THREADS
from tests.support.simulated_streams import StreamPlan
from tests.support.threaded_run import Actor, ThreadedPlan, ThreadedRun, settle

# The profile `long` takes some minutes, and so does the search for the smallest failing run.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unencrypted"),
    pytest.mark.timeout(3_600),
]

_SIMULATED_RUNS = max(400, settings().max_examples)
_THREADED_RUNS = settings().max_examples // 8  # each takes a third of a second

_HARMLESS = (Fate.SERVED, Fate.PIECES, Fate.CLOSE_AFTER)


def _some(values: st.SearchStrategy) -> st.SearchStrategy:  # type: ignore[type-arg]
    """Draw None in most runs, so that each fault is seen alone too."""
    return st.one_of(st.none(), st.none(), values)


def _fates() -> st.SearchStrategy[tuple[Fate, ...]]:
    repeated = sorted(TRANSIENT)
    kinds = st.one_of(
        st.just([Fate.SERVED]),
        st.just(list(_HARMLESS)),
        st.just([*_HARMLESS, *repeated]),
        st.sampled_from(repeated).map(lambda fate: [Fate.SERVED, Fate.SERVED, fate]),
        st.sampled_from(repeated).map(lambda fate: [fate]),
        st.just([*[Fate.SERVED] * 8, *sorted(FINAL | BAD_REPLIES)]),
    )
    return kinds.flatmap(lambda fates: st.lists(st.sampled_from(fates), max_size=12)).map(tuple)


servers = st.builds(
    ServerPlan,
    max_texts=_some(st.integers(1, 12)).map(lambda most: most or float("inf")),
    max_tokens=_some(st.integers(20, 200)).map(lambda most: most or float("inf")),
    size_words=st.sampled_from(sorted(SIZE_WORDS)),
    one_reason=st.booleans(),
    fails=st.booleans(),
    rate=_some(st.builds(Rate, st.sampled_from([0.5, 2.0, 10.0]), st.integers(1, 5))),
    max_in_flight=_some(st.integers(1, 4)),
    hint=st.sampled_from(HINTS),
    latency=st.sampled_from([0.1, 0.0173, 0.5]),
    per_text=st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3]),
    fates=_fates(),
    connecting=st.one_of(st.just(()), st.lists(st.sampled_from(Connecting), max_size=4).map(tuple)),
)
clients = st.builds(
    ClientPlan,
    batch_size=st.sampled_from([8, 1, 2, 5, 16, 64]),
    max_concurrency=st.sampled_from([1, 2, 4, 8, None]),
    max_retries=st.sampled_from([3, 0, 1, 5]),
    max_retry_wait=st.sampled_from([60.0, 0.0, 3.0]),
    max_tokens=_some(_some(st.integers(1, 1_500))),
)


@st.composite
def calls(draw: st.DrawFn) -> CallPlan:
    texts = draw(st.integers(1, 40))
    places = st.frozensets(st.integers(0, texts - 1), max_size=8)
    return CallPlan(
        texts,
        filtered=draw(st.one_of(st.just(frozenset()), places)),
        long=draw(st.one_of(st.just(frozenset()), places)),
        period=draw(st.sampled_from([0, 0, 3])),
        starts=draw(st.sampled_from([0.0, 0.0, 0.05, 0.7])),
        cancelled_after=draw(_some(st.sampled_from([0.0, 0.005, 0.1, 0.33, 2.0]))),
        stumbles=draw(_some(st.integers(0, 4))),
        interrupts=draw(st.booleans()),
    )


@st.composite
def streams(draw: st.DrawFn) -> StreamPlan:
    texts = draw(st.integers(0, 40))
    place = st.integers(0, max(texts - 1, 0))
    places = st.one_of(*[st.just(frozenset())] * 2, st.frozensets(place, max_size=6))
    return StreamPlan(
        texts,
        filtered=draw(places),
        long=draw(places),
        missing=draw(places),
        other=draw(_some(place)),
        period=draw(st.sampled_from([0, 0, 3, 11])),
        source=draw(st.sampled_from(["list", "iterator", "async"])),
        fails_at=draw(_some(place)),
        source_waits=draw(st.sampled_from([0.0, 0.0, 0.0371, 1.13, 31.7])),
        window=draw(st.one_of(st.none(), st.integers(1, 20))),
        batches_of=draw(_some(st.integers(1, 9))),
        on_invalid=draw(st.sampled_from(["raise", "none", "none"])),
        consumer_waits=draw(st.sampled_from([0.0, 0.0, 0.0233, 0.71])),
        stops_after=draw(_some(st.integers(0, 12))),
        leaves=draw(st.sampled_from(["close", "drop", "keep", "raise"])),
        starts=draw(st.sampled_from([0.0, 0.0, 0.05, 0.7])),
        cancelled_after=draw(_some(st.sampled_from([0.0, 0.005, 0.1, 0.33, 2.0]))),
        stumbles=draw(_some(st.integers(0, 6))),
        interrupts=draw(st.booleans()),
    )


loops = st.builds(
    LoopPlan,
    calls=st.lists(calls(), min_size=1, max_size=3).map(tuple),
    closings=st.lists(
        st.tuples(st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from(["close", "aclose"])),
        max_size=2,
    ).map(tuple),
    interrupted_after=_some(st.sampled_from([0.005, 0.1, 0.27, 3.0])),
    aclosed=st.booleans(),
    streams=st.one_of(st.just(()), st.lists(streams(), min_size=1, max_size=2).map(tuple)),
)
runs = st.builds(
    RunPlan,
    server=servers,
    client=clients,
    loops=st.lists(loops, min_size=1, max_size=2).map(tuple),
)


@settings(max_examples=_SIMULATED_RUNS)
@example(  # whoever closes the client is cancelled: all connections are closed nevertheless
    plan=RunPlan(
        server=ServerPlan(latency=0.0173),
        client=ClientPlan(batch_size=1, max_concurrency=4),
        loops=(
            LoopPlan(
                calls=(CallPlan(texts=1), CallPlan(texts=1, starts=0.05), CallPlan(texts=2)),
                closings=((0.05, "aclose"),),
                aclosed=False,
            ),
        ),
    )
)
@given(plan=runs)
def test_every_law_holds_after_any_run(plan: RunPlan) -> None:
    threads = set(threading.enumerate())
    run = Run(plan)
    run.go()
    for law in (*STREAM_LAWS, *LAWS):
        law(run)
    assert set(threading.enumerate()) <= threads


_PASSING = (Fate.SERVED, Fate.SERVED, Fate.SERVED, Fate.CLOSE_AFTER)
_BREAKING = (Fate.DIE_BEFORE, Fate.DIE_IN_HEAD, Fate.DIE_IN_BODY, Fate.S500, Fate.S503, Fate.S409)


@st.composite
def threaded_streams(draw: st.DrawFn) -> StreamPlan:
    texts = draw(st.integers(0, 20))
    places = st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, 19), max_size=3))
    return StreamPlan(
        texts,
        filtered=draw(places),
        missing=draw(places),
        period=draw(st.sampled_from([0, 0, 5])),
        source=draw(st.sampled_from(["list", "iterator", "async"])),
        fails_at=draw(_some(st.integers(0, 19))),
        source_waits=draw(st.sampled_from([0.0, 0.003])),
        window=draw(st.one_of(st.none(), st.integers(1, 10))),
        batches_of=draw(_some(st.integers(1, 5))),
        on_invalid=draw(st.sampled_from(["raise", "none"])),
        consumer_waits=draw(st.sampled_from([0.0, 0.003])),
        stops_after=draw(_some(st.integers(0, 8))),
        leaves=draw(st.sampled_from(["close", "drop", "keep", "raise"])),
        cancelled_after=draw(_some(st.sampled_from([0.005, 0.03]))),
        stumbles=draw(_some(st.integers(0, 4))),
        interrupts=draw(st.booleans()),
    )


actors = st.builds(
    Actor,
    kind=st.sampled_from(
        ["thread", "loop", "on a loop", "joined by a loop", "streams", "streams", "close"]
    ),
    streams=st.lists(threaded_streams(), min_size=1, max_size=3).map(tuple),
    calls=st.lists(
        st.builds(
            CallPlan,
            texts=st.integers(1, 20),
            filtered=st.one_of(st.just(frozenset()), st.frozensets(st.integers(0, 19), max_size=3)),
            cancelled_after=_some(st.sampled_from([0.005, 0.03])),
            stumbles=_some(st.integers(0, 4)),
            interrupts=st.booleans(),
        ),
        min_size=2,
        max_size=3,
    ).map(tuple),
)
threaded = st.builds(
    ThreadedPlan,
    server=st.builds(
        ServerPlan,
        max_texts=_some(st.integers(1, 8)).map(lambda most: most or float("inf")),
        size_words=st.sampled_from(sorted(SIZE_WORDS)),
        rate=_some(st.just(Rate(10.0, 5))),
        hint=st.sampled_from(["none", "seconds"]),
        latency=st.just(0.02),
        fates=st.lists(st.sampled_from([*_PASSING, *_BREAKING]), max_size=10).map(tuple),
    ),
    client=st.builds(
        ClientPlan,
        batch_size=st.sampled_from([1, 4, 16]),
        max_concurrency=st.sampled_from([1, 2, 8, None]),
        max_retries=st.just(5),
    ),
    actors=st.lists(actors, min_size=1, max_size=4).map(tuple),
)


@settings(
    max_examples=_THREADED_RUNS,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@example(
    plan=ThreadedPlan(
        ServerPlan(latency=0.02),
        ClientPlan(batch_size=1, max_concurrency=1),
        (Actor("on a loop", (CallPlan(3), CallPlan(3))),),
    )
)
@example(
    plan=ThreadedPlan(
        ServerPlan(latency=0.02),
        ClientPlan(batch_size=1, max_concurrency=1),
        (Actor("joined by a loop", (CallPlan(3), CallPlan(3))),),
    )
)
@given(plan=threaded)
def test_every_law_holds_for_threads_and_event_loops_together(plan: ThreadedPlan) -> None:
    run = ThreadedRun(plan)
    with run.going():
        for law in (*STREAM_LAWS_OF_THREADS, *LAWS_OF_THREADS):
            settle(lambda law=law: law(run))  # type: ignore[misc]
        run.server.heal()
        last = Outcome.of(CallPlan(1), "last:")
        last.result = run.client.embed(last.texts)
        assert last.vectors == [vector_of(last.texts[0])]
