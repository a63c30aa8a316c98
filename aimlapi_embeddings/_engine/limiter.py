"""The user's rate limiter: how it is asked, and how many tokens it can ever grant at once."""

from __future__ import annotations

import inspect
import math
from typing import Any

from aimlapi_embeddings._errors import ConfigurationError


class Limiter:
    """Asks a limiter of LangChain or LlamaIndex for one request at a time.

    LangChain's `BaseRateLimiter` has `acquire()` and `aacquire()`; LlamaIndex's has
    `acquire(num_tokens)` and `async_acquire(num_tokens)`, and waits for ever for more tokens than
    its `tokens_per_minute`.

    Attributes:
        max_tokens: Most tokens that one request may ask for.
    """

    def __init__(self, limiter: Any) -> None:
        self.given = limiter
        self._acquire: Any = getattr(limiter, "acquire", None)
        self._acquire_async: Any = getattr(
            limiter, "aacquire", getattr(limiter, "async_acquire", None)
        )
        name = type(limiter).__name__
        if isinstance(limiter, type):
            raise ConfigurationError(
                f"rate_limiter is the class {limiter.__name__}; pass an object."
            )
        if not callable(self._acquire) or not callable(self._acquire_async):
            raise ConfigurationError(
                f"rate_limiter={name} has no acquire() with an aacquire() or async_acquire() "
                "beside it, as the limiters of LangChain and LlamaIndex have."
            )
        if inspect.iscoroutinefunction(self._acquire):
            raise ConfigurationError(
                f"rate_limiter={name} has an acquire() that is a coroutine, so threads cannot wait "
                "for it; give it an acquire() for threads, and an aacquire() for tasks."
            )
        self._takes_tokens = "num_tokens" in inspect.signature(self._acquire).parameters
        most = getattr(limiter, "tokens_per_minute", math.nan) if self._takes_tokens else None
        if isinstance(most, bool) or not isinstance(most, int | float | None) or most != most:
            raise ConfigurationError(
                f"rate_limiter={name} takes num_tokens, but does not tell how many it can grant: a "
                "request above that figure would wait for ever. Give it an attribute "
                "tokens_per_minute, with a number, or None where it counts requests alone."
            )
        self.max_tokens = math.inf if most is None else most

    def acquire(self, tokens: int) -> None:
        """Wait in this thread until one more request may be sent."""
        self._acquire(**self._arguments(tokens))

    async def acquire_async(self, tokens: int) -> None:
        """Wait in this task until one more request may be sent."""
        granted = self._acquire_async(**self._arguments(tokens))
        if inspect.isawaitable(granted):  # else it has waited already
            await granted

    def _arguments(self, tokens: int) -> dict[str, int]:
        return {"num_tokens": tokens} if self._takes_tokens else {}
