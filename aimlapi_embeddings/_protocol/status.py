"""Which error is this reply, what does the server say, and what can be done about it?"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

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
from aimlapi_embeddings._protocol.retry_hints import parse_retry_after
from aimlapi_embeddings._types import Reply

_ERRORS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: RequestTooLargeError,
    422: BadRequestError,
    429: RateLimitError,
}

_NEXT_STEPS = {
    400: "Compare the options with what the model takes: supported_models() lists it.",
    401: "Check the key in {variable}; keys are made at {keys_page}.",
    403: "Top up the balance, or use a key that may embed: {keys_page}.",
    404: "Check model and base_url ({url}); a model that was withdrawn answers like this too.",
    408: "Raise timeout, or lower batch_size.",
    413: "Shorten the text, or split it before it is embedded.",
    429: "Lower max_concurrency, or raise max_retries and max_retry_wait.",
}
_BY_CLASS = {
    3: "Redirects are not followed, for the key's sake; set base_url to the target: {location}.",
    4: _NEXT_STEPS[400],
    5: "The provider failed; try again later, and quote the request id if it lasts.",
}

# Where servers put the human word, the most telling first.
_MESSAGE_KEYS = ("message", "error", "detail", "errors", "msg", "description", "title")
_SHOWN_MESSAGE = 500  # characters
_KEPT_BODY = 4096  # bytes

_TOO = (
    r"too (?:large|long|many|big)|exceed|max\b|maximum|at most|up to|allowed per|range of|limit|"
    r"(?:larger|greater|more|longer) than|(?:less|fewer) than"
)
_SIZE = (
    r"tokens?|inputs?|items?|elements?|texts?|batch|array|characters?|length|size|content|payload|"
    r"body|entity|instances?|request (?:is )?too (?:large|long|big)"
)
_SPEAKS_OF_SIZE = re.compile(rf"(?=.*\b(?:{_TOO}))(?=.*\b(?:{_SIZE})\b)", re.I | re.S)
# These can be of the wrong size too, but a smaller batch does not cure them.
_SPEAKS_OF_A_FIELD = re.compile(r"dimension|encoding_format|task_type|input_type|\btitle\b", re.I)


def is_success(reply: Reply) -> bool:
    """Tell whether the status is 2xx; the documents disagree on 200 and 201."""
    return 200 <= reply.status < 300


def error_of(
    reply: Reply,
    *,
    provider: Provider,
    url: str,
    where: str,
    indices: tuple[int, ...],
    wall_clock: Callable[[], float],
) -> APIStatusError:
    """Make the error of a reply: status, the server's word, request id, texts, next step."""
    status, headers, body = reply.status, reply.headers, bytes(reply.body)
    said = find_message(body) or "the server gave no reason"
    kind = _ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)
    if kind is BadRequestError and speaks_of_size(said):
        kind = RequestTooLargeError
    row = 413 if kind is RequestTooLargeError else status
    step = _NEXT_STEPS.get(row, _BY_CLASS.get(row // 100, _BY_CLASS[4])).format(
        variable=provider.api_key_variable,
        keys_page=provider.keys_page,
        url=url,
        location=headers.get("location", "not told"),
    )
    request_id = headers.get("x-inference-id") or headers.get("x-request-id")
    context = f"{where}; request id {request_id or 'not told'}"
    return kind(
        f"{status} {_phrase(status)}: {said} [{context}] {step}",
        status,
        body[:_KEPT_BODY],
        request_id,
        parse_retry_after(headers, wall_clock),
        indices,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def speaks_of_size(message: str) -> bool:
    """Tell whether a refusal can be cured by a smaller request."""
    return bool(_SPEAKS_OF_SIZE.search(message)) and not _SPEAKS_OF_A_FIELD.search(message)


def find_message(body: bytes) -> str:
    """Find the human word of an error body, whatever its shape; "" when there is none."""
    try:
        message = _message_in(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _message_in_text(body.decode(errors="replace"))
    message = " ".join(message.split())
    return message if len(message) <= _SHOWN_MESSAGE else message[: _SHOWN_MESSAGE - 1] + "\u2026"


def _message_in(data: Any) -> str:
    if isinstance(data, str):
        # A vendor's error can arrive as JSON inside the gateway's message.
        try:
            return _message_in(msgspec.json.decode(data)) or data
        except (msgspec.DecodeError, RecursionError):
            return data
    if isinstance(data, list):
        return "; ".join(filter(None, map(_message_in, data[:3])))
    if isinstance(data, dict):
        # FastAPI's items say where and what.
        place = ".".join(map(str, data["loc"])) if isinstance(data.get("loc"), list) else ""
        found = next(filter(None, (_message_in(data.get(key)) for key in _MESSAGE_KEYS)), "")
        return f"{place}: {found}" if place and found else found
    return ""


def _message_in_text(text: str) -> str:
    """Read plain text, or the title of an HTML page."""
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
    if title and title[1].strip():
        return html.unescape(title[1])
    return html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.I | re.S))
