"""What does the server's message mean: too large, a quota used up, or the same as another one?

Patterns are strings, which `re` compiles at the first error that is read. Those of all modules that
read errors would take 5 ms at import.
"""

from __future__ import annotations

import re

from aimlapi_embeddings._protocol.error_body import ErrorBody

_TOO = (
    r"too (?:large|long|many|big)|exceed|max\b|maximum|at most|up to|allowed per|range of|limit|"
    r"(?:larger|greater|more|longer) than|(?:less|fewer) than"
)
_SIZE = (
    r"tokens?|inputs?|items?|elements?|texts?|batch|array|characters?|length|size|content|payload|"
    r"body|entity|instances?|request (?:is )?too (?:large|long|big)"
)
# Chinese: too long, too large, too many, exceeds, at most; length, batch, texts, input.
_SIZE_IN_CHINESE = (
    r"(?=.*(?:\u8fc7[\u957f\u5927\u591a]|\u8d85[\u8fc7\u51fa\u9650\u957f]|\u6700[\u5927\u591a]|\u4e0a\u9650))"
    r"(?=.*(?:\u957f\u5ea6|\u6279|\u6587\u672c|\u8f93\u5165|\u6570\u7ec4|\u5b57\u7b26|tokens?))"
)
_SPEAKS_OF_SIZE = rf"(?is)(?=.*\b(?:{_TOO}))(?=.*\b(?:{_SIZE})\b)|{_SIZE_IN_CHINESE}"
# These can be of the wrong size too, but a smaller batch does not cure them. Chinese: dimension.
_SPEAKS_OF_A_FIELD = (
    r"(?i)dimension|encoding_format|task_type|input_type|\btitle\b|\u7ef4[\u5ea6\u6570]"
)

# A 5xx is one of size only when it names the request's own size. Its other limits (of time,
# connections, requests, memory) are the server's, and repeating may help.
_OWN_SIZE = (
    r"(?is)"
    r"invalid input length|only supports? (?:one|a single|1) input|message larger than max|"
    # PyTorch's, of a text that is longer than a model of BERT's kind has positions for.
    r"index out of range in self|size of tensor a \(\d+\) must match the size of tensor b|"
    r"(?=.*\b(?:too (?:large|long|many|big)|exceed|max(?:imum)?\b|at most|"
    r"limit(?:ed)? (?:is|of|to)|(?:larger|greater|more|longer|less|fewer) than|"
    r"(?:length|size|count) (?:of )?\d+ ?>))"
    r"(?=.*\b(?:tokens?|inputs?|texts?|batch|array|characters?|length|sequence|prompt|payload|body|"
    r"content|entity|request (?:is )?too (?:large|long|big))\b)|" + _SIZE_IN_CHINESE
)
_SERVER_LIMIT = (
    r"(?i)"
    r"deadline|time-?out|timed out|time limit|retries|connections?\b|concurren|requests\b|queue|"
    r"attempts|overload|rate.?limit|per[ -]?(?:second|minute|hour|day)|quota|memory|header|"
    # Chinese: time-out, concurrency, frequency, limited rate, quota, too many requests, memory.
    r"\u8d85\u65f6|\u5e76\u53d1|\u9891|\u9650\u6d41|\u914d\u989d|\u8bf7\u6c42(?:\u8fc7\u591a|\u6570|\u6b21\u6570)|\u5185\u5b58|\u663e\u5b58|\u6bcf[\u79d2\u5206\u65e5]"
)

_USED = r"(?i)\bused:? *\d"
_LIMIT = r"(?i)\blimit:? *([\d,_]+)"
_REQUESTED = r"(?i)\brequested:? *([\d,_]+)"
_TOO_LARGE = (
    r"(?is)"
    r"\btoo large\b|"
    r"(?=.*\b(?:max(?:imum)?\b|at most|exceed|too many|more than))"
    r"(?=.*\b(?:tokens?|inputs?|texts?|items?)\b)"
    r".*\b(?:per|in (?:a|one|the|this)(?: single)?) (?:request|batch|call)\b"
)

# Codes and types by which a server says that the account has to be changed first.
_QUOTA_CODES = (
    r"(?i)"
    r"insufficient[_ ]?(?:user[_ ]?)?(?:quota|balance|funds|credits?)|billing[_ ]?hard[_ ]?limit|"
    r"billing[_ ]?not[_ ]?active|free[_ ]?tier[_ ]?only|quota[_ ]?exhausted|arrearage"
)
_QUOTA_WORDS = (
    r"(?is)"
    r"(?:ran|run|running) out of (?:funds|credits?|balance|quota)|out of (?:funds|credits)|"
    r"balance (?:is )?(?:too low|used up|exhausted|insufficient|not enough)|"
    r"not enough (?:funds|credits|balance|quota)|exceeded your current quota|billing hard limit|"
    r"free[ -](?:tier|quota|allowance|credits?|plan|trial)\b.*"
    r"\b(?:used up|exhausted|exceeded|reached|expired|over|spent)|"
    r"(?:used up|exhausted|exceeded|reached|spent)\b.*\bfree[ -]"
    r"(?:tier|quota|allowance|credits?|plan|trial)"
)
_SOON = (
    r"(?i)"
    r"per[ -]?(?:min|sec)|/ ?min\b|\b[rt]pm\b|(?:retry|try again) (?:in|after)\b|retryDelay|"
    r"rate.?limit|too many requests|slow down"
)
_ACCOUNT_STATUSES = frozenset({402, 403, 429})
# These speak of the key, the account, the address, the moment or the headers, and of no content.
_NOT_OF_CONTENT = frozenset({401, 402, 403, 404, 407, 408, 409, 425, 431})


def is_too_large(status: int, message: str) -> bool:
    """Tell whether a reply refuses the request for its size, whatever status it says that with."""
    if status == 413:
        return True
    if status == 429:
        return _exceeds_its_limit(message)
    if 400 <= status < 500 and status not in _NOT_OF_CONTENT:
        return speaks_of_size(message)
    if status >= 500:
        return re.search(_OWN_SIZE, message) is not None and not re.search(_SERVER_LIMIT, message)
    return False


def speaks_of_size(message: str) -> bool:
    """Tell whether a refusal of the request's content can be cured by a smaller request."""
    return bool(re.search(_SPEAKS_OF_SIZE, message)) and not re.search(_SPEAKS_OF_A_FIELD, message)


def speaks_of_the_encoding(message: str) -> bool:
    """Tell whether a refusal of the request is about the form in which vectors were asked for."""
    return re.search(r"(?i)encoding[ _-]?format|base-?64", message) is not None


def _exceeds_its_limit(message: str) -> bool:
    """Tell whether a 429 refuses a request that is larger than the whole budget.

    OpenAI: "Request too large for ... (TPM): Limit 400, Requested 1040". A budget that others have
    used is "Rate limit reached for ...: Limit 400, Used 300, Requested 200", and waiting helps.
    """
    if re.search(_USED, message):
        return False
    limit, requested = re.search(_LIMIT, message), re.search(_REQUESTED, message)
    exceeded = limit and requested and _whole(requested[1]) > _whole(limit[1])
    return bool(exceeded or re.search(_TOO_LARGE, message))


def _whole(digits: str) -> int:
    return int(re.sub(r"\D", "", digits) or 0)


def quota_exhausted(status: int, found: ErrorBody, retry_after: float | None) -> bool:
    if status not in _ACCOUNT_STATUSES:
        return False
    error = found.data.get("error") if isinstance(found.data, dict) else None
    places = [place for place in (found.data, error) if isinstance(place, dict)]
    named = [place.get(key) for place in places for key in ("code", "type", "status", "name")]
    if any(
        re.search(_QUOTA_CODES, text) for text in (found.message, *named) if isinstance(text, str)
    ):
        return True
    if retry_after or not re.search(_QUOTA_WORDS, found.message):
        return False
    # Google words a budget per minute like a quota that is used up, and says when to come back.
    details = [place.get("details") for place in places]
    return not re.search(_SOON, found.message) and not re.search(_SOON, str(details))


def reason(message: str) -> str:
    """Reduce a server's message to what two refusals for one reason have in common.

    Quoted parts, ids and numbers differ from text to text; they are left out.
    """
    for pattern in _VARYING:
        message = re.sub(pattern, "", message)
    return " ".join(message.lower().split())


_VARYING = (
    # A quotation that the cut of a long message left open ends with the message.
    r'"[^"]*(?:"|$)|“[^”]*(?:”|$)|«[^»]*(?:»|$)|`[^`]*(?:`|$)',
    r"(?<!\w)'[^']*(?:'|$)",  # no apostrophe, as in "doesn't"
    r"(?i)\b[0-9a-f]{8,}\b|\b(?=[\w-]*\d)[\w-]{6,}\b",  # ids
    r"\d+",
)
