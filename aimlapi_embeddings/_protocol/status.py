"""What does a reply say, which error is it, and can repeating or a smaller request help?

How this works: a body is decoded once, in `read_error`, into the server's message and the decoded
JSON. The classification (too large? quota used up? repeated?) works on these two and the status,
never on the raw body. All of it takes time linear in the size of the body, since error pages come
from anybody: gateways, proxies, captive portals.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple

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
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._types import Reply

# Statuses after which the same request is sent again. Every 5xx is, known or not, but those that
# say that the server cannot do it: 501 Not Implemented, 505 HTTP Version Not Supported, and 511
# Network Authentication Required (a captive portal).
REPEATED_STATUSES = frozenset({408, 409, 425, 429, *range(500, 600)} - {501, 505, 511})

_ERRORS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: BadRequestError,
    429: RateLimitError,
}

_NEXT_STEPS = {
    400: "Compare the options with what the model takes: supported_models() lists it.",
    401: "Check the key in {variable}; keys are made at {keys_page}.",
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
_BY_CLASS = {
    3: "Redirects are not followed, to protect the key; set base_url to the target: {location}.",
    4: _NEXT_STEPS[400],
    5: "The provider failed; try again later, and quote the request id if it lasts.",
}
_QUOTA_STEP = (
    "The quota or the balance of this key is used up, and repeating the request does not help: top "
    "up the balance or change the plan, see {keys_page}."
)

# Keys under which servers put their message, the most telling first.
_MESSAGE_KEYS = ("message", "error", "detail", "errors", "msg", "description", "title", "data")
_SHOWN_MESSAGE = 500  # characters
_SHOWN_PLACES = 10
_KEPT_CONTENT = 4096  # bytes
_KEPT_DEPTH = 32  # levels; deeper JSON cannot be copied or pickled at the usual recursion limit
_READ_DEPTH = 16  # levels of JSON, or of JSON inside strings, that a message is looked for in
# Bytes. A larger reply is no error message: its JSON is not kept, of a page only this much is read,
# and a reply with a good status is not searched for one.
READ_BODY = 65_536

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

# A 5xx is one of size only when it speaks of the request's own size. Its other limits (of time,
# connections, requests, memory) are the server's, and repeating may help.
_OWN_SIZE = re.compile(
    r"invalid input length|only supports? (?:one|a single|1) input|message larger than max|"
    r"(?=.*\b(?:too (?:large|long|many|big)|exceed|max(?:imum)?\b|at most|"
    r"(?:larger|greater|more|longer) than))"
    r"(?=.*\b(?:tokens?|inputs?|texts?|batch|array|characters?|length|sequence|prompt|payload|body|"
    r"content|entity|request (?:is )?too (?:large|long|big))\b)",
    re.I | re.S,
)
_SERVER_LIMIT = re.compile(
    r"deadline|time-?out|timed out|time limit|retries|connections?\b|concurren|requests\b|queue|"
    r"attempts|overload|rate.?limit|per[ -]?(?:second|minute|hour|day)|quota|memory|header",
    re.I,
)

_USED = re.compile(r"\bused:? *\d", re.I)
_LIMIT = re.compile(r"\blimit:? *([\d,_]+)", re.I)
_REQUESTED = re.compile(r"\brequested:? *([\d,_]+)", re.I)
_TOO_LARGE = re.compile(r"\btoo large\b", re.I)

# Codes and types by which a server says that the account has to be changed first.
_QUOTA_CODES = re.compile(
    r"insufficient[_ ]?(?:user[_ ]?)?(?:quota|balance|funds|credits?)|billing[_ ]?hard[_ ]?limit|"
    r"billing[_ ]?not[_ ]?active|free[_ ]?tier[_ ]?only|quota[_ ]?exhausted|arrearage",
    re.I,
)
_QUOTA_WORDS = re.compile(
    r"(?:ran|run|running) out of (?:funds|credits?|balance|quota)|out of (?:funds|credits)|"
    r"balance (?:is )?(?:too low|used up|exhausted|insufficient|not enough)|"
    r"not enough (?:funds|credits|balance|quota)|exceeded your current quota|billing hard limit|"
    r"free[ -](?:tier|quota|allowance|credits?|plan|trial)\b.*"
    r"\b(?:used up|exhausted|exceeded|reached|expired|over|spent)|"
    r"(?:used up|exhausted|exceeded|reached|spent)\b.*\bfree[ -]"
    r"(?:tier|quota|allowance|credits?|plan|trial)",
    re.I | re.S,
)
_SOON = re.compile(
    r"per[ -]?(?:min|sec)|/ ?min\b|\b[rt]pm\b|(?:retry|try again) (?:in|after)\b|retryDelay|"
    r"rate.?limit|too many requests|slow down",
    re.I,
)
_ACCOUNT_STATUSES = frozenset({402, 403, 429})


class ErrorBody(NamedTuple):
    """What an error reply says.

    Attributes:
        message: The server's message in one line of at most 500 characters, or "".
        data: The body as decoded JSON; None when it is not JSON, or nested too deeply.
    """

    message: str
    data: Any


def decode_json(body: bytes | bytearray) -> Any:
    """Decode JSON that may begin with a byte order mark."""
    return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))


def is_success(reply: Reply) -> bool:
    """Tell whether the status is 2xx; the documents disagree on 200 and 201."""
    return 200 <= reply.status < 300


def content_encoding(reply: Reply) -> str:
    """Name the content-encoding of a reply where it is one that we may not have asked for, or "".

    What an HTTP client asks for it also decodes, and leaves the header as it was.
    """
    encoding = reply.headers.get("content-encoding", "").strip()
    if encoding.lower() in ("", "identity", "gzip", "x-gzip", "deflate"):
        return ""
    return f"its content-encoding is {encoding!r}, which only a client that asks for it can read"


def effective_reply(reply: Reply) -> Reply:
    """Give a reply with a good status that is an error the status of that error.

    Gateways forward a vendor's failure as a 200: `{"error": {"message": "...", "code": 503}}`.

    Returns:
        The same reply, with the status that its body names when it has no vectors; as it came
        otherwise. Costs a look at the start of a reply that has vectors.
    """
    if not is_success(reply) or len(reply.body) > READ_BODY or _VECTORS.search(reply.body):
        return reply
    try:
        data = decode_json(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return reply
    status = _status_in(list(_error_objects(data, _READ_DEPTH)))
    return reply if status is None else reply._replace(status=status)


_VECTORS = re.compile(rb'"embedding"\s*:')
_STATUS_KEYS = ("status", "statusCode", "status_code", "code", "type", "name", "title")
# Names of errors, without what is not a letter, and the status that says the same.
_STATUS_NAMES = {
    "ratelimit": 429,
    "toomanyrequests": 429,
    "resourceexhausted": 429,
    "throttl": 429,
    "insufficientquota": 429,
    "unavailable": 503,
    "overloaded": 503,
    "badgateway": 502,
    "timeout": 504,
    "deadlineexceeded": 504,
    "servererror": 500,
    "internal": 500,
}


def _error_objects(data: Any, depth: int) -> Iterator[dict[str, Any]]:
    """List the objects of an error body that may name a status, the outermost first."""
    if depth == 0:
        return
    if isinstance(data, str):  # a vendor's error as JSON inside the gateway's message
        with suppress(msgspec.DecodeError, RecursionError):
            decoded = msgspec.json.decode(data)
            if isinstance(decoded, dict):
                yield from _error_objects(decoded, depth - 1)
    elif isinstance(data, list):
        for each in data[:1]:
            yield from _error_objects(each, depth - 1)
    elif isinstance(data, dict):
        yield data
        for key in ("error", "errors", "detail", "message", "data"):
            yield from _error_objects(data.get(key), depth - 1)


def _status_in(objects: list[dict[str, Any]]) -> int | None:
    """Find the status that an error body names: a number first, else the name of an error."""
    values = [each[key] for each in objects for key in _STATUS_KEYS if key in each]
    for value in values:
        with suppress(TypeError, ValueError, OverflowError):
            if not isinstance(value, bool) and 400 <= (status := int(value)) < 600:
                return status
    # A name alone may be that of a server that is not asked for embeddings at all.
    objects = [each for each in objects if not each.keys().isdisjoint(_MESSAGE_KEYS)]
    values = [each[key] for each in objects for key in _STATUS_KEYS if key in each]
    names = [re.sub("[^a-z]", "", value.lower()) for value in values if isinstance(value, str)]
    found = (status for name in names for part, status in _STATUS_NAMES.items() if part in name)
    return next(found, None)


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
    return _quota_exhausted(error.status_code, found, error.retry_after)


def error_of(
    reply: Reply,
    *,
    provider: Provider,
    url: str,
    where: str,
    indices: tuple[int, ...],
    retry_after: float | None = None,
) -> APIStatusError:
    """Make the error of a reply.

    Args:
        reply: Its status is not 2xx.
        provider: Names the variable and the page of the key.
        url: Where the request went.
        where: A phrase that says which texts the request carried.
        indices: Their positions.
        retry_after: Seconds the server asked to wait, or None.

    Returns:
        An error that says status, the server's message, request id, texts and the next step. A
        refusal for size is a `RequestTooLargeError`, whatever its status.
    """
    status, headers = reply.status, reply.headers
    content = bytes(reply.body)
    found = read_error(content)
    step = _NEXT_STEPS.get(status, _BY_CLASS.get(status // 100, _BY_CLASS[4]))
    kind = _ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)
    if _quota_exhausted(status, found, retry_after):
        step = step if status in (402, 403) else _QUOTA_STEP  # theirs name the balance too
    elif is_too_large(status, found.message):
        kind, step = RequestTooLargeError, _NEXT_STEPS[413]
    step = step.format(
        variable=provider.api_key_variable,
        keys_page=provider.keys_page,
        url=shown_url(url),
        location=headers.get("location", "not told"),
    )
    request_id = headers.get("x-inference-id") or headers.get("x-request-id")
    context = f"{where}; request id {request_id or 'not told'}"
    shown = found.message or "the server gave no reason"
    encoding = content_encoding(reply)
    if encoding and not _is_text(content):
        shown = f"the message cannot be read, since {encoding}"
    return kind(
        f"{status} {_phrase(status)}: {shown} [{context}] {step}",
        status,
        found.message,
        content[:_KEPT_CONTENT],
        found.data if len(content) <= READ_BODY else None,
        request_id,
        retry_after,
        indices,
    )


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
    error = type(first)(
        text,
        first.status_code,
        first.message,
        first.content,
        first.body,
        first.request_id,
        first.retry_after,
        tuple(places),
    )
    error.refused = {i: errors[i].message for i in places}
    return error


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def _is_shallow(data: Any) -> bool:
    """Tell whether JSON can be copied and pickled without a RecursionError."""
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(_KEPT_DEPTH):
        lists = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for each in lists for child in each if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def is_too_large(status: int, message: str) -> bool:
    """Tell whether a reply refuses the request for its size, whatever status it says that with."""
    if status == 413:
        return True
    if status in (400, 422):
        return speaks_of_size(message)
    if status == 429:
        return _exceeds_its_limit(message)
    if status >= 500:
        return _OWN_SIZE.search(message) is not None and not _SERVER_LIMIT.search(message)
    return False


def speaks_of_size(message: str) -> bool:
    """Tell whether a refusal of the request's content can be cured by a smaller request."""
    return bool(_SPEAKS_OF_SIZE.search(message)) and not _SPEAKS_OF_A_FIELD.search(message)


def _exceeds_its_limit(message: str) -> bool:
    """Tell whether a 429 refuses a request that is larger than the whole budget.

    OpenAI: "Request too large for ... (TPM): Limit 400, Requested 1040". A budget that others have
    used is "Rate limit reached for ...: Limit 400, Used 300, Requested 200", and waiting helps.
    """
    if _USED.search(message):
        return False
    limit, requested = _LIMIT.search(message), _REQUESTED.search(message)
    exceeded = limit and requested and _whole(requested[1]) > _whole(limit[1])
    return bool(exceeded or _TOO_LARGE.search(message))


def _whole(digits: str) -> int:
    return int(re.sub(r"\D", "", digits) or 0)


def _quota_exhausted(status: int, found: ErrorBody, retry_after: float | None) -> bool:
    if status not in _ACCOUNT_STATUSES:
        return False
    error = found.data.get("error") if isinstance(found.data, dict) else None
    places = [place for place in (found.data, error) if isinstance(place, dict)]
    named = [place.get(key) for place in places for key in ("code", "type", "status", "name")]
    if any(_QUOTA_CODES.search(text) for text in (found.message, *named) if isinstance(text, str)):
        return True
    if retry_after or not _QUOTA_WORDS.search(found.message):
        return False
    # Google words a budget per minute like a quota that is used up, and says when to come back.
    details = [place.get("details") for place in places]
    return not _SOON.search(found.message) and not _SOON.search(str(details))


def reason(message: str) -> str:
    """Reduce a server's message to what two refusals for one reason have in common.

    Quoted parts, ids and numbers differ from text to text; they are left out.
    """
    for pattern in _VARYING:
        message = pattern.sub("", message)
    return " ".join(message.lower().split())


_VARYING = (
    # A quotation that the cut of a long message left open ends with the message.
    re.compile(r'"[^"]*(?:"|$)|“[^”]*(?:”|$)|«[^»]*(?:»|$)|`[^`]*(?:`|$)'),
    re.compile(r"(?<!\w)'[^']*(?:'|$)"),  # no apostrophe, as in "doesn't"
    re.compile(r"\b[0-9a-f]{8,}\b|\b(?=[\w-]*\d)[\w-]{6,}\b", re.I),  # ids
    re.compile(r"\d+"),
)


def find_message(body: bytes) -> str:
    """Find the server's message in an error body, whatever its shape; "" when there is none."""
    return read_error(body).message


def read_error(body: bytes) -> ErrorBody:
    """Read an error body once: JSON of any shape, an HTML page, or plain text."""
    data: Any = None
    try:
        data = decode_json(body)
        message = _message_in(data, _READ_DEPTH)
        data = data if _is_shallow(data) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _message_in_page(body[:READ_BODY].decode(errors="replace"))
    message = " ".join(message.split())
    if len(message) > _SHOWN_MESSAGE:
        message = message[: _SHOWN_MESSAGE - 1] + "\u2026"
    return ErrorBody(message, data)


def _message_in(data: Any, depth: int) -> str:
    if depth == 0:
        return ""
    if isinstance(data, str):
        # A vendor's error can arrive as JSON inside the gateway's message.
        try:
            return _message_in(msgspec.json.decode(data), depth - 1) or data
        except (msgspec.DecodeError, RecursionError):
            return data
    if isinstance(data, list):
        found = (_message_in(each, depth - 1) for each in data[:3])
        return "; ".join(filter(None, found))
    if isinstance(data, dict):
        found = (_message_in(data.get(key), depth - 1) for key in _MESSAGE_KEYS)
        message = next(filter(None, found), "")
        # FastAPI's items say where and what.
        where = data.get("loc")
        place = ".".join(map(str, where[:_READ_DEPTH])) if isinstance(where, list) else ""
        return f"{place}: {message}" if place and message else message
    return ""


def _message_in_page(page: str) -> str:
    """Read plain text, or an HTML page: its title, else its text without scripts and styles.

    One pass over the parts between "<": a regular expression for tags takes quadratic time when
    they are not closed.
    """
    first, *parts = page.split("<")
    words, title = [first], ""
    inside = ""  # the element whose text is not part of the page's own
    for part in parts:
        tag, closed, text = part.partition(">")
        name = tag[:16].lower().split(None, 1)[0] if tag[:1].strip() else ""
        if inside:
            if name != f"/{inside}":
                continue
            inside = ""
        elif closed and name in ("script", "style", "title"):
            inside = name
            title = title or (text if name == "title" else "")
            continue
        words.append(f" {text}" if closed and name else f"<{part}")
    found = " ".join(title.split()) or " ".join("".join(words).split())
    # Cut before the entities are read, since a number of thousands of digits is refused by int().
    return html.unescape(found[: 2 * _SHOWN_MESSAGE])
