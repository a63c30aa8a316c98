"""In which other form is a refused part sent once more, before it is cut or held to be at fault?"""

from __future__ import annotations

from aimlapi_embeddings._engine import report
from aimlapi_embeddings._engine.planning import Batch, estimate_tokens
from aimlapi_embeddings._engine.refusals import Part
from aimlapi_embeddings._engine.runtime import Call
from aimlapi_embeddings._errors import BadRequestError, RequestTooLargeError
from aimlapi_embeddings._protocol.options import Options
from aimlapi_embeddings._protocol.request import fits_in_array
from aimlapi_embeddings._protocol.wording import speaks_of_the_encoding


def take_other_form(
    part: Part, failure: BadRequestError, encoding_format: str | None, call: Call
) -> bool:
    """Change the form of a refused part, or of all requests, to one that may be accepted.

    Args:
        part: What was refused.
        failure: Why.
        encoding_format: That was asked for.
        call: That the part belongs to.

    Returns:
        Whether there is such a form; then the part is sent once more.
    """
    runtime = call.runtime
    if encoding_format is not None and speaks_of_the_encoding(failure.message):
        runtime.limits.encoding_format = None  # it refuses base64: ask for numbers
        return True
    if isinstance(failure, RequestTooLargeError) and _has_string_form(part, runtime.options):
        part.as_string = True  # for which the server allows more
        return True
    return _shorten(part, failure, call)


def _shorten(part: Part, failure: BadRequestError, call: Call) -> bool:
    """Take less of the one text of a part, where it was refused for its length.

    A 429 speaks of what the account may send in a minute, and not of the model.
    """
    shortener, batch = call.shortener, part.batch
    if shortener is None or len(batch) > 1 or failure.status_code == 429:
        return False
    limit = call.runtime.options.model.max_tokens_per_text
    if not (isinstance(failure, RequestTooLargeError) or (limit and part.tokens > limit)):
        return False
    (place,), (refused,) = batch.indices, batch.texts
    begin = shortener.after_refusal(place, refused)
    if begin is None:
        return False
    sent = shortener.prefix + begin
    call.work.shorten(part, Batch([place], [sent], [estimate_tokens(sent)], batch.title))
    report.shortened(place, len(begin))
    return True


def _has_string_form(part: Part, options: Options) -> bool:
    """Tell whether one text that was refused in an array may be longer as a string."""
    limited = options.model.family.max_chars_in_array is not None
    return (
        len(part) == 1
        and limited
        and not part.as_string
        and fits_in_array(part.batch.texts[0], options.model)
    )
