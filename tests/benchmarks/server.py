"""A server that costs as little as possible: its replies are put together from ready-made pieces.

`python -m tests.benchmarks.server '{"dimensions": 1536}'` prints its port and serves until killed.
GET /stats tells what it saw; POST /reset forgets it and changes options.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import struct
import sys
from dataclasses import dataclass, replace
from typing import Any

VECTORS = 64  # different ones; text number i gets vector i modulo this
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
_REASONS = {429: b"Too Many Requests", 500: b"Internal Server Error", 503: b"Service Unavailable"}


@dataclass(frozen=True)
class Behaviour:
    """How the server answers.

    Attributes:
        dimensions: Numbers in a vector.
        base64: Whether base64 is answered where it is asked for; numbers otherwise.
        latency: Seconds for a request.
        latency_per_text: Further seconds for each text.
        max_in_flight: Above this the answer is 429; 0: no bound.
        fault_rate: Share of requests that are answered 500 or 503, drawn with a fixed seed.
    """

    dimensions: int = 1536
    base64: bool = True
    latency: float = 0.0
    latency_per_text: float = 0.0
    max_in_flight: int = 0
    fault_rate: float = 0.0


def vector(number: int, dimensions: int) -> list[float]:
    """The vector of text number `number`: float32 values, told apart by their first."""
    draw = random.Random(number % VECTORS)
    numbers = [float(number % VECTORS), *(draw.uniform(-1, 1) for _ in range(dimensions - 1))]
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *numbers)))


def number_of(text: str) -> int:
    """Read the number that a text ends in; 0 for the texts that vector stores try a model with."""
    last = text.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def texts_for(count: int) -> list[str]:
    """Make texts whose vectors `check` knows."""
    return [f"text number {i}" for i in range(count)]


def check(rows: Any, count: int, dimensions: int) -> None:
    """Compare some rows with the vectors that the server has for their texts."""
    assert len(rows) == count, f"{len(rows)} rows for {count} texts"
    for i in range(0, count, max(1, count // 50)):
        row = rows[i].tolist() if hasattr(rows[i], "tolist") else list(rows[i])
        assert row == vector(i, dimensions), f"row {i} is not the vector of its text"


class Pieces:
    """All vectors, written out as they travel."""

    def __init__(self, dimensions: int) -> None:
        vectors = [vector(i, dimensions) for i in range(VECTORS)]
        packed = [base64.b64encode(struct.pack(f"<{dimensions}f", *each)) for each in vectors]
        self.base64 = [b'"' + each + b'"}' for each in packed]
        self.numbers = [json.dumps(each).encode() + b"}" for each in vectors]


class State:
    """What all connections share."""

    def __init__(self) -> None:
        self.pieces: dict[int, Pieces] = {}
        self.reset(Behaviour())

    def reset(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.draw = random.Random(7)
        self.stats = {"requests": 0, "refused": 0, "faults": 0, "in_flight": 0, "peak": 0}
        if behaviour.dimensions not in self.pieces:
            self.pieces[behaviour.dimensions] = Pieces(behaviour.dimensions)


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, state: State) -> None:
        self.state, self.buffer = state, bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self.buffer, 0, end)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < stop:
                return
            head, body = bytes(self.buffer[:end]), bytes(self.buffer[end + 4 : stop])
            del self.buffer[:stop]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        state = self.state
        if head.startswith(b"GET /stats"):
            return self.reply(200, json.dumps(state.stats).encode())
        if head.startswith(b"POST /reset"):
            state.reset(replace(Behaviour(), **json.loads(body)))
            return self.reply(200, b"{}")
        how, stats = state.behaviour, state.stats
        stats["requests"] += 1
        if how.max_in_flight and stats["in_flight"] >= how.max_in_flight:
            stats["refused"] += 1
            return self.reply(429, b'{"message": "Too Many Requests"}')
        if state.draw.random() < how.fault_rate:
            stats["faults"] += 1
            return self.reply(state.draw.choice((500, 503)), b'{"message": "injected"}')
        asked = json.loads(body)
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        stats["in_flight"] += 1
        stats["peak"] = max(stats["peak"], stats["in_flight"])
        seconds = how.latency + how.latency_per_text * len(texts)
        finish = (asked.get("encoding_format") == "base64" and how.base64, texts)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self.finish, *finish)
        else:
            self.finish(*finish)

    def finish(self, in_base64: bool, texts: list[str]) -> None:
        self.state.stats["in_flight"] -= 1
        pieces = self.state.pieces[self.state.behaviour.dimensions]
        written = pieces.base64 if in_base64 else pieces.numbers
        data = b",".join(
            b'{"object":"embedding","index":%d,"embedding":' % i
            + written[number_of(text) % VECTORS]
            for i, text in enumerate(texts)
        )
        usage = b'{"prompt_tokens":%d,"total_tokens":%d}' % (len(texts), len(texts))
        self.reply(
            200, b'{"object":"list","data":[' + data + b'],"model":"m","usage":' + usage + b"}"
        )

    def reply(self, status: int, body: bytes) -> None:
        reason = _REASONS.get(status, b"OK")
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, reason, len(body)) + body)


async def serve(behaviour: Behaviour) -> None:
    """Serve on a free port of the loopback, and print the port."""
    state = State()
    state.reset(behaviour)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(state), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Behaviour(**json.loads(sys.argv[1] if sys.argv[1:] else "{}"))))
