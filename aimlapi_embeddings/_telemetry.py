"""What OpenTelemetry is told of a call: a span, a child span for each request, two metrics.

How this works: spans and metrics go to whatever provider the program has set up. No program can set
one up without importing OpenTelemetry's API, so nothing is imported before the program has: until
then a call costs two look-ups in `sys.modules`. With the API alone spans do not record, and nothing
is gathered for them.

Names are those of the semantic conventions for generative AI 1.41.0, the last that were published.
They are still in development, since then in a repository of their own, where other names for the
metrics of embeddings are proposed: https://github.com/open-telemetry/semantic-conventions-genai
(read 2026-11-26). Names that the conventions do not have begin with `aimlapi_embeddings.`.
Spans: https://github.com/open-telemetry/semantic-conventions/blob/v1.41.0/docs/gen-ai/gen-ai-spans.md
Metrics: https://github.com/open-telemetry/semantic-conventions/blob/v1.41.0/docs/gen-ai/gen-ai-metrics.md

No text, title, vector or key is told, and no message of an error, since it may quote a text.

OpenTelemetry's SDK passes on what a processor or sampler of the program raises
(https://github.com/open-telemetry/opentelemetry-python/issues/5624). That is logged here, and no
call fails of it: its vectors may be paid for already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from types import TracebackType
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

from aimlapi_embeddings._errors import APIStatusError
from aimlapi_embeddings._log import TELEMETRY
from aimlapi_embeddings._types import Served, Usage
from aimlapi_embeddings._version import __version__

_SCOPE = "aimlapi_embeddings"
_PRIVATE = "aimlapi_embeddings._"  # modules whose classes no user knows
_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Bucket boundaries that the conventions recommend: 0.01, 0.02, ... 81.92 s; 1, 4, ... 4**13 tokens.
_SECONDS = tuple(0.01 * 2**i for i in range(14))
_TOKENS = tuple(4**i for i in range(14))
# Most ids of replies on the span of a call. Each request's own span has its id in any case.
_MOST_IDS = 100

P = ParamSpec("P")
T = TypeVar("T")


def _harmless(tell: Callable[P, T]) -> Callable[P, T | None]:
    """Log what a function raises, and return None in its place."""

    @wraps(tell)
    def told(*args: P.args, **options: P.kwargs) -> T | None:
        try:
            return tell(*args, **options)
        except Exception as error:
            kind = type(error).__name__
            TELEMETRY.warning("OpenTelemetry failed in %s: %s: %s", tell.__name__, kind, error)
            return None

    return told


class _Spans(NamedTuple):
    """OpenTelemetry's API for spans. It is not a dependency, so its types are not known here."""

    trace: Any
    context: Any
    tracer: Any


class _Metrics(NamedTuple):
    meter: Any  # held, since a provider that is set up later finds the instruments through it
    duration: Any
    tokens: Any


class Telemetry:
    """Tells of all calls of one client.

    Args:
        provider: The name of the API.
        model: The id that is asked for.
        url: Of the endpoint.
        dimensions: Numbers of each vector, where that is known.
    """

    def __init__(self, provider: str, model: str, url: str, dimensions: int | None) -> None:
        self._provider, self._model, self._url = provider, model, url
        self._dimensions = dimensions
        self._spans: _Spans | None = None
        self._metrics: _Metrics | None = None

    def begin(self, encoding_format: str | None) -> Trace | None:
        """Begin to tell of a call; None when nothing receives it.

        Args:
            encoding_format: That is asked for, or None.
        """
        modules = sys.modules
        if self._spans is None and "opentelemetry.trace" in modules:
            self._spans = _find_spans()
        if self._metrics is None and "opentelemetry.metrics" in modules:
            self._metrics = _find_metrics()
        if self._spans is None and self._metrics is None:
            return None
        return self._begin(encoding_format)

    @_harmless
    def _begin(self, encoding_format: str | None) -> Trace:
        parts = urlsplit(self._url)
        common = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": self._provider,
            "gen_ai.request.model": self._model,
            "server.address": parts.hostname or "",
            "server.port": parts.port or _DEFAULT_PORTS[parts.scheme],
        }
        asked: dict[str, Any] = {}
        if self._dimensions is not None:
            asked["gen_ai.embeddings.dimension.count"] = self._dimensions
        if encoding_format is not None:
            asked["gen_ai.request.encoding_formats"] = (encoding_format,)
        return Trace(self._spans, self._metrics, common, asked)


def _find_spans() -> _Spans:
    # An import statement, since another thread may not be through with its own import yet.
    from opentelemetry import context, trace

    # A program may set up its provider later: the API's own tracer looks for it each time.
    return _Spans(trace, context, trace.get_tracer(_SCOPE, __version__, schema_url=_SCHEMA))


def _find_metrics() -> _Metrics:
    from opentelemetry import metrics

    meter = metrics.get_meter(_SCOPE, __version__, schema_url=_SCHEMA)
    return _Metrics(
        meter,
        meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        ),
        meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        ),
    )


class Trace:
    """One call, from its making to its `end`; used by all threads or tasks of the call.

    As a context manager it is active in the block and ends with it. What is not one block, such as
    a generator, is `active` where it starts requests, and calls `end` itself.

    Args:
        spans: Where the program has imported the API for spans.
        metrics: Where it has imported that for metrics.
        common: Attributes of the span and of both metrics.
        asked: Further ones of the span.
    """

    def __init__(
        self,
        spans: _Spans | None,
        metrics: _Metrics | None,
        common: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> None:
        self._spans, self._metrics = spans, metrics
        self._common = common
        self._served: dict[str, Any] = {}
        self._tokens = 0
        self._context: Any = None
        self._span: Any = None  # only where it records
        self._ended = False
        self._started = time.perf_counter()
        if spans is None:
            return
        # All at the start, so that samplers can decide by them.
        span = spans.tracer.start_span(
            f"embeddings {common['gen_ai.request.model']}",
            kind=spans.trace.SpanKind.CLIENT,
            attributes={**common, **asked},
        )
        if span.get_span_context().is_valid:
            self._context = spans.trace.set_span_in_context(span)
        if span.is_recording():
            self._span = span

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make its span the current one: of this context, and of threads and tasks it starts."""
        if self._spans is None or self._context is None:
            yield
            return
        token = self._spans.context.attach(self._context)
        try:
            yield
        except GeneratorExit:
            token = None  # a coroutine was thrown away, perhaps in another context
            raise
        finally:
            if token is not None:
                self._spans.context.detach(token)

    def __enter__(self) -> Self:
        self._block = self.active()
        self._block.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._block.__exit__(kind, error, traceback)
        self.end(error)

    @_harmless
    def request(
        self, texts: int, tokens: int, client_request_id: str, resent: int
    ) -> RequestTrace | None:
        """Begin the span of a request; None where it would not be recorded.

        Args:
            texts: That it carries.
            tokens: Estimated, of all texts.
            client_request_id: What the request is called by us.
            resent: How many attempts preceded this one.
        """
        if self._spans is None or self._span is None:
            return None
        attributes: dict[str, Any] = {
            "aimlapi_embeddings.texts": texts,
            "aimlapi_embeddings.estimated_tokens": tokens,
            "aimlapi_embeddings.client_request_id": client_request_id,
        }
        if resent:
            attributes["http.request.resend_count"] = resent
        # Not a client span: where httpx is instrumented too, that of the exchange is one.
        span = self._spans.tracer.start_span(
            "embeddings request", context=self._context, attributes=attributes
        )
        return RequestTrace(self._spans, span)

    @_harmless
    def waits(self, why: str, seconds: float, counted: int) -> None:
        """Note that a request will be repeated.

        Args:
            why: The status, or the kind of the error.
            seconds: Until then.
            counted: Retries used, this one included where it counts.
        """
        # A request may outlive its call: OpenTelemetry warns of events of a span that has ended.
        # No lock is held for this, since `end` may run in a finalizer, or after a fork.
        if self._span is not None and not self._ended:
            attributes = {
                "aimlapi_embeddings.reason": why,
                "aimlapi_embeddings.wait": seconds,
                "aimlapi_embeddings.retries_used": counted,
            }
            self._span.add_event("aimlapi_embeddings.retry", attributes)

    @_harmless
    def sum_up(self, texts: int, usage: Usage, served: Served, request_ids: Sequence[str]) -> None:
        """Note what the call has brought so far.

        Args:
            texts: Of the call.
            usage: What it cost.
            served: Who answered.
            request_ids: The server's, of replies with vectors.
        """
        self._tokens = usage.prompt_tokens
        if served.model is not None:
            self._served = {"gen_ai.response.model": served.model}
        if self._span is None:
            return
        attributes: dict[str, Any] = {
            **self._served,
            "aimlapi_embeddings.texts": texts,
            "aimlapi_embeddings.requests": usage.requests,
            "aimlapi_embeddings.retries": usage.retries,
        }
        if usage.prompt_tokens:
            attributes["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        if usage.cached:
            attributes["aimlapi_embeddings.cached"] = usage.cached
        if usage.usd_spent:
            attributes["aimlapi_embeddings.usd_spent"] = usage.usd_spent
        if served.provider is not None:
            attributes["aimlapi_embeddings.provider_served"] = served.provider
        if request_ids:
            attributes["aimlapi_embeddings.request_ids"] = tuple(request_ids[:_MOST_IDS])
        self._span.set_attributes(attributes)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and record the metrics; once, whatever comes later.

        Args:
            error: What ended the call, a cancellation too.
        """
        if self._ended:
            return
        self._ended = True
        seconds = time.perf_counter() - self._started
        failed = {} if error is None else {"error.type": error_type(error)}
        if self._spans is not None and self._span is not None:
            _end(self._spans, self._span, failed)
        if self._metrics is not None:
            self._record(self._metrics, seconds, failed)

    @_harmless
    def _record(self, metrics: _Metrics, seconds: float, failed: Mapping[str, str]) -> None:
        about = {**self._common, **self._served}
        metrics.duration.record(seconds, {**about, **failed}, self._context)
        # What a failed call has spent counts too. No count at all means that none was told.
        if self._tokens:
            about["gen_ai.token.type"] = "input"
            metrics.tokens.record(self._tokens, about, self._context)


class RequestTrace(NamedTuple):
    """The span of one request."""

    spans: _Spans
    span: Any

    @_harmless
    def end(
        self, status: int | None, request_id: str | None, error: BaseException | str | None
    ) -> None:
        """End it.

        Args:
            status: Of the reply, or None.
            request_id: The server's.
            error: Why it brought no vectors, or None.
        """
        if status is not None:
            self.span.set_attribute("http.response.status_code", status)
        if request_id is not None:
            self.span.set_attribute("aimlapi_embeddings.request_id", request_id)
        kind = error_type(error) if isinstance(error, BaseException) else error
        _end(self.spans, self.span, {} if kind is None else {"error.type": kind})


@_harmless
def _end(spans: _Spans, span: Any, failed: Mapping[str, str]) -> None:
    if failed:
        span.set_attributes(failed)
        span.set_status(spans.trace.StatusCode.ERROR)
    span.end()


def error_type(error: BaseException) -> str:
    """Name an error by the status that the server answered, else by its public class."""
    if isinstance(error, APIStatusError) and error.status_code:
        return str(error.status_code)
    kind = next(k for k in type(error).__mro__ if not k.__module__.startswith(_PRIVATE))
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"
