"""What a step may be made with, and what of it each worker's client gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.options import check_integer
from aimlapi_embeddings._protocol.secrets import SecretLike
from aimlapi_embeddings.batches._shared_limit import SharedLimit, absolute, check_rate
from aimlapi_embeddings.cache._vector_cache import as_cache_of_workers

# Seconds for which a request is repeated: a job goes on through minutes of refusals.
_RETRY_FOR = 600.0
# What belongs to one process, and what to use instead.
_OF_ONE_PROCESS = {
    "http_client": "connections belong to one process, and each worker opens its own",
    "async_http_client": "connections belong to one process, and each worker opens its own",
    "rate_limiter": "it belongs to one process; use requests_per_minute with workers, or "
    "shared_limit",
}


def check_key(given: Any) -> Callable[[], str | SecretLike] | None:
    """Return the function that fetches the key; the key itself is not sent with the step."""
    if given is None:
        return None
    function = getattr(given, "get_secret_value", lambda: None)()
    if not callable(function):
        raise ConfigurationError(
            "api_key is not a function. A step is sent to its workers, and engines write what "
            "is sent into logs and object stores; so it holds no key. Set the key in the "
            "environment of the workers before their node starts, or pass a function that fetches "
            "it there."
        )
    return function  # type: ignore[no-any-return]


def check_names(**names: str | None) -> None:
    """Raise unless each column has a name of its own."""
    taken: dict[str, str] = {}
    for option, name in names.items():
        if name is None and option == "title":
            continue
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"{option}={name!r} is not the name of a column.")
        if name in taken:
            raise ConfigurationError(
                f"{taken[name]}={name!r} and {option}={name!r} are the same column."
            )
        taken[name] = option


def options_of_clients(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of each worker's client, when each can be sent there."""
    for name in given:
        if name in _OF_ONE_PROCESS:
            raise ConfigurationError(f"a step cannot carry {name}: {_OF_ONE_PROCESS[name]}.")
    cache = {"cache": as_cache_of_workers(given["cache"])} if "cache" in given else {}
    patience = {} if "max_retries" in given else {"retry_for": _RETRY_FOR}
    return {"model": model, **patience, **given, **cache}


def shares(
    requests_per_minute: float | None, options: Mapping[str, Any], workers: int
) -> dict[str, float]:
    """Return one worker's share of what is meant for all together."""
    rates = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": options.get("tokens_per_minute"),
    }
    workers = check_integer("workers", workers, 1)
    return {
        name: check_rate(name, rate) / workers for name, rate in rates.items() if rate is not None
    }


def limiter_of(shared_limit: Any, share: dict[str, float]) -> Callable[[], Any] | None:
    """Return what makes the limiter in each process; a file takes over the requests per minute."""
    if shared_limit is None or callable(shared_limit):
        return shared_limit  # type: ignore[no-any-return]
    if "requests_per_minute" not in share:
        raise ConfigurationError("shared_limit shares requests_per_minute: pass that, too.")
    return partial(SharedLimit, absolute(shared_limit), share.pop("requests_per_minute"))
