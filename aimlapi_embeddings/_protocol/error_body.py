"""What does the body of an error reply say?

A body is decoded once, into the server's message and the decoded JSON. All of it takes time linear
in the size of the body, since error pages come from anybody: gateways, proxies, captive portals.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from aimlapi_embeddings._types import Reply

# Patterns are strings, which `re` compiles at the first error that is read.
# Keys under which servers put their message, the most specific first.
_MESSAGE_KEYS = ("message", "error", "detail", "errors", "msg", "description", "title", "data")
_SHOWN_MESSAGE = 500  # characters
# The gateway answers an unknown model with the list of all it has, before what it was asked for.
_MANY_VALUES = r"'[^']*'(?: \| '[^']*'){9,}"
# Of ASCII and of Latin-1; and those that turn the direction of what follows.
_CONTROLS = "[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+"
_KEY_OF_MESSAGES = r"(?i)msg|message|reason|text|detail|error"
# What is under these repeats the request, and with it texts of the user's.
_KEY_OF_REQUESTS = (
    r"(?i)(?:request|body|payload|(?:input|request|original)_?\w*|inputs|texts?|contents?|prompts?|"
    r"query|queries|documents?|instances?|values?)"
)
_MOST_KEYS = 20
_GZIP = b"\x1f\x8b"
_KEPT_DEPTH = 32  # levels; deeper JSON cannot be copied or pickled at the usual recursion limit
_READ_DEPTH = 16  # levels of JSON, or of JSON inside strings, that a message is looked for in
# Bytes. A larger reply is no error message: its JSON is not kept, of a page only this much is read,
# and a reply with a good status is not searched for one.
READ_BODY = 65_536


class ErrorBody(NamedTuple):
    """What an error reply says.

    Attributes:
        message: The server's message in one line of at most 500 characters, or "".
        data: The body as decoded JSON; None when it is not JSON, or nested too deeply.
    """

    message: str
    data: Any


# Charsets beside UTF-8 that error pages are written in. Other codecs of Python's may take quadratic
# time, or are no charsets at all.
_CHARSETS = r"(?i)gb|big5|shift_?jis|euc-|iso-8859-|iso-2022-|windows-|koi8-|utf-(?:16|32)"
_CHARSET_NAMED = r"(?i)charset\s*=\s*[\"']?([\w-]{1,40})"
_HEAD = 1024  # bytes in which a page names its charset


def as_utf8(body: bytes, content_type: str) -> bytes:
    """Write an error body in UTF-8, where it names another charset; all others as they came.

    Args:
        body: Of a reply with an error status.
        content_type: Of the same reply; "" where it has none.
    """
    if len(body) > READ_BODY or is_utf8(body):
        return body
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace").encode()
    for place in (content_type, body[:_HEAD].decode("latin-1")):
        found = re.search(_CHARSET_NAMED, place)
        if found and re.match(_CHARSETS, name := found[1]):
            # Pages that name the oldest standard of China have characters of the newest.
            name = "gb18030" if name.lower().startswith("gb") else name
            with suppress(LookupError):
                return body.decode(name, "replace").encode()
    return body


def is_utf8(body: bytes) -> bool:
    """Tell whether a body is text in UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode_json(body: bytes | bytearray) -> Any:
    """Decode JSON that may begin with a byte order mark."""
    return msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))


def is_success(reply: Reply) -> bool:
    """Tell whether the status is 2xx; the documents disagree on 200 and 201."""
    return 200 <= reply.status < 300


def find_message(body: bytes) -> str:
    """Find the server's message in an error body, whatever its shape; "" when there is none."""
    return read_error(body).message


def read_error(body: bytes) -> ErrorBody:
    """Read an error body once: JSON of any shape, an HTML page, or plain text."""
    data: Any = None
    try:
        data = decode_json(body)
        message = _message_in(data, _READ_DEPTH)
        data = data if is_shallow(data) else None
        message = message or _words_in(data, _READ_DEPTH, "")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = _message_in_page(body[:READ_BODY].decode(errors="replace"))
    # Control characters could change what a terminal or a log shows.
    message = " ".join(re.sub(_CONTROLS, " ", message).split())
    message = re.sub(_MANY_VALUES, _count_values, message)
    if len(message) > _SHOWN_MESSAGE:
        message = message[: _SHOWN_MESSAGE - 1] + "\u2026"
    return ErrorBody(message, data)


def _count_values(found: re.Match[str]) -> str:
    count = found[0].count("' | '") + 1
    return f"one of {count} values"


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


def _words_in(data: Any, depth: int, key: str) -> str:
    """Read what looks like a message under keys that are not known."""
    if re.fullmatch(_KEY_OF_REQUESTS, key):
        return ""
    is_message = re.search(_KEY_OF_MESSAGES, key)
    if isinstance(data, str):
        return data if is_message or len(data.split()) > 1 else ""
    if depth == 0 or not isinstance(data, dict | list):
        return ""
    named = data.items() if isinstance(data, dict) else ((key, each) for each in data)
    found = (
        _words_in(each, depth - 1, key if is_message else name)
        for name, each in islice(named, _MOST_KEYS)
    )
    return "; ".join(list(filter(None, found))[:3])


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


def is_shallow(data: Any) -> bool:
    """Tell whether JSON can be copied and pickled without a RecursionError."""
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(_KEPT_DEPTH):
        lists = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for each in lists for child in each if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def content_encoding(reply: Reply) -> str:
    """Say why the body of a reply may still be compressed; "" where nothing speaks for it.

    What an HTTP client asks for it also decodes, and leaves the header as it was.
    """
    if reply.body.startswith(_GZIP):
        return "its body is compressed once more than its content-encoding says"
    encoding = reply.headers.get("content-encoding", "").strip()
    if encoding.lower() in ("", "identity", "gzip", "deflate"):
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
