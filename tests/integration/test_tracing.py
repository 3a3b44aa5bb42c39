"""One trace from the caller's own span to the store's, over real processes; off, nothing of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from mallku_client.sync import SecuredDatabaseInterface as Blocking
from mallku_client.trail import AuditReader, Selection
from mallku_contracts.errors import UniqueViolation
from mallku_contracts.tracing import HEADER
from tests.integration.jobs import dead_jobs, refusal
from tests.integration.stage import eventually
from tests.integration.world import REPLY_S, World, running_world, until
from tests.support.collector import Collector, Seen, collecting

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "what the voices said"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
STEPS = [
    *("admit", "open", "identify", "replay", "authorize", "throttle", "remember"),
    *("intend", "execute", "conclude", "reply"),
]
CONSUMER = 5
SLACK_NS = 5_000_000


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the workers' spans go."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def own() -> InMemorySpanExporter:
    """This process's spans: it is the caller's."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, own: InMemorySpanExporter
) -> AsyncGenerator[World]:
    """A gateway whose workers trace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLKU_WORKER_TRACING", "true")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        async with running_world(tmp_path_factory.mktemp("traced") / "house", 1) as running:
            async with running.client("operator") as operator:
                await operator.create_collection("khipu")
            yield running


async def _arrived(collector: Collector, trace_id: int | str, name: str) -> Seen:
    """The worker's span of this name in a trace, once everything below it is there too."""
    wanted = trace_id if isinstance(trace_id, str) else f"{trace_id:032x}"

    def there() -> list[Seen]:
        return [span for span in collector.named(name) if span.trace == wanted]

    await until(f"{name} of {wanted}", lambda: bool(there()))
    return there()[0]


def _of(span: ReadableSpan) -> SpanContext:
    """Which span of which trace it is."""
    context = span.get_span_context()
    assert context is not None
    return context


async def test_one_trace_leads_from_the_caller_to_the_store(
    world: World, collector: Collector, own: InMemorySpanExporter
) -> None:
    """Own span, call, bus, worker, steps, store: each below the other, in order and in time."""
    own.clear()
    tracer = trace.get_tracer("service")
    async with world.client(tracing=True) as client:
        with tracer.start_as_current_span("my service") as mine:
            await client.collection("khipu").insert({"_key": "a", "text": SECRET})
    call, sent = (
        next(span for span in own.get_finished_spans() if span.name == name)
        for name in ("mallku insert", "mallku send")
    )
    assert call.parent is not None
    assert sent.parent is not None
    assert call.parent.span_id == mine.get_span_context().span_id
    assert sent.parent.span_id == _of(call).span_id
    worked = await _arrived(collector, _of(call).trace_id, "mallku insert")
    assert int(worked.parent, 16) == _of(sent).span_id
    assert sent.start_time is not None
    assert sent.end_time is not None
    assert sent.start_time - SLACK_NS <= worked.begin_ns <= worked.end_ns
    assert worked.end_ns <= sent.end_time + SLACK_NS
    steps = collector.below(worked.id)
    assert [step.name for step in steps] == STEPS
    assert steps[0].begin_ns == worked.begin_ns
    assert steps[-1].end_ns == worked.end_ns
    execute = steps[STEPS.index("execute")]
    [stored] = collector.below(execute.id)
    assert stored.name == "store insert"
    assert execute.begin_ns - SLACK_NS <= stored.begin_ns < stored.end_ns
    assert stored.end_ns <= execute.end_ns + SLACK_NS
    assert worked.resource["service.name"] == "mallku-gateway"
    assert worked.attributes["mallku.principal"] == "mallku"


async def test_the_record_holds_the_trace(
    world: World, collector: Collector, own: InMemorySpanExporter
) -> None:
    """Whoever has a trace finds the command on the trail, and the other way round."""
    own.clear()
    async with world.client(tracing=True) as client:
        answer = await client.command("count", "khipu", {})
    [call] = [span for span in own.get_finished_spans() if span.name == "mallku count"]
    async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
        selection = Selection(operations=("count",), outcomes=("intent",))
        records = [record async for _, record in reader.records(selection)]
    [record] = [record for record in records if record.id == answer.id]
    assert record.trace == f"{_of(call).trace_id:032x}"


async def test_a_failure_is_shown_with_its_code_and_no_data(
    world: World, collector: Collector, own: InMemorySpanExporter
) -> None:
    """The step that broke off and the spans above it say so; nobody's document is exported."""
    own.clear()
    async with world.client(tracing=True) as client:
        anchors = client.collection("khipu")
        await anchors.insert({"_key": "twice", "text": SECRET})
        own.clear()
        with pytest.raises(UniqueViolation):
            await anchors.insert({"_key": "twice", "text": SECRET})
    [call] = [span for span in own.get_finished_spans() if span.name == "mallku insert"]
    assert call.attributes is not None
    assert call.attributes["error.type"] == "unique_violation"
    worked = await _arrived(collector, _of(call).trace_id, "mallku insert")
    assert worked.failed
    assert worked.attributes["error.type"] == "unique_violation"
    steps = {step.name: step for step in collector.below(worked.id)}
    assert [name for name, step in steps.items() if step.failed] == ["execute"]
    assert list(steps)[-2:] == ["execute", "reply"]
    [asked] = collector.below(steps["execute"].id)
    assert asked.failed
    assert asked.attributes["error.type"] == "unique_violation"
    shown = collector.raw + b"".join(span.to_json().encode() for span in own.get_finished_spans())
    assert SECRET.encode() not in shown
    token = world.house.principal("mallku").token.read_bytes().strip()
    assert token.rsplit(b".", 1)[-1] not in shown


async def test_a_durable_job_stays_in_its_submitters_trace(
    world: World, collector: Collector, own: InMemorySpanExporter
) -> None:
    """Stored with its parent, carried out later: span and record of the worker name the trace."""
    own.clear()
    async with world.client(tracing=True) as client:
        job = await client.collection("khipu").submit.insert({"_key": "job"})
        await job.result(timeout=REPLY_S)
    [call] = [span for span in own.get_finished_spans() if span.name == "mallku insert"]
    [sent] = [span for span in own.get_finished_spans() if span.name == "mallku send"]
    worked = await _arrived(collector, _of(call).trace_id, "mallku insert")
    assert int(worked.parent, 16) == _of(sent).span_id
    assert worked.kind == CONSUMER
    assert [step.name for step in collector.below(worked.id)] == STEPS
    async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
        selection = Selection(operations=("insert",), outcomes=("done",))
        traces = {record.id: record.trace async for _, record in reader.records(selection)}
    assert traces[job.id] == f"{_of(call).trace_id:032x}"


async def test_a_redriven_job_stays_there_too(
    world: World, collector: Collector, own: InMemorySpanExporter
) -> None:
    """Dead and given another try, it is below the same span, and its record names the trace."""
    own.clear()
    async with world.client(tracing=True) as client, world.client("operator") as operator:
        await client.collection("khipu").insert({"_key": "in-the-way"})
        own.clear()
        job = await client.collection("khipu").submit.insert({"_key": "in-the-way"})
        assert isinstance(await refusal(job), UniqueViolation)
        (dead,) = await eventually(lambda: dead_jobs(world, job.idempotency_key), bool)
        await operator.collection("khipu").delete("in-the-way")
        [sent] = [span for span in own.get_finished_spans() if span.name == "mallku send"]
        await operator.command("redrive", None, {"sequence": dead.sequence})
        await eventually(
            lambda: client.outcome(job.idempotency_key), lambda told: told["state"] == "done"
        )
    trace_id = f"{_of(sent).trace_id:032x}"
    await until("both tries", lambda: len(_tries(collector, trace_id)) == 2)
    refused, redriven = _tries(collector, trace_id)
    assert (refused.failed, redriven.failed) == (True, False)
    assert {int(span.parent, 16) for span in (refused, redriven)} == {_of(sent).span_id}
    async with await AuditReader.connect(settings=world.client_settings("auditor")) as reader:
        selection = Selection(operations=("insert",), outcomes=("done",))
        traces = {record.id: record.trace async for _, record in reader.records(selection)}
    assert traces[job.id] == trace_id


def _tries(collector: Collector, trace_id: str) -> list[Seen]:
    found = [span for span in collector.named("mallku insert") if span.trace == trace_id]
    return sorted(found, key=lambda span: span.begin_ns)


async def test_blocking_calls_are_below_their_threads_own_span(
    world: World, own: InMemorySpanExporter
) -> None:
    """The client's loop runs in another thread; the caller's span is found all the same."""
    own.clear()

    def call() -> int:
        with trace.get_tracer("service").start_as_current_span("blocking") as mine:
            client = Blocking.connect(settings=world.client_settings("mallku", tracing=True))
            client.collection("khipu").count()
            client.close()
        return mine.get_span_context().span_id

    mine = await asyncio.to_thread(call)
    [counted] = [span for span in own.get_finished_spans() if span.name == "mallku count"]
    assert counted.parent is not None
    assert counted.parent.span_id == mine


@pytest.mark.parametrize(
    "header",
    ["junk", f"00-{TRACE}-00f067aa0ba902b7-00", f"00-{'0' * 32}-00f067aa0ba902b7-01", "x" * 5_000],
)
async def test_what_is_not_sampled_is_not_exported(
    world: World, collector: Collector, header: str
) -> None:
    """Junk, an unsampled parent, and no parent at all: of these nothing is exported.

    There is one worker, which exports in order: what comes after them comes alone.
    """
    caller = world.caller()
    ids = []
    async with world.connection() as connection:
        for headers in ({HEADER: header}, {}, {HEADER: f"00-{TRACE}-{'b' * 16}-01"}):
            sent = caller.seal("count", {}, "khipu")
            await connection.request(
                str(sent.subject), sent.data, timeout=REPLY_S, headers=headers or None
            )
            ids.append(sent.header.id)
    last = ids.pop()
    await until("the sampled one", lambda: last in _ids(collector))
    assert _ids(collector).isdisjoint(ids)


def _ids(collector: Collector) -> set[str]:
    return {span.attributes.get("mallku.id", "") for span in collector.spans}


async def test_without_a_collector_it_works_and_ends_in_time(tmp_path: Path) -> None:
    """Where nobody takes spans, commands are answered and workers end all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLKU_WORKER_TRACING", "true")
        patch.setenv("MALLKU_WORKER_TRACE_RATIO", "1")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        async with running_world(tmp_path / "house", 1) as world:
            async with world.client("operator") as operator:
                await operator.create_collection("khipu")
            ending = time.monotonic()
    assert time.monotonic() - ending < 10


@pytest.mark.parametrize(
    "modules",
    ["mallku_client, mallku_client.caller, mallku_client.nats_transport", "mallku_workers.main"],
)
async def test_off_it_is_not_even_imported(modules: str) -> None:
    """Neither client nor worker knows OpenTelemetry before somebody asks for traces."""
    code = f"import sys, {modules}; print([m for m in sys.modules if 'opentelemetry' in m])"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, check=True, timeout=30
    )
    assert done.stdout.strip() == b"[]"
