"""What replies taught about the size of requests; shared by all calls of a client."""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

from aimlapi_embeddings._engine.planning import Batch

# Requests of the learned size that succeed before twice the size is tried. A refused trial doubles
# it, so that a server's real limit costs one refusal in 64 requests in the long run.
_FIRST_PATIENCE = 8
_MOST_PATIENCE = 64


class Fit(NamedTuple):
    """A batch cut to the learned size.

    Attributes:
        batch: The first of its texts, to be sent now.
        trial: Whether the batch is twice as large as what is known to be accepted.
    """

    batch: Batch
    trial: bool = False


class LearnedLimits:
    """The largest request that the server accepts, as far as refusals told.

    Attributes:
        encoding_format: What to ask for; None once the server has refused the field.
        max_texts: Most texts in a request.
        max_tokens: Most estimated tokens in a request.
    """

    def __init__(self, encoding_format: str | None) -> None:
        self.encoding_format = encoding_format
        self.max_texts: float = math.inf
        self.max_tokens: float = math.inf
        self._successes = 0
        self._patience = _FIRST_PATIENCE
        self._trying = False
        self._lock = threading.Lock()

    def fit(self, batch: Batch, *, begin: bool) -> Fit:
        """Cut a batch to the learned size, or to twice that when it is time for a trial.

        Args:
            batch: To be cut.
            begin: Whether it is sent now, so that a trial begins. One is in flight at a time;
                `end_trial` says that it has ended.
        """
        if len(batch) <= self.max_texts and (
            self.max_tokens == math.inf or sum(batch.tokens) <= self.max_tokens
        ):
            return Fit(batch)
        with self._lock:
            trial = self._successes >= self._patience and not self._trying
            factor = 2 if trial else 1
            first = next(batch.cut(self.max_texts * factor, self.max_tokens * factor))
            trial = trial and begin
            self._trying = self._trying or trial
        return Fit(first, trial)

    def succeeded(self, batch: Batch, *, trial: bool) -> None:
        """Note a request that brought vectors."""
        if self.max_texts == self.max_tokens == math.inf:
            return
        with self._lock:
            if trial:
                self.max_texts *= 2
                self.max_tokens *= 2
                self._successes = 0
            elif 2 * len(batch) > self.max_texts or 2 * sum(batch.tokens) > self.max_tokens:
                self._successes += 1

    def refused(self, *, trial: bool) -> None:
        """Note a request of several texts that was refused."""
        if trial:
            with self._lock:
                self._successes = 0
                self._patience = min(2 * self._patience, _MOST_PATIENCE)

    def end_trial(self) -> None:
        """Note that a trial is not in flight any more. Takes no lock: a finalizer may call it."""
        self._trying = False

    def learn(self, max_texts: float, max_tokens: float) -> None:
        """Lower the limits to what was accepted where more was refused."""
        with self._lock:
            if max_texts < self.max_texts or max_tokens < self.max_tokens:
                self.max_texts = min(self.max_texts, max_texts)
                self.max_tokens = min(self.max_tokens, max_tokens)
                self._successes = 0
