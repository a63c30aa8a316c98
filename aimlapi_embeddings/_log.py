"""The loggers of this package: `aimlapi_embeddings`, with a child for each part of it.

Records hold numbers, model ids and request ids; never a text, a vector, a title or a key. A record
that is not wanted is not made: callers ask `isEnabledFor` first where making it takes time.
"""

from __future__ import annotations

import logging
import threading

ROOT = logging.getLogger("aimlapi_embeddings")
ROOT.addHandler(logging.NullHandler())  # so that nothing is printed unless the user asks for it

ENGINE = logging.getLogger("aimlapi_embeddings.engine")
"""Requests: each one, waits, the bound on requests in flight, learned limits."""
CATALOG = logging.getLogger("aimlapi_embeddings.catalog")
"""Models: unknown and retired ones, texts that a provider may have cut."""
CACHE = logging.getLogger("aimlapi_embeddings.cache")
"""Files of vectors: rows that were damaged, writes that failed."""
TELEMETRY = logging.getLogger("aimlapi_embeddings.telemetry")
"""OpenTelemetry: what it could not be told."""


class Once:
    """Messages that a client gives only once, whichever thread is first."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def first(self, what: str) -> bool:
        """Return True for the first caller with this message, and False for all later ones."""
        if what in self._said:
            return False
        with self._lock:
            first = what not in self._said
            self._said.add(what)
        return first
