"""Which refusals are for size, whatever their status."""

from __future__ import annotations

import pytest

from aimlapi_embeddings._protocol.wording import is_too_large

GROQ = (
    "Request too large for model `m` in organization `org_01` service tier `on_demand` on tokens "
    "per minute (TPM): Limit 6000, Requested 9000, please reduce your message size and try again."
)
TOO_LARGE = [
    (413, ""),
    (413, "whatever"),
    (400, "Too many inputs. The max number of inputs is 1."),
    (422, "batch size 100 > maximum allowed batch size 10"),
    (500, "invalid input length, zhipu only support one input (request id: 1)"),
    (500, "input (992 tokens) is too large to process. increase the physical batch size (current "
     "batch size: 512)"),
    (500, "the input length exceeds the context length"),
    (500, "This model's maximum context length is 512 tokens. However, you requested 600"),
    (500, "Input length 600 exceeds maximum allowed token size 512"),
    (500, "Token indices sequence length is longer than the specified maximum (600 > 512)"),
    (502, "upstream said: Request Entity Too Large"),
    (503, "input is too large to process"),
    (500, "grpc: received message larger than max (5000000 vs. 4194304)"),
    (429, "Request too large for text-embedding-3-small on tokens per min (TPM): Limit 400, "
     "Requested 1040."),
    (429, GROQ),
    (429, "Too many inputs in one request: at most 10"),
    (429, "The maximum number of tokens per request is 8000"),
    (500, "inputs must have less than 10 texts"),
    (500, "Batch limit is 10 texts"),
    (500, "sequence length 600 > 512"),
    (500, "index out of range in self"),
    (500, "The size of tensor a (600) must match the size of tensor b (512) at non-singleton "
     "dimension 1"),
    (500, "\u6279\u91cf\u5927\u5c0f\u8d85\u8fc7\u6700\u5927\u9650\u523610"),  # the batch exceeds 10
    (503, "\u8f93\u5165\u8fc7\u957f"),  # the input is too long
    (400, "\u8f93\u5165\u8fc7\u957f"),
    (422, "\u6279\u91cf\u5927\u5c0f\u8d85\u8fc7\u6700\u5927\u9650\u523610"),
    (406, "too many inputs"),
    (412, "batch too large"),
    (424, "batch size 40 exceeds 10"),
    (460, "the payload is too large"),
    (429, "Request too large."),
    (429, "on tokens per min. Limit: 40,000 / min. Requested: 50,000."),
]  # fmt: skip
NOT_TOO_LARGE = [
    (400, "Bad Request"),
    (400, "dimensions must be less than or equal to 1536"),
    (400, "\u7ef4\u5ea6\u8d85\u8fc7\u6700\u5927\u957f\u5ea6"),  # dimensions exceed the maximum
    (429, ""),
    (429, "Rate limit reached for text-embedding-3-small on tokens per min (TPM): Limit 1000000, "
     "Used 990000, Requested 20000. Please try again in 600ms."),
    (429, "Rate limit reached for m on tokens per min (TPM): Limit 400, Used 300, Requested 500."),
    (429, "too many tokens per minute"),
    (429, "the maximum number of inputs per minute is 100"),
    (429, "You have waited too long"),
    (429, "Limit 1000, Requested 1000"),
    (500, ""),
    (500, "Internal Server Error"),
    (500, "context deadline exceeded"),
    (503, "The server is overloaded: too many requests"),
    (503, "Too many concurrent inputs"),
    (500, "Max retries exceeded with url: /v1/embeddings while sending the body"),
    (504, "upstream request timeout: the input exceeded the time limit"),
    (500, "maximum number of connections for this batch reached"),
    (502, "upstream sent too big header while reading the response, length 5000"),
    (503, "The batch queue is full: at most 64 elements"),
    (500, "Maximum tokens per minute exceeded"),
    (500, "inference failed for input 3"),
    # Too many requests at once.
    (500, "\u8bf7\u6c42\u8fc7\u591a\uff0c\u8d85\u8fc7\u6700\u5927\u5e76\u53d1"),
    (503, "\u8f93\u5165\u6392\u961f\u8d85\u65f6"),  # the input waited too long in a queue
    (503, "the batch was served less than once per second"),
    (431, "Request Header Fields Too Large: length 9000"),
    (407, "too many tokens"),
    (409, "input too large"),
    (401, "too many tokens"),
    (403, "too many tokens"),
    (404, "input too large"),
    (408, "input too large"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message"), TOO_LARGE)
def test_a_refusal_that_asks_for_a_smaller_request_is_for_size(status: int, message: str) -> None:
    assert is_too_large(status, message)


@pytest.mark.parametrize(("status", "message"), NOT_TOO_LARGE)
def test_any_other_refusal_is_not_for_size(status: int, message: str) -> None:
    assert not is_too_large(status, message)
