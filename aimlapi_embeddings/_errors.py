"""What can go wrong, and whose fault it is.

AIMLAPIError                          .partial: what was finished before, or None
├─ ConfigurationError (ValueError)    the caller's options; before any request
├─ InvalidInputError (ValueError)     the caller's texts; before any request    .indices
├─ APIConnectionError                 the network
│  └─ APITimeoutError
├─ APIStatusError                     the server said no    .status .body .request_id .indices
│  ├─ BadRequestError                 400, 422
│  │  └─ RequestTooLargeError         413, or a 400 or 422 that speaks of size
│  ├─ AuthenticationError             401
│  ├─ PermissionDeniedError           403
│  ├─ NotFoundError                   404
│  ├─ RateLimitError                  429    .retry_after
│  └─ InternalServerError             5xx
└─ ReplyError                         a good status, but a body that breaks the contract

Names follow the OpenAI SDK where the meaning is the same. Every error pickles: what is not in
the message is an attribute with a default, and Python's own protocol carries both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aimlapi_embeddings._types import PartialResult


class AIMLAPIError(Exception):
    """Base of all errors of this package.

    Attributes:
        partial: Vectors and usage of what was finished before the error, or None when the call
            had not begun.
    """

    partial: PartialResult | None = None


class ConfigurationError(AIMLAPIError, ValueError):
    """Options that cannot work, alone or together. Raised before any request."""


class InvalidInputError(AIMLAPIError, ValueError):
    """Texts that cannot be embedded. Raised before any request.

    Attributes:
        indices: Positions of all bad texts in the list that was passed.
    """

    def __init__(self, message: str, indices: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.indices = indices


class APIConnectionError(AIMLAPIError):
    """The server could not be reached, or the connection broke; retries are used up."""


class APITimeoutError(APIConnectionError):
    """The server did not answer in time; retries are used up."""


class APIStatusError(AIMLAPIError):
    """The server answered with an error status.

    Attributes:
        status: The HTTP status.
        body: The reply's body, undecoded, at most its first 4,096 bytes.
        request_id: What to quote to the provider's support, or None.
        retry_after: Seconds the server asked to wait, or None.
        indices: Positions of the texts that the refused request carried.
    """

    def __init__(
        self,
        message: str,
        status: int = 0,
        body: bytes = b"",
        request_id: str | None = None,
        retry_after: float | None = None,
        indices: tuple[int, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after
        self.indices = indices


class BadRequestError(APIStatusError):
    """400 or 422: the server does not accept the request as it is."""


class RequestTooLargeError(BadRequestError):
    """The request has too many texts, tokens or bytes; raised when a single text is too large."""


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: out of funds, or a key without the right to embed."""


class NotFoundError(APIStatusError):
    """404: a wrong path, or a model that was withdrawn."""


class RateLimitError(APIStatusError):
    """429: too many requests; retries are used up, or the wait asked for is too long."""


class InternalServerError(APIStatusError):
    """5xx: the provider, or the vendor behind it, failed; retries are used up."""


class ReplyError(AIMLAPIError):
    """A reply with a good status whose vectors cannot be trusted: wrong count, order or numbers."""
