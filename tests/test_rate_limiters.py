"""A rate limiter of either framework is asked once for each request."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.rate_limiters import BaseRateLimiter as LangChainLimiter
from llama_index.core.rate_limiter import BaseRateLimiter as LlamaIndexLimiter
from surfaces import OPENAI, Clock, Colour, Surface, SurfaceName, Wire

from aimlapi_embeddings.emulator import Fault


class OfLangChain(LangChainLimiter):
    def __init__(self) -> None:
        self.asked: list[Any] = []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("sync")
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("async")
        return True


class OfLlamaIndex(LlamaIndexLimiter):
    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("sync", num_tokens))

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("async", num_tokens))


def limited(name: SurfaceName, colour: Colour, wire: Wire, limiter: Any) -> Surface:
    return Surface(name, colour, wire).make(
        OPENAI, rate_limiter=limiter, batch_size=2, max_concurrency=1
    )


@pytest.mark.parametrize("surface_name", ["core", "langchain"])
def test_langchains_limiter_is_asked_once_for_each_request(
    surface_name: SurfaceName, colour: Colour, wire: Wire
) -> None:
    limiter = OfLangChain()
    surface = limited(surface_name, colour, wire, limiter)
    surface.documents(["a", "b", "c", "d", "e"])
    surface.query("q")
    assert limiter.asked == [colour] * 4
    assert len(wire.requests) == 4


@pytest.mark.parametrize("surface_name", ["core", "llama_index"])
def test_llama_indexs_limiter_is_told_the_tokens_of_each_request(
    surface_name: SurfaceName, colour: Colour, wire: Wire
) -> None:
    limiter = OfLlamaIndex()
    surface = limited(surface_name, colour, wire, limiter)
    surface.documents(["a" * 300, "b" * 300, "c" * 30])
    surface.query("q" * 3)
    assert limiter.asked == [(colour, 202), (colour, 11), (colour, 2)]
    assert len(wire.requests) == 3


def test_a_retry_is_a_request_of_its_own(
    surface_name: SurfaceName, colour: Colour, wire: Wire, clock: Clock
) -> None:
    limiter = OfLangChain() if surface_name == "langchain" else OfLlamaIndex()
    surface = limited(surface_name, colour, wire, limiter)
    wire.will(Fault(503), Fault(429, retry_after="1"))
    surface.query("q")
    assert len(limiter.asked) == len(wire.requests) == 3


def test_what_is_no_limiter_is_refused(surface_name: SurfaceName) -> None:
    with pytest.raises(ValueError, match="rate_limiter"):
        Surface(surface_name, "sync", Wire()).make(OPENAI, rate_limiter=object())
