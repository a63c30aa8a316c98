"""A server with drawn limits and faults: what it answers to each request, and what it saw.

`ServerPlan` is drawn; `Server` judges requests by it and records them. It is used below the
simulated event loop (`SimulatedNetwork`) and behind a real socket (`judge_of`).
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import StrEnum
from typing import Any, NamedTuple

from aimlapi_embeddings.emulator import Fault, Request
from tests.support.simulated_time import EPOCH

FILTERED = "@filter"
LONG = "long " * 60
QUICK = 0.01  # seconds that a refusal takes


class Fate(StrEnum):
    """What happens to one request, whatever it holds."""

    SERVED = "served"
    HANG = "no reply"
    DRIP = "a reply in pieces that takes too long as a whole"
    PIECES = "a reply in pieces that comes in time"
    DIE_BEFORE = "the connection dies as the request arrives"
    DIE_IN_HEAD = "the connection dies in the reply's headers"
    DIE_IN_BODY = "the connection dies in the reply's body"
    CLOSE_AFTER = "the connection is closed after the reply, unannounced"
    SHORT = "a good reply without its last vector"
    S408 = "408"
    S409 = "409"
    S425 = "425"
    S500 = "500"
    S502 = "502"
    S503 = "503"
    S529 = "529"
    S401 = "401"
    S402 = "402"
    S403 = "403"
    S404 = "404"
    S418 = "418"
    S501 = "501"


class Connecting(StrEnum):
    """What happens to one connection that is opened."""

    OPEN = "open"
    REFUSED = "refused"
    HANG = "no answer"


# Statuses that end a call, whatever is repeated.
FINAL = frozenset((Fate.S401, Fate.S402, Fate.S403, Fate.S404, Fate.S418, Fate.S501))
BAD_REPLIES = frozenset((Fate.SHORT,))
# What the client may meet and repeat.
TRANSIENT = frozenset(
    (
        Fate.HANG,
        Fate.DRIP,
        Fate.DIE_BEFORE,
        Fate.DIE_IN_HEAD,
        Fate.DIE_IN_BODY,
        Fate.S408,
        Fate.S409,
        Fate.S425,
        Fate.S500,
        Fate.S502,
        Fate.S503,
        Fate.S529,
    )
)

_UNWELL = FINAL | BAD_REPLIES | TRANSIENT

# How a request is refused for its size: status and message.
SIZE_WORDS: dict[str, tuple[int, str]] = {
    "told": (400, "the input array must hold at most {limit} items"),
    "tokens": (400, "input has {size} tokens, the maximum is {limit} tokens"),
    "untold": (400, "invalid request"),
    "silent": (422, ""),
    "foreign": (400, "input数组最大不得超过{limit}条"),
    "payload": (413, "Payload Too Large"),
    "server": (500, "input ({size} tokens) is too large to process"),
    "budget": (429, "Request too large for this model: Limit {limit}, Requested {size}"),
}
# Those that say that it is about size.
READABLE = frozenset(("told", "tokens", "payload", "server", "budget"))


def _hints(wait: float, now: float) -> dict[str, tuple[dict[str, str], str]]:
    """List how a 429 may tell when to come again: headers and message."""
    wall = EPOCH + now
    whole = str(max(math.ceil(wait), 1))
    return {
        "none": ({}, "slow down"),
        "seconds": ({"retry-after": whole}, "slow down"),
        "milliseconds": ({"retry-after-ms": str(max(math.ceil(wait * 1000), 1))}, "slow down"),
        "date": (
            {
                "date": formatdate(wall, usegmt=True),
                "retry-after": formatdate(wall + max(math.ceil(wait), 1), usegmt=True),
            },
            "slow down",
        ),
        "words": ({}, f"rate limit reached; try again in {whole}s"),
        "reset": (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": f"{whole}s"},
            "slow down",
        ),
        "zero": ({"retry-after": "0"}, "slow down"),
        "past": ({"retry-after": formatdate(wall - 60, usegmt=True)}, "slow down"),
    }


HINTS = tuple(_hints(0, 0))
# Those that name a moment before which nothing more is to be sent.
TELLING_HINTS = ("seconds", "milliseconds", "date", "words", "reset")


class Rate(NamedTuple):
    """A token bucket: requests a second, and how many at once when it is full."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class ServerPlan:
    """How a server behaves.

    Attributes:
        max_texts: Most texts in a request.
        max_tokens: Most tokens in a request, and so in a text.
        size_words: How it refuses for size; see `SIZE_WORDS`.
        one_reason: Whether all filtered texts are refused in the same words.
        fails: Whether it fails at filtered texts, with a 500, instead of refusing them.
        rate: Its rate limit.
        max_in_flight: Most requests at once.
        hint: What its 429 tells; see `HINTS`.
        latency: Seconds for each request.
        per_text: Seconds for each text.
        fates: Of the first requests; all later ones are served.
        connecting: Of the first connections; all later ones are opened.
    """

    max_texts: float = math.inf
    max_tokens: float = math.inf
    size_words: str = "told"
    one_reason: bool = True
    fails: bool = False
    rate: Rate | None = None
    max_in_flight: int | None = None
    hint: str = "none"
    latency: float = 0.1
    per_text: float = 0.0
    fates: tuple[Fate, ...] = ()
    connecting: tuple[Connecting, ...] = ()


def tokens_of(text: str) -> int:
    """Count tokens as this server does; the client's estimate is another."""
    return len(text) // 5 + 1


def vector_of(text: str) -> list[float]:
    """Return the one vector that belongs to a text; float32 holds each number exactly."""
    digest = zlib.crc32(text.encode())
    return [float((digest >> shift & 0xFF) + 1) for shift in (0, 8, 16, 24)]


class Answer(NamedTuple):
    """What is sent back, and when."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


@dataclass
class Seen:
    """One request, as the server saw it.

    Attributes:
        began: When the first byte of its body came.
        fate: What happens to it.
        texts: What it asked for; empty until it is read.
        answer: What it is answered with.
        ended: When its reply was sent as a whole, or its connection was gone.
        whole: Whether the reply was sent as a whole.
    """

    began: float
    fate: Fate = Fate.SERVED
    texts: tuple[str, ...] = ()
    answer: Answer | None = None
    ended: float | None = None
    whole: bool = False

    @property
    def status(self) -> int:
        """Of the answer; 0 when there is none."""
        return self.answer.status if self.answer else 0

    @property
    def tokens(self) -> int:
        """Counted for the bill."""
        return sum(map(tokens_of, self.texts))

    @property
    def tells_cost(self) -> bool:
        """Whether its reply came as a whole and tells what it cost, whatever its vectors are."""
        return self.whole and self.status == 200

    @property
    def is_good(self) -> bool:
        """Whether it was answered with vectors that can be trusted, as a whole."""
        return self.tells_cost and self.fate is not Fate.SHORT


class Server:
    """Judges requests by a plan, and records them. Thread-safe."""

    def __init__(self, plan: ServerPlan, now: Callable[[], float]) -> None:
        self.plan = plan
        self.now = now
        self.seen: list[Seen] = []
        self.connection_failures = 0
        self.peak_in_flight = 0
        self.opens_at: list[tuple[float, float]] = []  # (when it was said, until when)
        self._fates = iter(plan.fates)
        self._connecting = iter(plan.connecting)
        self._level = float(plan.rate.burst) if plan.rate else 0.0
        self._filled_at = now()
        self._lock = threading.Lock()

    def heal(self) -> None:
        """Leave only the limits of size from now on."""
        plan = self.plan
        self.plan = ServerPlan(
            max_texts=plan.max_texts, max_tokens=plan.max_tokens, size_words=plan.size_words
        )
        self._fates, self._connecting = iter(()), iter(())

    def next_connecting(self) -> Connecting:
        """Tell what happens to a connection that is being opened."""
        return next(self._connecting, Connecting.OPEN)

    def begin(self) -> Seen:
        """Note that a request begins."""
        with self._lock:
            seen = Seen(self.now(), next(self._fates, Fate.SERVED))
            self.seen.append(seen)
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            return seen

    @property
    def in_flight(self) -> int:
        """Requests whose reply is not complete."""
        return sum(each.ended is None for each in self.seen)

    def end(self, seen: Seen, *, whole: bool) -> None:
        """Note that a reply was sent, or that its connection is gone."""
        if seen.ended is None:
            seen.ended, seen.whole = self.now(), whole

    def takes(self, text: str) -> bool:
        """Tell whether a text is accepted when it comes alone."""
        return not self.is_too_large([text]) and FILTERED not in text

    def is_too_large(self, texts: Sequence[str]) -> bool:
        """Tell whether texts are too large for one request."""
        plan = self.plan
        return len(texts) > plan.max_texts or sum(map(tokens_of, texts)) > plan.max_tokens

    def judge(self, seen: Seen, texts: Sequence[str]) -> Answer:
        """Decide about a request that was read."""
        with self._lock:
            plan, fate = self.plan, seen.fate
            seen.texts = tuple(texts)
            if plan.fails and fate not in _UNWELL and any(FILTERED in text for text in texts):
                seen.fate = fate = Fate.S500
            if fate in FINAL or (fate in TRANSIENT and fate.value.isdigit()):
                seen.answer = _refusal(int(fate.value), "the server says no")
            elif limited := self._limited():
                seen.answer = limited
            elif refused := self._refused(texts):
                seen.answer = refused
            else:
                seconds = plan.latency + plan.per_text * len(texts)
                seen.answer = Answer(200, {}, _vectors(texts, fate), seconds)
            return seen.answer

    def _limited(self) -> Answer | None:
        plan, now = self.plan, self.now()
        wait = None
        if plan.max_in_flight is not None and self.in_flight > plan.max_in_flight:
            wait = 1.0
        elif plan.rate is not None:
            grown = (now - self._filled_at) * plan.rate.per_second
            self._level = min(self._level + grown, plan.rate.burst)
            self._filled_at = now
            if self._level < 1.0:
                wait = (1.0 - self._level) / plan.rate.per_second
            else:
                self._level -= 1.0
        if wait is None:
            return None
        headers, message = _hints(wait, now)[plan.hint]
        if plan.hint in TELLING_HINTS:
            seconds = wait if plan.hint == "milliseconds" else max(math.ceil(wait), 1)
            self.opens_at.append((now, now + seconds))
        return _refusal(429, message, headers)

    def _refused(self, texts: Sequence[str]) -> Answer | None:
        plan = self.plan
        if self.is_too_large(texts):
            status, message = SIZE_WORDS[plan.size_words]
            size, limit = (
                (len(texts), plan.max_texts)
                if len(texts) > plan.max_texts
                else (sum(map(tokens_of, texts)), plan.max_tokens)
            )
            return _refusal(status, message.format(size=size, limit=limit))
        if bad := [text for text in texts if FILTERED in text]:
            words = "content filter" if plan.one_reason else f"content filter {_word(bad[0])}"
            return _refusal(400, words)
        return None


def _word(text: str) -> str:
    """Make words that differ from text to text in more than a number."""
    return "".join(chr(97 + byte % 26) for byte in zlib.crc32(text.encode()).to_bytes(4, "big"))


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"message": message}).encode() if message else b""
    return Answer(status, headers or {}, body, QUICK)


def _vectors(texts: Sequence[str], fate: Fate) -> bytes:
    tokens = sum(map(tokens_of, texts))
    data: list[dict[str, Any]] = [
        {"index": i, "embedding": vector_of(text)} for i, text in enumerate(texts)
    ]
    if fate is Fate.SHORT:
        data.pop()
    meta = {"usage": {"credits_used": 10 * tokens, "usd_spent": tokens / 1024}}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"data": data, "usage": usage, "meta": meta}).encode()


def texts_in(body: bytes) -> list[str]:
    """Read the texts of a request."""
    value = json.loads(body)["input"]
    return [value] if isinstance(value, str) else value


def judge_of(server: Server) -> Callable[[Request], Fault]:
    """Make the emulator answer as a server does, in real time."""

    def judge(request: Request) -> Fault:
        seen = server.begin()
        answer = server.judge(seen, texts_in(request.body))
        fate = seen.fate
        whole = fate in (Fate.SERVED, Fate.CLOSE_AFTER, Fate.SHORT) or answer.status != 200
        server.end(seen, whole=whole)
        return Fault(
            status=None if answer.status == 200 else answer.status,
            headers=answer.headers,
            body=answer.body,
            delay=answer.seconds,
            hang=fate is Fate.HANG,
            drop=_DROPS.get(fate),  # type: ignore[arg-type]
            close=fate is Fate.CLOSE_AFTER,
        )

    return judge


_DROPS = {
    Fate.DIE_BEFORE: "before_headers",
    Fate.DIE_IN_HEAD: "in_headers",
    Fate.DIE_IN_BODY: "in_body",
}


@dataclass
class SimulatedNetwork:
    """Connects a simulated loop to a server.

    Attributes:
        server: It answers.
        timeout: Of the client, in seconds; slow replies are measured by it.
        peers: All connections so far that were opened.
    """

    server: Server
    timeout: float
    peers: list[_Peer] = field(default_factory=list)

    async def connect(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """Open a connection, unless the server has other plans."""
        what = self.server.next_connecting()
        if what is not Connecting.OPEN:
            self.server.connection_failures += 1
        if what is Connecting.HANG:
            await loop.create_future()
        if what is Connecting.REFUSED:
            raise ConnectionRefusedError("connection refused")
        ours, theirs = socket.socketpair()
        self.peers.append(_Peer(theirs, loop, self))
        ours.setblocking(False)
        return ours

    def look(self) -> None:
        """Note connections that the client has closed."""
        for peer in self.peers:
            peer.look()

    def open_connections(self) -> int:
        """Count connections that the client holds open."""
        self.look()
        return sum(not peer.gone for peer in self.peers)

    def close(self) -> None:
        """Free what is left."""
        for peer in self.peers:
            peer.end.close()


class _Peer:
    """The server's end of one connection."""

    def __init__(
        self, end: socket.socket, loop: asyncio.AbstractEventLoop, network: SimulatedNetwork
    ) -> None:
        self.end = end
        self.gone = False  # the client has closed its end
        self._loop = loop
        self._network = network
        self._server = network.server
        self._received = b""
        self._seen: Seen | None = None
        end.setblocking(False)
        loop.add_reader(end, self._read)

    def look(self) -> None:
        """Note whether the client has closed its end."""
        if self.gone or self.end.fileno() < 0:
            return
        with suppress(BlockingIOError):
            try:
                self.gone = not self.end.recv(1, socket.MSG_PEEK)
            except ConnectionError:
                self.gone = True
            if self.gone:
                self._close()

    def _close(self) -> None:
        """Close this end; the client's is either closed, or it will find out."""
        if self._seen is not None:
            self._server.end(self._seen, whole=False)
        if self.end.fileno() >= 0:
            self._loop.remove_reader(self.end)
            self.end.close()
        self.gone = True

    def _read(self) -> None:
        self.look()
        if self.gone:
            return
        self._received += self.end.recv(1 << 20)
        head, _, body = self._received.partition(b"\r\n\r\n")
        if not body:  # headers alone are no request
            return
        if self._seen is None:
            self._network.look()  # requests that the client has given up are not in flight
            self._seen = self._server.begin()
            if self._seen.fate is Fate.DIE_BEFORE:
                self._close()
                return
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        if len(body) >= length:
            self._received = body[length:]
            answer = self._server.judge(self._seen, texts_in(body[:length]))
            if self._seen.fate is not Fate.HANG:
                self._loop.call_later(answer.seconds, self._reply, self._seen, answer)

    def _reply(self, seen: Seen, answer: Answer) -> None:
        headers = {"content-length": str(len(answer.body)), **answer.headers}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        head = f"HTTP/1.1 {answer.status} X\r\n{''.join(lines)}\r\n".encode()
        fate, timeout = seen.fate, self._network.timeout
        if fate is Fate.DIE_IN_HEAD:
            self._send(head[: len(head) // 2])
            self._close()
        elif fate is Fate.DIE_IN_BODY:
            self._send(head + answer.body[: len(answer.body) // 2])
            self._close()
        elif fate is Fate.PIECES:
            self._send_pieces(seen, head, answer.body, 3, 0.4 * timeout)
        elif fate is Fate.DRIP:
            self._send_pieces(seen, head, answer.body, 8, 0.8 * timeout)
        else:
            self._send_last(seen, head + answer.body)

    def _send_pieces(
        self, seen: Seen, head: bytes, body: bytes, pieces: int, seconds: float
    ) -> None:
        size = math.ceil(len(body) / pieces) or 1
        self._send(head + body[:size])
        rest = [body[i : i + size] for i in range(size, len(body), size)]
        for i, piece in enumerate(rest, 1):
            send = self._send if i < len(rest) else lambda last: self._send_last(seen, last)
            self._loop.call_later(i * seconds, send, piece)
        if not rest:
            self._send_last(seen, b"")

    def _send(self, data: bytes) -> None:
        self.look()
        if not self.gone and data:
            self.end.sendall(data)

    def _send_last(self, seen: Seen, data: bytes) -> None:
        self._send(data)
        if self.gone:
            return
        self._server.end(seen, whole=True)
        self._seen = None
        if seen.fate is Fate.CLOSE_AFTER:
            # Only this direction: a request that is sent in the same moment still arrives here.
            self.end.shutdown(socket.SHUT_WR)
