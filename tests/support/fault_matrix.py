"""The fault matrix: one row for each fault of a server or connection, with its outcome.

Unless a row says otherwise, eight texts are embedded, two a request, one request at a time, with
three retries, and the fault happens to the second request. `tests/faults/test_fault_matrix.py` runs
each row, and the README lists them all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate

from aimlapi_embeddings import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReplyError,
    RequestTooLargeError,
)
from aimlapi_embeddings.emulator import Fault, Reply, faults
from tests.support.entry_points import GOOGLE, OPENAI, Clock
from tests.support.fault_rows import (
    FIRST_TWO,
    RETRIES,
    TIMEOUT,
    Row,
    at_most,
    at_most_tokens,
    cured,
    dislikes,
    final,
    jitter,
    lasting,
    refusal,
    vectors,
)

NOW = Clock().time()
WORD = "no such luck"
FASTAPI = [{"loc": ["body", "input"], "msg": WORD, "type": "value_error"}]
WORDS: Mapping[str, bytes] = {
    **{
        place: json.dumps(body).encode()
        for place, body in {
            "`message`": {"message": WORD},
            "`error.message`": {"error": {"message": WORD, "type": "x"}},
            "`error`": {"error": WORD},
            "`detail`": {"detail": WORD},
            "a list in `detail`": {"detail": FASTAPI},
            "`title`": {"title": WORD, "status": 403},
            "JSON inside `message`": {"message": json.dumps({"error": {"message": WORD}})},
        }.items()
    },
    "plain text": WORD.encode(),
    "a web page": f"<html><title>{WORD}</title><body>x</body></html>".encode(),
}
WHOLE = ".*2 texts from 2 to 3 of 8"
UNUSABLE = r"vector 1 of the reply holds NaN, infinity or null\. \[text 3 of 8, "
BROKEN: Mapping[str, tuple[Callable[[Reply], Reply], str]] = {
    "one too few": (faults.one_short, f"but 1 vectors came back{WHOLE}"),
    "one too many": (faults.one_long, f"but 3 vectors came back{WHOLE}"),
    "one index twice": (faults.doubled_index, f"indexes are not 0 to 1, each once{WHOLE}"),
    "null": (faults.null_embedding, r"vector 1 of the reply is empty or null\. \[text 3 of 8, "),
    "one shorter than the others": (
        faults.ragged,
        f"has 7 numbers, but 8 were expected{WHOLE}",
    ),
    "all shorter than asked for": (
        faults.narrower,
        f"has 7 numbers, but 8 were expected{WHOLE}",
    ),
    "NaN": (faults.with_nan, UNUSABLE),
    "infinity": (faults.with_infinity, UNUSABLE),
}
ODD_BASE64 = (
    faults.odd_base64,
    f"is 5 bytes long, not four for each number{WHOLE}",
)
UNREADABLE = {
    "a web page": faults.html,
    "nothing": faults.empty,
    "half of the JSON": faults.cut_short,
    "gzip cut short": faults.gzip_cut_short,
    "a `Content-Length` that is too small": faults.understated_length,
}
MANY = 1000
POISON = 777
SERVER_ERRORS = (500, 502, 503, 504)

MATRIX: tuple[Row, ...] = (
    Row(
        what="connection refused",
        how="for ever",
        server=None,
        error=APIConnectionError,
        says=r"check base_url.*4 attempts",
        requests=0,  # nothing was sent
        wait=jitter(RETRIES),
    ),
    *(
        cured("connection reset", how, Fault(drop=drop))
        for how, drop in (
            ("before the headers", "before_headers"),
            ("within them", "in_headers"),
            ("after them", "after_headers"),
            ("within the body", "in_body"),
        )
    ),
    *(
        cured("connection closed", how, Fault(drop=drop, reset=False))
        for how, drop in (
            ("before the headers", "before_headers"),
            ("within them", "in_headers"),
            ("within the body", "in_body"),
        )
    ),
    Row(what="connection closed", how="after each reply", faults=[Fault(close=True)] * 4),
    cured("`Content-Length`", "too large", Fault(reshape=faults.overstated_length)),
    cured("no reply in time", "once", Fault(hang=True), timeouts=1, options={"timeout": TIMEOUT}),
    lasting(
        "no reply in time",
        "for ever (`max_retries=1`)",
        Fault(hang=True),
        APITimeoutError,
        says=r"within 0\.2 s.*raise timeout.*2 attempts",
        options={"timeout": TIMEOUT, "max_retries": 1},
        # Two texts twice, then, since they may be too large a request, one of them twice.
        requests=1 + 2 + 2,
        retries=1 + 1,
        timeouts=4,
        wait=(0.0, 2 * jitter(1)[1]),
    ),
    cured("429 with `Retry-After`", "seconds", Fault(429, retry_after="7"), wait=(7.0, 7.0 * 1.25)),
    cured(
        "429 with `Retry-After`",
        "a date",
        Fault(429, retry_after=formatdate(NOW + 30, usegmt=True)),
        wait=(29.0, 30.0 + 5.0),
    ),
    final(
        "429 with `Retry-After`",
        "absurdly large",
        Fault(429, retry_after="86400"),
        RateLimitError,
        "raise max_retry_wait",
    ),
    cured("429", "once", Fault(429)),
    lasting(
        "429",
        "for ever",
        Fault(429),
        RateLimitError,
        # The first refusal follows a success: it costs no retry, and its wait is short.
        faults=[None, *[Fault(429)] * (RETRIES + 2)],
        says=f"{RETRIES + 2} attempts",
        requests=1 + RETRIES + 2,
        retries=RETRIES + 1,
        wait=(1.0 + 4.0 + 10.0, 0.5 + 1.25 * (1.0 + 4.0 + 10.0)),
    ),
    Row(
        what="429",
        how="24 times for 16 requests",
        faults=[Fault(429)] * 24,
        texts=16,
        options={"batch_size": 1, "max_concurrency": 8, "max_retries": 99},
        requests=16 + 24,
        retries=24,
        wait=(0.0, 24 * 20.0),
    ),
    *(cured("server error, once", str(status), Fault(status)) for status in SERVER_ERRORS),
    *(
        cured("server error, three times", str(status), *[Fault(status)] * 3)
        for status in SERVER_ERRORS
    ),
    *(
        lasting("server error, for ever", str(status), Fault(status), InternalServerError)
        for status in SERVER_ERRORS
    ),
    final("refused midway", "401", Fault(401), AuthenticationError, "Check api_key"),
    final("refused midway", "403", Fault(403), PermissionDeniedError, "Top up"),
    Row(
        what="404",
        how="the model was withdrawn",
        server={"withdrawn": frozenset({OPENAI})},
        error=NotFoundError,
        says="a model that was withdrawn",
        requests=1,
    ),
    Row(what="413", how="for two texts", faults=[None, Fault(413, body=b"")], requests=1 + 1 + 6),
    Row(
        what="413",
        how="for one text",
        faults=[Fault(413, body=b"")],
        texts=1,
        error=RequestTooLargeError,
        says="Shorten the text",
        requests=1,
    ),
    Row(
        what="400",
        how="more than 10 texts, for 100",
        server={"judge": at_most(10)},
        texts=100,
        options={"batch_size": None},
        requests=4 + 20,
    ),
    Row(
        what="400",
        how="more than 40 tokens, for 200",
        server={"judge": at_most_tokens(40, refusal(400, "at most 40 tokens are allowed"))},
        texts=100,
        options={"batch_size": None},
        requests=3 + 11,
    ),
    Row(
        what="400",
        how="one bad text of 1,000",
        server={"judge": dislikes(f"text {POISON}")},
        texts=MANY,
        options={"batch_size": None},
        error=BadRequestError,
        says=f"cannot be embedded.*text {POISON} of 1000, 'text {POISON}'",
        requests=1 + 20,
        kept=frozenset(range(MANY)) - {POISON},
    ),
    *(
        final(
            "403 with its reason in",
            place,
            Fault(403, body=body),
            PermissionDeniedError,
            rf"^403 Forbidden: (body\.input: )?{WORD} \[",
        )
        for place, body in WORDS.items()
    ),
    final(
        "403 with its reason in",
        "nothing",
        Fault(403, body=b"{}"),
        PermissionDeniedError,
        "403 Forbidden: the server gave no reason",
    ),
    *(
        final("instead of JSON", how, Fault(reshape=reshape), ReplyError, "Check base_url")
        for how, reshape in UNREADABLE.items()
    ),
    *(
        Row(
            what=f"vectors as {form}",
            how=how,
            faults=[None, Fault(reshape=reshape)],
            options={"model": model},
            error=ReplyError,
            says=says,
            requests=2,
            kept=FIRST_TWO,
        )
        for form, model, broken in (
            ("numbers", GOOGLE, BROKEN),
            ("base64", OPENAI, {**BROKEN, "five bytes": ODD_BASE64}),
        )
        for how, (reshape, says) in broken.items()
    ),
    final("vectors", "empty", vectors([], []), ReplyError, "vector 0 of the reply is empty"),
    final("vectors", "empty text", vectors("", ""), ReplyError, "vector 0 of the reply is empty"),
    final("vectors", "two bytes", vectors("AAA=", "AAA="), ReplyError, "is 2 bytes long"),
    Row(what="vectors", how="shuffled", faults=[Fault(reshape=faults.shuffled)] * 4),
    Row(
        what="vectors",
        how="numbers for base64",
        faults=[None, Fault(reshape=faults.as_floats)],
    ),
    Row(
        what="vectors",
        how="base64 for numbers",
        faults=[None, Fault(reshape=faults.as_base64)],
        options={"model": GOOGLE},
    ),
)
