"""What OpenTelemetry's SDK has collected. A process sets it up once, so all tests share it.

Outside of the tests that collect, no span is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler, SamplingResult

CALL = "embeddings "
REQUEST = "embeddings request"


class WhileCollecting(Sampler):
    """Samples everything while a test collects."""

    collecting = False

    def should_sample(self, *args: Any, **options: Any) -> SamplingResult:
        sampler = ALWAYS_ON if self.collecting else ALWAYS_OFF
        return sampler.should_sample(*args, **options)

    def get_description(self) -> str:
        return "WhileCollecting"


class Failing(SpanProcessor):
    """Raises where a test says so: the SDK passes on what a processor of the program raises."""

    at = ""

    def on_start(self, *args: Any, **options: Any) -> None:
        self._fail("on_start")

    def on_end(self, *args: Any) -> None:
        self._fail("on_end")

    def _fail(self, at: str) -> None:
        if at == self.at:
            raise RuntimeError("the processor failed")


class Collected:
    """Spans and metrics of one test."""

    def __init__(self, spans: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self._spans, self._reader = spans, reader
        self._before: dict[Any, int] = {}
        self.clear()

    def clear(self) -> None:
        """Forget what was collected so far."""
        self._spans.clear()
        self._before = {key: point.count for key, (_, point) in self._all_points().items()}

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended, in that order."""
        return list(self._spans.get_finished_spans())

    @property
    def calls(self) -> list[ReadableSpan]:
        """Those of calls."""
        return [s for s in self.spans if s.name.startswith(CALL) and s.name != REQUEST]

    @property
    def call(self) -> ReadableSpan:
        """That of the only call."""
        [call] = self.calls
        return call

    @property
    def requests(self) -> list[ReadableSpan]:
        """Those of requests."""
        return [s for s in self.spans if s.name == REQUEST]

    def points(self, metric: str) -> list[HistogramDataPoint]:
        """What was recorded of a metric; counts and sums are of the whole process."""
        return [
            point
            for key, (name, point) in self._all_points().items()
            if name == metric and point.count > self._before.get(key, 0)
        ]

    def __str__(self) -> str:
        """Everything that leaves the process."""
        shown = [span.to_json() for span in self.spans]
        return "\n".join([*shown, str(self._reader.get_metrics_data())])

    def _all_points(self) -> dict[Any, tuple[str, HistogramDataPoint]]:
        data = self._reader.get_metrics_data()
        return {
            (metric.name, tuple(sorted((point.attributes or {}).items()))): (metric.name, point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            if scope.scope.name == "aimlapi_embeddings"
            for metric in scope.metrics
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint)
        }


def attributes(span: ReadableSpan | HistogramDataPoint) -> Mapping[str, Any]:
    """Return the attributes of a span or of a point."""
    return span.attributes or {}


@cache
def _set_up() -> tuple[WhileCollecting, InMemorySpanExporter, InMemoryMetricReader]:
    sampler, exporter, reader = WhileCollecting(), InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider(sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(Failing())
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    return sampler, exporter, reader


@contextmanager
def collecting() -> Iterator[Collected]:
    """Collect until the end of the block."""
    sampler, exporter, reader = _set_up()
    sampler.collecting = True
    try:
        yield Collected(exporter, reader)
    finally:
        sampler.collecting = False
        exporter.clear()
