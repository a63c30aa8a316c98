"""How is a rate limiter of either framework asked?"""

from __future__ import annotations

import inspect
from typing import Any

from aimlapi_embeddings._errors import ConfigurationError


class Limiter:
    """Asks a limiter for one request, and for its tokens where it takes them.

    LangChain's `BaseRateLimiter` has `acquire()` and `aacquire()`; LlamaIndex's has
    `acquire(num_tokens)` and `async_acquire(num_tokens)`.
    """

    def __init__(self, limiter: Any) -> None:
        self._acquire: Any = getattr(limiter, "acquire", None)
        self._acquire_async: Any = getattr(
            limiter, "aacquire", getattr(limiter, "async_acquire", None)
        )
        if not callable(self._acquire) or not callable(self._acquire_async):
            raise ConfigurationError(
                f"rate_limiter={type(limiter).__name__} has no acquire() with an aacquire() or "
                "async_acquire() beside it, as the limiters of LangChain and LlamaIndex have."
            )
        self._takes_tokens = "num_tokens" in inspect.signature(self._acquire).parameters

    def acquire(self, tokens: int) -> None:
        """Wait in this thread until one more request may be sent."""
        self._acquire(**self._arguments(tokens))

    async def acquire_async(self, tokens: int) -> None:
        """Wait in this task until one more request may be sent."""
        await self._acquire_async(**self._arguments(tokens))

    def _arguments(self, tokens: int) -> dict[str, int]:
        return {"num_tokens": tokens} if self._takes_tokens else {}
