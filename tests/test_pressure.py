"""A server that takes k requests at once gets k: nothing is lost, little refused, little idle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from surfaces import KEY, OPENAI, Colour, Surface, Wire

from aimlapi_embeddings.emulator import Emulator, Fault, Reply, Request, running

pytestmark = pytest.mark.usefixtures("unencrypted")
LATENCY = 0.05  # seconds
JOB, SAMPLE = 2.5, 1.0  # seconds, when k requests are under way all the time
SETTLED = 1.0  # second after which the bound should have been found
CONCURRENCY = 16
MOST_REFUSED = 0.10  # of requests
LEAST_THROUGHPUT = 0.80  # of what the server allows
TRIES = 3


@dataclass
class Watched(Emulator):
    """A server that notes when it refused and when it did not."""

    log: list[tuple[float, bool]] = field(default_factory=list, init=False)

    def reply(self, request: Request, fault: Fault) -> Reply:
        self.log.append((time.perf_counter(), fault.status == 429))
        return super().reply(request, fault)


@dataclass
class Run:
    """What came of a job: how many a second, and which share was refused once it had settled."""

    throughput: float
    refused: float


def run(colour: Colour, seconds: float, k: int, bound: int | None, concurrency: int) -> Run:
    """Embed as much as a server that answers k at once answers in so many seconds."""
    server = Watched(latency=LATENCY, max_in_flight=bound)
    texts = [f"text {i}" for i in range(round(k * seconds / LATENCY))]
    surface = Surface("core", colour, Wire())
    with running(server) as base_url:
        surface.make_plain(
            model=OPENAI,
            api_key=KEY,
            base_url=base_url,
            dimensions=4,
            batch_size=1,
            max_concurrency=concurrency,
        )
        start = time.perf_counter()
        vectors = surface.documents(texts)
        elapsed = time.perf_counter() - start
        surface.client.close()
    assert vectors == Surface("core", "sync", Wire()).make(OPENAI, dimensions=4).documents(texts)
    assert surface.client.usage.requests == len(server.log)
    settled = [refused for moment, refused in server.log if moment - start > SETTLED]
    return Run(len(texts) / elapsed, sum(settled) / max(1, len(settled)))


@pytest.mark.parametrize("k", [1, 3, 8])
def test_what_a_server_takes_at_once_is_found_and_used(colour: Colour, k: int) -> None:
    # What k requests at once can do depends on how busy this machine is, so it is measured too; and
    # once more when the client was too slow, since the load may have changed in between. A client
    # that does not find k is too slow each time.
    for _ in range(TRIES):
        allowed = run(colour, SAMPLE, k, bound=None, concurrency=k)
        found = run(colour, JOB, k, bound=k, concurrency=CONCURRENCY)
        reached = found.throughput / allowed.throughput
        if reached >= LEAST_THROUGHPUT:
            break
    assert reached >= LEAST_THROUGHPUT
    assert found.refused < MOST_REFUSED
