"""The user's rate limiter: what it is asked, and what one is refused."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from aimlapi_embeddings import ConfigurationError
from aimlapi_embeddings._engine.limiter import Limiter
from tests.support.entry_points import Mode


class Requests:
    """In the shape of LangChain's limiters: it counts requests."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("sync")
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("async")
        return True


class Tokens:
    """In the shape of LlamaIndex's limiters: it counts tokens."""

    tokens_per_minute: Any = 1000

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("sync", num_tokens))

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked.append(("async", num_tokens))


def ask(limiter: Limiter, mode: Mode, tokens: int) -> None:
    if mode == "sync":
        limiter.acquire(tokens)
    else:
        asyncio.run(limiter.acquire_async(tokens))


def test_a_limiter_of_requests_is_not_given_tokens(mode: Mode) -> None:
    given = Requests()
    ask(Limiter(given), mode, 7)
    assert given.asked == [mode]
    assert Limiter(given).max_tokens == math.inf


def test_a_limiter_of_tokens_is_given_the_tokens(mode: Mode) -> None:
    given = Tokens()
    ask(Limiter(given), mode, 7)
    assert given.asked == [(mode, 7)]


@pytest.mark.parametrize(("figure", "most"), [(1000, 1000), (2.5, 2.5), (None, math.inf)])
def test_a_limiter_of_tokens_has_a_number_of_tokens_per_minute(figure: Any, most: float) -> None:
    given = Tokens()
    given.tokens_per_minute = figure
    assert Limiter(given).max_tokens == most


@pytest.mark.parametrize("figure", ["1000", True, math.nan, object()])
def test_a_limiter_of_tokens_without_a_readable_figure_is_refused_by_name(figure: Any) -> None:
    given = Tokens()
    given.tokens_per_minute = figure
    with pytest.raises(ConfigurationError, match=r"rate_limiter=Tokens .*tokens_per_minute"):
        Limiter(given)


def test_a_limiter_of_tokens_without_any_figure_is_refused_by_name() -> None:
    class Silent:
        def acquire(self, num_tokens: int) -> None: ...
        async def async_acquire(self, num_tokens: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"rate_limiter=Silent .*tokens_per_minute"):
        Limiter(Silent())


def test_an_object_without_both_methods_is_refused_by_name() -> None:
    class Half:
        def acquire(self) -> None: ...

    for given in (Half(), object(), type("Other", (), {"aacquire": None, "acquire": 3})()):
        with pytest.raises(ConfigurationError, match=f"rate_limiter={type(given).__name__} has no"):
            Limiter(given)


def test_the_users_object_is_kept_as_it_was_given() -> None:
    given = Requests()
    assert Limiter(given).given is given


class Coroutines:
    """For tasks alone."""

    async def acquire(self) -> bool:
        return True

    aacquire = acquire


class AtOnce(Requests):
    """A limiter whose method for tasks is a plain one."""

    def aacquire(self, *, blocking: bool = True) -> bool:  # type: ignore[override]
        return self.acquire()


@pytest.mark.parametrize(("limiter", "said"), [(Coroutines(), "Coroutines.*coroutine"),
                                               (Requests, "is the class Requests")])  # fmt: skip
def test_a_limiter_that_threads_cannot_ask_is_refused_by_name(limiter: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Limiter(limiter)


def test_a_limiter_for_tasks_that_waits_by_itself_is_asked() -> None:
    limiter = AtOnce()
    asyncio.run(Limiter(limiter).acquire_async(5))
    assert limiter.asked == ["sync"]
