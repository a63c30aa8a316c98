"""Rate limiters of both frameworks are asked once for each request."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.rate_limiters import BaseRateLimiter as LangChainLimiter
from llama_index.core.rate_limiter import BaseRateLimiter as LlamaIndexLimiter

from aimlapi_embeddings.emulator import Fault
from tests.support.entry_points import OPENAI, Clock, EntryPoint, FakeServer, Mode, Package


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
    tokens_per_minute = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("sync", num_tokens))

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("async", num_tokens))


def limited(name: Package, mode: Mode, fake_server: FakeServer, limiter: Any) -> EntryPoint:
    return EntryPoint(name, mode, fake_server).make(
        OPENAI, rate_limiter=limiter, batch_size=2, max_concurrency=1
    )


@pytest.mark.parametrize("package", ["core", "langchain"])
def test_langchains_limiter_is_asked_once_for_each_request(
    package: Package, mode: Mode, fake_server: FakeServer
) -> None:
    limiter = OfLangChain()
    entry_point = limited(package, mode, fake_server, limiter)
    entry_point.documents(["a", "b", "c", "d", "e"])
    entry_point.query("q")
    assert limiter.asked == [mode] * 4
    assert len(fake_server.requests) == 4


@pytest.mark.parametrize("package", ["core", "llama_index"])
def test_llama_indexs_limiter_is_told_the_tokens_of_each_request(
    package: Package, mode: Mode, fake_server: FakeServer
) -> None:
    limiter = OfLlamaIndex()
    entry_point = limited(package, mode, fake_server, limiter)
    entry_point.documents(["a" * 300, "b" * 300, "c" * 30])
    entry_point.query("q" * 3)
    assert limiter.asked == [(mode, 202), (mode, 11), (mode, 2)]
    assert len(fake_server.requests) == 3


def test_a_retry_asks_the_limiter_again(
    package: Package, mode: Mode, fake_server: FakeServer, clock: Clock
) -> None:
    limiter = OfLangChain() if package == "langchain" else OfLlamaIndex()
    entry_point = limited(package, mode, fake_server, limiter)
    fake_server.will(Fault(503), Fault(429, retry_after="1"))
    entry_point.query("q")
    assert len(limiter.asked) == len(fake_server.requests) == 3


def test_an_object_without_the_methods_of_a_limiter_is_refused(package: Package) -> None:
    with pytest.raises(ValueError, match="rate_limiter"):
        EntryPoint(package, "sync", FakeServer()).make(OPENAI, rate_limiter=object())
