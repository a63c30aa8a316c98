"""The errors of this package.

AIMLAPIError                          .partial: what was finished    .client_request_id
├─ ConfigurationError (ValueError)    the caller's options; before any request
├─ InvalidInputError (ValueError)     the caller's texts; before any request    .indices .refused
├─ CacheError                         the file of a VectorCache; before any request
├─ BudgetExceededError                max_usd or max_tokens    .option .limit .spent
├─ APIConnectionError                 the network
│  └─ APITimeoutError
├─ APIStatusError                     an error status    .status_code .message .body .request_id
│  ├─ BadRequestError                 400, 422... .refused
│  │  └─ RequestTooLargeError         413, or any status whose message is about size
│  ├─ AuthenticationError             401
│  ├─ PermissionDeniedError           403
│  ├─ NotFoundError                   404
│  ├─ RateLimitError                  429    .retry_after
│  └─ InternalServerError             5xx
└─ ReplyError                         a 2xx status, but a body that breaks the contract    .indices

Names follow the OpenAI SDK where the meaning is the same. Every error pickles: `args` holds the
text alone, and everything else is an attribute, which Python's own protocol restores.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimlapi_embeddings._result import PartialResult


class AIMLAPIError(Exception):
    """Base of all errors of this package.

    Attributes:
        partial: Vectors and usage of what was finished before the error, with a place for each
            text. None for an error of a constructor.
        client_request_id: The value of the header `X-Client-Request-Id` of the request that
            failed. None where no request failed.
    """

    partial: PartialResult | None = None
    client_request_id: str | None = None


class ConfigurationError(AIMLAPIError, ValueError):
    """Options that are wrong, alone or together. Raised before any request."""


class InvalidInputError(AIMLAPIError, ValueError):
    """Texts that cannot be embedded. Raised before any request; `partial` holds no vectors.

    Attributes:
        indices: Positions of all bad texts in the list that was passed.
        refused: What is wrong with each of them, by its position.
    """

    def __init__(
        self,
        message: str,
        indices: tuple[int, ...] = (),
        refused: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.indices = indices
        self.refused = dict(refused)


class BudgetExceededError(AIMLAPIError):
    """The next request could exceed `max_usd` or `max_tokens`, so it was not sent.

    Requests that were in flight have come back: `partial` holds all that was paid for.

    Attributes:
        option: The option that is exceeded, `"max_usd"` or `"max_tokens"`.
        limit: Its value. This and the following are in US dollars or in tokens.
        spent: By all calls of the client so far.
        in_flight: The estimate of what requests in flight cost, when the request was refused.
        needed: The estimate of what the request would cost.
    """

    def __init__(
        self,
        text: str,
        option: str = "",
        limit: float = 0.0,
        spent: float = 0.0,
        in_flight: float = 0.0,
        needed: float = 0.0,
    ) -> None:
        super().__init__(text)
        self.option = option
        self.limit = limit
        self.spent = spent
        self.in_flight = in_flight
        self.needed = needed


class CacheError(AIMLAPIError):
    """The file of a `VectorCache` cannot be opened, read or pruned. No request was sent.

    A write that fails is a `CacheWarning` instead, since the vectors are there and paid for.
    """


class CacheWarning(UserWarning):
    """Vectors were not written to a `VectorCache`; they will have to be paid for again."""


class APIConnectionError(AIMLAPIError):
    """The server could not be reached, or the connection broke; retries are used up.

    Attributes:
        permanent: Whether repeating cannot help, so that there was one attempt: a certificate that
            is not trusted, a proxy that refuses, a host name that was not found.
        sent: Whether sending had begun, so that the server may have received the request.
    """

    permanent: bool = False
    sent: bool = False


class APITimeoutError(APIConnectionError):
    """The server did not answer in time; retries are used up."""


class APIStatusError(AIMLAPIError):
    """The server answered with an error status.

    Attributes:
        status_code: The HTTP status; 0 when it is not known. `status` is the same.
        message: The server's message alone, in one line of at most 500 characters; "" when it
            gave none. `str(error)` adds the status, the texts concerned and the next step.
        content: The reply's body as it came, or in UTF-8 where it names another charset; at most
            its first 4,096 bytes.
        body: The reply's body as decoded JSON, as in the OpenAI SDK; None when it is not JSON, or
            larger than 64 KiB, or nested deeper than 32 levels.
        request_id: What to quote to the provider's support, or None.
        retry_after: Seconds the server asked to wait, or None.
        indices: Positions of the texts that the refused request carried.
    """

    def __init__(
        self,
        text: str,
        status_code: int = 0,
        message: str = "",
        content: bytes = b"",
        body: Any = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        indices: tuple[int, ...] = (),
    ) -> None:
        super().__init__(text)
        self.status_code = status_code
        self.message = message
        self.content = content
        self.body = body
        self.request_id = request_id
        self.retry_after = retry_after
        self.indices = indices

    @property
    def status(self) -> int:
        """The HTTP status, as `status_code`."""
        return self.status_code


class BadRequestError(APIStatusError):
    """400, 406, 422, 424 or 451: the server does not accept the request as it is.

    With 500, 502 or 504: it fails at a text each time, and accepts others meanwhile.

    Attributes:
        refused: The server's message for each text that was refused by itself, by its position;
            empty when the request is wrong and not its texts.
    """

    refused: Mapping[int, str] = MappingProxyType({})


class RequestTooLargeError(BadRequestError):
    """The request has too many texts, tokens or bytes; raised when a single text is too large.

    Servers say so with 413, 400 or 422, some with another 4xx or a 5xx; `status_code` is that
    status.
    """


class AuthenticationError(APIStatusError):
    """401: the key is missing or wrong."""


class PermissionDeniedError(APIStatusError):
    """403: out of funds, or a key without the right to embed."""


class NotFoundError(APIStatusError):
    """404: a wrong path, or a model that was withdrawn."""


class RateLimitError(APIStatusError):
    """429: too many requests, or a quota that is used up.

    Raised when the retries are used up, when the wait asked for is too long, or at once when a
    quota or the balance is used up, since repeating cannot help then.
    """


class InternalServerError(APIStatusError):
    """5xx: the provider, or the vendor behind it, failed; retries are used up.

    501, 505 and 511 are not retried.
    """


class ReplyError(AIMLAPIError):
    """A reply with a 2xx status whose vectors are wrong, in number, order or values.

    Attributes:
        request_id: What to quote to the provider's support, or None.
        indices: Positions of the texts concerned: of the one whose vector is wrong, else of all
            texts of the request. Empty where no single request is concerned.
    """

    request_id: str | None = None
    indices: tuple[int, ...] = ()


class ShortTraceback:
    """Leaves out of a traceback what is below the `with` statement, for errors of this package.

    Their message says what to do, and our own frames would only hide those of the caller.
    Errors of any other class keep theirs.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        link = error
        while isinstance(link, AIMLAPIError):  # an error of ours may be caused by another one
            link.__traceback__ = None
            link = link.__cause__


# Tracebacks and pickles name an error as it is imported.
for _each in list(globals().values()):
    if isinstance(_each, type) and issubclass(_each, AIMLAPIError | CacheWarning):
        _each.__module__ = "aimlapi_embeddings"
