"""Where a worker's spans go: the OpenTelemetry SDK, exporting by OTLP over HTTP.

The SDK reads its own variables: `OTEL_EXPORTER_OTLP_ENDPOINT` says where to, `OTEL_BSP_…` in what
portions. Without the extra `telemetry` there is none of it.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from mallku_contracts.errors import ConfigurationError
from mallku_workers.observing.observer import Observer

if TYPE_CHECKING:  # an extra
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

NAME: Final = "mallku_workers"
"""The instrumentation's name."""

SERVICE: Final = "mallku-gateway"

PARTING_S: Final = 1.0
"""What sending the last spans may take at the end, seconds."""

_MISSING: Final = (
    "MALLKU_WORKER_TRACING is set, and OpenTelemetry is not there:"
    " pip install 'mallku-gateway[telemetry]'"
)


async def open_spans(worker: str, ratio: float, stack: AsyncExitStack) -> Observer:
    """What makes spans of commands; the last ones are sent when the stack is taken down.

    Args:
        ratio: How many of those commands are sampled that bring no trace of their caller's; the
            others are when their caller's is.

    Raises:
        ConfigurationError: the extra is missing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from mallku_workers.observing.spans import Spans
    except ModuleNotFoundError:
        raise ConfigurationError(_MISSING) from None
    provider, batches = make_provider(OTLPSpanExporter(), worker, ratio)
    stack.push_async_callback(_part, provider)
    tracer = provider.get_tracer(NAME, version("mallku-gateway"))
    return Spans(tracer, batches, worker, roots=ratio > 0)


def make_provider(
    exporter: SpanExporter, worker: str, ratio: float
) -> tuple[TracerProvider, SpanProcessor]:
    """The SDK, put together: sampled by the parent or by ratio, exported in batches."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create({"service.name": SERVICE, "service.instance.id": worker})
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)), resource=resource, shutdown_on_exit=False
    )
    batches = BatchSpanProcessor(exporter)
    provider.add_span_processor(batches)
    return provider, batches


async def _part(provider: TracerProvider) -> None:
    """Send what is left; a collector that does not answer must not keep the worker from ending."""
    sending = threading.Thread(target=provider.shutdown, name="last-spans", daemon=True)
    sending.start()
    await asyncio.to_thread(sending.join, PARTING_S)
