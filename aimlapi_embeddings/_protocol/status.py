"""Which error is a reply, can repeating help, and what can the user do about it?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from aimlapi_embeddings._catalog.providers import Provider
from aimlapi_embeddings._errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
)
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.error_body import (
    READ_BODY,
    ErrorBody,
    content_encoding,
    is_utf8,
    read_error,
)
from aimlapi_embeddings._protocol.wording import is_too_large, quota_exhausted
from aimlapi_embeddings._types import Reply

Kind = TypeVar("Kind", bound=APIStatusError)

# Statuses after which the same request is sent again. Every 5xx is, known or not, but those that
# say that the server cannot do it: 501 Not Implemented, 505 HTTP Version Not Supported, and 511
# Network Authentication Required (a captive portal).
REPEATED_STATUSES = frozenset({408, 409, 425, 429, *range(500, 600)} - {501, 505, 511})

_ERRORS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    406: BadRequestError,  # of firewalls that look into bodies
    422: BadRequestError,
    424: BadRequestError,  # of servers of models, when the model fails at a text
    451: BadRequestError,  # of moderation
    429: RateLimitError,
}

_NEXT_STEPS = {
    400: "Compare the options with what the model takes: supported_models() lists it.",
    401: "Check {key}; keys are made at {keys_page}.",
    402: "Top up the balance: {keys_page}.",
    403: "Top up the balance, or use a key that may embed: {keys_page}.",
    404: "Check model and base_url ({url}); a model that was withdrawn answers like this too.",
    407: "Check the user name and password of the proxy.",
    408: "Raise timeout, or lower batch_size.",
    413: "Shorten the text, or split it before it is embedded.",
    429: "Lower max_concurrency, or raise max_retries and max_retry_wait.",
    501: "This server cannot embed; check base_url ({url}).",
    505: "This server cannot embed; check base_url ({url}).",
    511: "Sign in to the network first, and check base_url ({url}).",
}
_TRUNCATE_STEP = ' Or choose too_long="truncate", which embeds its beginning.'
_BY_CLASS = {
    3: "Redirects are not followed, to protect the key; set base_url to the target: {location}.",
    4: _NEXT_STEPS[400],
    5: "The provider failed; try again later, and quote the request id if it lasts.",
}
_QUOTA_STEP = (
    "The quota or the balance of this key is used up, and repeating the request does not help: top "
    "up the balance or change the plan, see {keys_page}."
)

_SPEAKS_OF_THE_MODEL = r"(?i)\bmodel\b"
_SHOWN_PLACES = 10
_KEPT_CONTENT = 4096  # bytes


def is_repeated(error: APIStatusError) -> bool:
    """Tell whether the same request may succeed when it is sent again."""
    return (
        error.status_code in REPEATED_STATUSES
        and not isinstance(error, RequestTooLargeError)
        and not is_quota_exhausted(error)
    )


def is_quota_exhausted(error: APIStatusError) -> bool:
    """Tell whether a quota or the balance is used up, which repeating cannot cure."""
    found = ErrorBody(error.message, error.body)
    return quota_exhausted(error.status_code, found, error.retry_after)


def error_of(
    reply: Reply,
    *,
    provider: Provider,
    key: str,
    url: str,
    where: str,
    indices: tuple[int, ...],
    retry_after: float | None = None,
    advice: str = "",
    unknown_model: str = "",
    may_truncate: bool = False,
) -> APIStatusError:
    """Make the error of a reply.

    Args:
        reply: Its status is not 2xx.
        provider: Names the page of the key.
        key: The argument or the variable that holds the key.
        url: Where the request went.
        where: A phrase that says which texts the request carried.
        indices: Their positions.
        retry_after: Seconds the server asked to wait, or None.
        advice: The next step, instead of the status's own.
        unknown_model: What to do if the model is at fault; "" for one that is known.
        may_truncate: Whether texts that are too long could be cut, and were not.

    Returns:
        An error that says status, the server's message, request id, texts and the next step. A
        refusal for size is a `RequestTooLargeError`, whatever its status.
    """
    status, headers = reply.status, reply.headers
    content = bytes(reply.body)
    found = read_error(content)
    step = _NEXT_STEPS.get(status, _BY_CLASS.get(status // 100, _BY_CLASS[4]))
    kind = _ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)
    told = ""
    if quota_exhausted(status, found, retry_after):
        step = step if status in (402, 403) else _QUOTA_STEP  # theirs name the balance too
    elif is_too_large(status, found.message):
        kind = RequestTooLargeError
        step = _NEXT_STEPS[413] + (_TRUNCATE_STEP if may_truncate else "")
    elif advice:
        told = advice
    elif unknown_model and (status == 404 or re.search(_SPEAKS_OF_THE_MODEL, found.message)):
        told = unknown_model
    step = told or step.format(
        key=key,
        keys_page=provider.keys_page,
        url=shown_url(url),
        location=headers.get("location", "not told"),
    )
    quoted = request_id(reply)
    context = f"{where}; request id {quoted or 'not told'}"
    shown = found.message or "the server gave no reason"
    encoding = content_encoding(reply)
    if encoding and not is_utf8(content):
        shown = f"the message cannot be read, since {encoding}"
    return kind(
        f"{status} {_phrase(status)}: {shown} [{context}] {step}",
        status,
        found.message,
        content[:_KEPT_CONTENT],
        found.data if len(content) <= READ_BODY else None,
        quoted,
        retry_after,
        indices,
    )


def request_id(reply: Reply) -> str | None:
    """Return what to quote to the provider's support, or None."""
    return reply.headers.get("x-inference-id") or reply.headers.get("x-request-id")


def several_refused(errors: Mapping[int, BadRequestError], total: int) -> BadRequestError:
    """Make one error of the refusals of single texts.

    Args:
        errors: One for each refused text, by its position.
        total: Texts of the call.

    Returns:
        An error of the class and status of the first, that names all positions.
    """
    places = sorted(errors)
    first = errors[places[0]]
    text = str(first)
    if len(places) > 1:
        shown = ", ".join(map(str, places[:_SHOWN_PLACES]))
        more = ", ..." if len(places) > _SHOWN_PLACES else ""
        text = (
            f"{len(places)} of {total} texts were refused (at {shown}{more}; all are in .indices, "
            f"the others' vectors in .partial). The first: {text}"
        )
    error = of_kind(type(first), first, text, tuple(places))
    error.refused = {i: errors[i].message for i in places}
    return error


def of_kind(kind: type[Kind], error: APIStatusError, text: str, indices: tuple[int, ...]) -> Kind:
    """Make an error of another class, text and positions from the same reply."""
    made = kind(
        text,
        error.status_code,
        error.message,
        error.content,
        error.body,
        error.request_id,
        error.retry_after,
        indices,
    )
    made.client_request_id = error.client_request_id
    return made


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"
