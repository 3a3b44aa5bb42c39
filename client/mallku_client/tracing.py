"""Spans of calls (OpenTelemetry), below whatever span the caller's own code is in.

Off, which is the default, nothing of it is imported. On, there is a span for the call, and one for
each attempt on the bus, whose `traceparent` (W3C Trace Context) travels in the message's headers:
the worker's spans continue it. What becomes of spans is for the process to say, with the
OpenTelemetry SDK that it sets up.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mallku_client.signer import trace_headers
from mallku_contracts.errors import ConfigurationError, MallkuError

if TYPE_CHECKING:  # an extra
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from mallku_client.signer import Command, SealedCommand

NAME: Final = "mallku_client"
"""The instrumentation's name."""

_MISSING: Final = (
    "MALLKU_TRACING is set, and the OpenTelemetry API is not there:"
    " pip install 'mallku-gateway[telemetry]'"
)


class Tracing:
    """Makes the spans of one client; `ConfigurationError` names the extra where it is missing.

    Args:
        tracer: Instead of the process's own.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError:
            raise ConfigurationError(_MISSING) from None
        self._trace = trace
        self._tracer = tracer or trace.get_tracer(NAME)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(self, command: Command) -> Generator[None]:
        """The span of a call, with all of its attempts in it; below the trace that it came with."""
        subject = command.subject
        attributes: dict[str, str | bool] = {
            "db.system.name": "mallku",
            "db.namespace": subject.database,
            "db.collection.name": subject.collection,
            "db.operation.name": subject.operation,
            "mallku.principal": subject.principal,
            "mallku.id": command.first_id,
        }
        came = trace_headers(command)
        parent = self._propagator.extract(came) if came else None
        with self._span(f"mallku {subject.operation}", attributes, parent=parent):
            yield

    @contextmanager
    def attempt(self, sealed: SealedCommand, number: int) -> Generator[Mapping[str, str]]:
        """The span of one attempt on the bus; gives the headers that carry it on."""
        attributes: dict[str, str | int] = {
            "messaging.system": "nats",
            "messaging.operation.type": "send",
            "messaging.destination.name": sealed.subject,
            "messaging.message.id": sealed.id,
            "messaging.message.body.size": len(sealed.payload),
            "mallku.attempt": number,
        }
        with self._span("mallku send", attributes, client=True):
            headers: dict[str, str] = {}
            self._propagator.inject(headers)
            yield headers

    @contextmanager
    def _span(
        self,
        name: str,
        attributes: Mapping[str, str | int | bool],
        *,
        client: bool = False,
        parent: Context | None = None,
    ) -> Generator[Span]:
        """A span that says how it ended: by the code of an error, never by its message."""
        kinds = self._trace.SpanKind
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind=kinds.CLIENT if client else kinds.INTERNAL,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                code = error.code if isinstance(error, MallkuError) else type(error).__name__
                span.set_attribute("error.type", code)
                span.set_status(self._trace.StatusCode.ERROR, code)
                raise
