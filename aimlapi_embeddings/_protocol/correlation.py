"""How is a request called, so that both sides find it in their logs?

Every request carries `X-Client-Request-Id`: a prefix that is random for each client in each
process, and a number. Repeats of a request keep its id. A header of that name which the user gives
is sent as it is, and told in place of ours.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping

CLIENT_REQUEST_ID = "X-Client-Request-Id"


def own_request_id(headers: object) -> str | None:
    """Return the user's id for all requests, or None where these headers hold none."""
    pairs: Iterable[tuple[object, object]] = headers.items() if isinstance(headers, Mapping) else ()
    wanted = CLIENT_REQUEST_ID.lower()
    return next((str(value) for name, value in pairs if str(name).lower() == wanted), None)


def new_request_ids(*headers: object) -> Callable[[], str]:
    """Return a function that makes ids, for one process.

    It may be called by any thread: each call gives another id, unless one of the headers holds the
    user's own.
    """
    own = next((id for id in map(own_request_id, headers) if id is not None), None)
    if own is not None:
        return lambda: own
    prefix, numbers = os.urandom(6).hex(), itertools.count(1)
    return lambda: f"{prefix}-{next(numbers)}"
