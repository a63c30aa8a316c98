"""May this money be spent? One budget for all calls of a client.

A request reserves what it is estimated to cost before it waits for permission to be sent. The
reservation counts until the reply says the cost. So the estimates of all requests in flight and
what was spent never exceed the limits together. Only a reply that tells more than was estimated can
exceed them; then nothing more is sent.

What a request cost is what its reply says: dollars, else tokens at the price of the model, else the
estimate. A refusal costs nothing. A request that got no reply counts by its estimate, since the
server may have done the work.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Self

import msgspec

from aimlapi_embeddings._catalog.families import Model
from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._errors import BudgetExceededError, ConfigurationError
from aimlapi_embeddings._protocol.options import check_amount, check_integer
from aimlapi_embeddings._types import Usage

_MILLION = 1_000_000
# Sums of fractions of a dollar are not exact.
_ROUNDING = 1 + 1e-9
_DIGITS = 12  # of dollars that are shown


class Limits(msgspec.Struct, frozen=True):
    """What a client may spend over its life.

    Attributes:
        max_usd: US dollars; infinite for no limit.
        max_tokens: The same for tokens.
        usd_per_million_tokens: Price of the model; None where none is published.
        credits_per_usd: Of the gateway, which charges whole credits for each request: in its
            published replies 5 tokens of `text-embedding-3-small`, a quarter of a credit, cost 1.
    """

    max_usd: float = math.inf
    max_tokens: float = math.inf
    usd_per_million_tokens: float | None = None
    credits_per_usd: int | None = None

    def price(self, tokens: int) -> float | None:
        """Return the price of a request of so many tokens in US dollars, where it is known."""
        price, credits = self.usd_per_million_tokens, self.credits_per_usd
        if price is None:
            return None
        usd = tokens * price / _MILLION
        return usd if credits is None else math.ceil(usd * credits / _ROUNDING) / credits


def check_limits(model: Model, provider: Provider, max_usd: object, max_tokens: object) -> Limits:
    """Return what a client may spend.

    Raises:
        ConfigurationError: It is no amount, or dollars cannot be estimated for this model.
    """
    usd, price = check_amount("max_usd", max_usd), model.usd_per_million_tokens
    if usd is not None and price is None:
        raise ConfigurationError(
            f"max_usd={max_usd!r} cannot be used, since no price of {model.id} is known. Set "
            "max_tokens instead."
        )
    tokens = None if max_tokens is None else check_integer("max_tokens", max_tokens, 1)
    return Limits(usd or math.inf, tokens or math.inf, price, provider.credits_per_usd)


class _Ledger:
    """What was spent and what is reserved; shared by budgets that go on for each other.

    Attributes:
        settled: What is to be moved from the reserved to the spent: the estimate of each request
            that is over, and its cost.
    """

    def __init__(self) -> None:
        self.spent_usd = self.reserved_usd = 0.0
        self.spent_tokens = self.reserved_tokens = 0
        self.settled: deque[tuple[float, int, float, int]] = deque()
        self.lock = threading.Lock()

    def book(self) -> None:
        """Move what is settled; called with the lock held."""
        while self.settled:
            reserved_usd, reserved_tokens, usd, tokens = self.settled.popleft()
            self.reserved_usd -= reserved_usd
            self.reserved_tokens -= reserved_tokens
            self.spent_usd += usd
            self.spent_tokens += tokens


class Reservation:
    """What one request is estimated to cost.

    A context manager: at its end nothing was spent, unless `charge` has said so. It takes no lock,
    since a finalizer may end it at any moment.
    """

    __slots__ = ("_ledger", "_limits", "_tokens", "_usd")

    def __init__(self, usd: float, tokens: int, limits: Limits, ledger: _Ledger) -> None:
        self._usd, self._tokens = usd, tokens
        self._limits = limits
        self._ledger: _Ledger | None = ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._settle(0.0, 0)

    def charge(self, reported: Usage | None = None) -> None:
        """Count the request as paid.

        Args:
            reported: What its reply says of the cost; None where there is no reply.
        """
        tokens = (reported and reported.total_tokens) or self._tokens
        usd = (reported and reported.usd_spent) or self._limits.price(tokens) or 0.0
        self._settle(usd, tokens)

    def _settle(self, usd: float, tokens: int) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.settled.append((self._usd, self._tokens, usd, tokens))


class Budget:
    """What was spent, and what may be.

    Args:
        limits: Of the client.
        before: The budget that this one replaces; what is spent on either counts for both.
    """

    def __init__(self, limits: Limits, before: Budget | None = None) -> None:
        self._limits = limits
        self._ledger: _Ledger = _Ledger() if before is None else before._ledger

    def price(self, tokens: int) -> float | None:
        """Return the price of a request of so many tokens in US dollars, where it is known."""
        return self._limits.price(tokens)

    def reserve(self, tokens: int) -> Reservation:
        """Reserve what a request of so many estimated tokens costs.

        Raises:
            BudgetExceededError: It does not fit any more.
        """
        limits, ledger = self._limits, self._ledger
        usd = limits.price(tokens) or 0.0
        with ledger.lock:
            ledger.book()
            if ledger.spent_usd + ledger.reserved_usd + usd > limits.max_usd * _ROUNDING:
                raise _exceeded("max_usd", limits, ledger, usd)
            if ledger.spent_tokens + ledger.reserved_tokens + tokens > limits.max_tokens:
                raise _exceeded("max_tokens", limits, ledger, tokens)
            ledger.reserved_usd += usd
            ledger.reserved_tokens += tokens
        return Reservation(usd, tokens, limits, ledger)


def _exceeded(option: str, limits: Limits, ledger: _Ledger, needed: float) -> BudgetExceededError:
    unit = option.removeprefix("max_")
    limit: float = getattr(limits, option)
    # Sums of dollars have rounding errors far below a credit, which would be shown as an amount.
    spent: float = round(getattr(ledger, f"spent_{unit}"), _DIGITS)
    in_flight: float = max(0, round(getattr(ledger, f"reserved_{unit}"), _DIGITS))
    return BudgetExceededError(
        f"{option}={limit:.15g} leaves no room for the next request: {_written(spent)} "
        f"{_UNITS[unit]} are spent, {_written(in_flight)} are the estimate of what is in flight, "
        f"and about {_written(needed)} would be added.",
        option=option,
        limit=limit,
        spent=spent,
        in_flight=in_flight,
        needed=needed,
    )


_UNITS = {"usd": "US dollars", "tokens": "tokens"}


def _written(amount: float) -> str:
    if isinstance(amount, int):
        return f"{amount:,}"
    return f"{amount:,.{_DIGITS}f}".rstrip("0").rstrip(".")
