"""Spans of commands (OpenTelemetry), made when a command is over, out of what its case holds.

While it passes, a command is timed anyhow: for its record. Nothing else is added to its way but,
where tracing is on, two looks at the clock around each request to the store.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from mallku_contracts.errors import MallkuError
from mallku_contracts.tracing import TraceParent, read_traceparent
from mallku_workers.message import Case
from mallku_workers.observing.stored import StoreRequest, taken_requests

STORE_STEPS: Final = ("remember", "execute")
"""The steps that may ask the store; its requests are shown within them."""

_NS_PER_US: Final = 1_000
_UNSET: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)
_ids: Final = RandomIdGenerator()


class Stage(NamedTuple):
    """One step with its begin and end, Unix nanoseconds."""

    name: str
    begin_ns: int
    end_ns: int


class Spans:
    """Makes a span for each command that is sampled, with one for each step; an `Observer`.

    Args:
        tracer: Decides what is sampled, and takes the spans of commands.
        processor: Takes those below them, which need no decision any more.
        worker: The worker's instance id.
        roots: Whether a command without a trace of its caller's may be sampled.
    """

    def __init__(
        self, tracer: Tracer, processor: SpanProcessor, worker: str, *, roots: bool
    ) -> None:
        self._tracer, self._processor = tracer, processor
        self._worker, self._roots = worker, roots

    def ended(self, case: Case, error: MallkuError | None) -> None:
        """Show the command, if it is sampled."""
        parent = read_traceparent(case.message.traceparent) if case.message.traceparent else None
        if parent is None and not self._roots:
            return
        stages = stages_of(case, time.time_ns())
        if not stages:
            return
        span = self._tracer.start_span(
            f"mallku {_verb(case)}",
            _above(parent),
            kind=SpanKind.CONSUMER if case.message.job else SpanKind.SERVER,
            start_time=stages[0].begin_ns,
        )
        if span.is_recording():
            span.set_attributes(self._attributes(case))
            _judge(span, error)
            if isinstance(span, ReadableSpan):
                self._show(Below(span), stages, case)
        span.end(stages[-1].end_ns)

    def _show(self, below: Below, stages: list[Stage], case: Case) -> None:
        """A span for each step, and in those for the store one for each request to it."""
        broke_off = case.broke_off and case.broke_off[0]
        requests = taken_requests()
        for stage in stages:
            step = below.step(stage, failed=stage.name == broke_off)
            for request in requests if stage.name in STORE_STEPS else ():
                if stage.begin_ns <= request.end_ns and request.begin_ns <= stage.end_ns:
                    self._processor.on_end(below.request(step, request))
            self._processor.on_end(step)

    def _attributes(self, case: Case) -> dict[str, AttributeValue]:
        """What is known by then; names that no policy let in are left out."""
        known: dict[str, AttributeValue] = {
            "messaging.system": "nats",
            "messaging.operation.type": "process",
            "messaging.message.body.size": len(case.message.data),
            "mallku.worker": self._worker,
        }
        if case.header is not None:
            known["mallku.id"] = case.header.id
            known["mallku.attempt"] = case.attempt(case.header)
        if case.identity is not None:
            known["mallku.principal"] = case.identity.principal
        if case.grant is not None and case.subject is not None:
            known["db.namespace"] = case.subject.database
            known["db.collection.name"] = case.subject.collection
        return known


class Below:
    """Makes the finished spans below one that is sampled: a tenth of what a tracer takes for each.

    Nothing is to be decided about them, nothing to be added later, and nobody has them meanwhile.
    """

    def __init__(self, above: ReadableSpan) -> None:
        self._above = above

    def step(self, stage: Stage, *, failed: bool) -> ReadableSpan:
        """The span of a step, right below the command's."""
        return self._made(stage, self._above, _FAILED if failed else _UNSET)

    def request(self, step: ReadableSpan, request: StoreRequest) -> ReadableSpan:
        """The span of a request to the store, below the step that made it."""
        known = {"db.system.name": request.store, "db.operation.name": request.operation}
        status = _UNSET
        if request.error:
            known["error.type"] = request.error
            status = Status(StatusCode.ERROR, request.error)
        stage = Stage(f"store {request.operation}", request.begin_ns, request.end_ns)
        return self._made(stage, step, status, SpanKind.CLIENT, known)

    def _made(
        self,
        stage: Stage,
        parent: ReadableSpan,
        status: Status,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: dict[str, str] | None = None,
    ) -> ReadableSpan:
        above = parent.get_span_context()
        return ReadableSpan(
            stage.name,
            above and _beside(above),
            above,
            resource=self._above.resource,
            attributes=attributes,
            kind=kind,
            status=status,
            start_time=stage.begin_ns,
            end_time=stage.end_ns,
            instrumentation_scope=self._above.instrumentation_scope,
        )


def stages_of(case: Case, now_ns: int) -> list[Stage]:
    """Each step of a case that is over `now_ns` with its begin and end, in order.

    Times are the wall clock's at the end and the steps' own durations before it.
    """
    took = [*case.steps.items()]
    if case.broke_off is not None:
        took.insert(len([name for name in case.steps if name != "reply"]), case.broke_off)
    begin_ns = now_ns - sum(microseconds for _, microseconds in took) * _NS_PER_US
    stages = []
    for name, microseconds in took:
        end_ns = begin_ns + microseconds * _NS_PER_US
        stages.append(Stage(name, begin_ns, end_ns))
        begin_ns = end_ns
    return stages


def _verb(case: Case) -> str:
    """The operation, where it is one: a subject may end with anything."""
    return case.operation.name if case.operation is not None else "refused"


def _judge(span: Span, error: MallkuError | None) -> None:
    if error is not None:
        span.set_attribute("error.type", error.code)
        span.set_status(StatusCode.ERROR, error.code)


def _beside(known: SpanContext) -> SpanContext:
    """A new span's place in the same trace."""
    return SpanContext(
        known.trace_id, _ids.generate_span_id(), is_remote=False, trace_flags=known.trace_flags
    )


def _above(parent: TraceParent | None) -> Context:
    """The caller's span, as its header names it; a command without one begins a trace."""
    return Context() if parent is None else set_span_in_context(_remote(parent), Context())


def _remote(parent: TraceParent) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(
        SpanContext(
            int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
        )
    )
