"""Puts a worker together, runs it until it is told to stop, and takes it apart in order."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection import ConnectionSettings, GatewayConnection, Watcher, connect
from mallku_broker.counters import Counters
from mallku_broker.events import ConnectionEvent, EventKind
from mallku_broker.files import load_signing_key
from mallku_broker.permissions import WORKER_INBOX_PREFIX
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import AUDIT
from mallku_broker.trust import TrustFile
from mallku_workers import logs
from mallku_workers.admission import Slots
from mallku_workers.audit import AuditLimits, AuditWriter
from mallku_workers.authorization import Authorizer
from mallku_workers.breaker import Breaker
from mallku_workers.credentials import ReplyToken, keep_trust, trust_complaint
from mallku_workers.dispatcher import Dispatcher
from mallku_workers.execution import Bulkheads, Executor
from mallku_workers.governance import Governor
from mallku_workers.heartbeat import Heartbeat
from mallku_workers.identity import Identifier, SeenIds
from mallku_workers.message import unix_ms
from mallku_workers.pipeline import Pipeline
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.queries.cursors import Cursors
from mallku_workers.replies import Replies, WorkerIdentity
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.throttle import Refusals, Throttle

PARTING_S: Final = 2.0
"""How long the broker may take to say that it has everything, at the end, seconds."""

CURSOR_SWEEP_S: Final = 1.0
"""Between two looks for cursors that nobody asks for, seconds."""

COLLECT_AFTER: Final = (50_000, 20, 50)
"""New containers before a search for cycles, then searches before older ones are searched too."""

_INSTANCE_BYTES: Final = 8
_MS_PER_S: Final = 1_000

_log = structlog.get_logger("mallku.worker")


def main(settings: WorkerSettings) -> None:
    """Run one worker in this process until SIGTERM, SIGINT or the end of its parent."""
    _spare_the_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_worker(settings))


def _spare_the_collector() -> None:
    """Look for cycles seldom, and never among what was there from the start.

    Commands leave no cycles behind; at the default thresholds the search for them took a fifth of
    a busy worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def run_worker(settings: WorkerSettings) -> None:
    """Serve commands until told to stop; then leave the queue groups, finish, and return.

    Raises:
        ConfigurationError: naming the file or setting that cannot be used.
        GatewayUnreachable: the broker does not answer.
        Unavailable: the store does not open.
    """
    instance = secrets.token_hex(_INSTANCE_BYTES)
    logs.configure(settings.log_level, worker=instance)
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    heartbeat = Heartbeat(settings.heartbeat_fd, orphaned=stopping.set)
    # The heart beats until the rest is taken down, or a long drain would look like a hang.
    async with AsyncExitStack() as heart, AsyncExitStack() as stack:
        dispatcher = await _assemble(settings, instance, stack, stopping)
        heartbeat.say(f"ready {instance}")
        _in_background(heart, heartbeat.beat(), stopping)
        _log.info("ready", store=settings.store)
        await stopping.wait()
        heartbeat.say("draining")
        _log.info("draining", under_way=dispatcher.under_way)
    _log.info("stopped")


async def _assemble(
    settings: WorkerSettings, instance: str, stack: AsyncExitStack, stopping: asyncio.Event
) -> Dispatcher:
    """The recipe. What is put on the stack last is taken down first."""
    key = load_signing_key(settings.key_file)
    trust = TrustFile(settings.trust_file, trust_complaint)
    token = ReplyToken(settings.token_file, key.public, trust, settings.token_reread_s)

    bus = await _connect(settings, settings.bus_credentials, instance, stack)
    records = await _connect(settings, settings.records_credentials, instance, stack)
    acknowledgements = await stack.enter_async_context(
        AcknowledgementMultiplexer(records, expected_stream=AUDIT)
    )
    asking = await stack.enter_async_context(RequestMultiplexer(records, records.inbox_prefix))
    throttle = Throttle(time.time_ns, Counters(asking), workers=settings.expected_workers)
    stack.push_async_callback(throttle.close)

    store = _store(settings)
    await store.start()
    stack.push_async_callback(store.stop)
    _in_background(stack, token.keep_fresh(), stopping)
    _in_background(stack, keep_trust(trust, settings.trust_reread_s), stopping)

    audit = AuditWriter(acknowledgements, instance, _audit_limits(settings), unix_ms)
    stack.push_async_callback(_flush, audit, settings.drain_s)
    governor = await stack.enter_async_context(
        Governor(records, audit, instance, settings.trust_file)
    )
    _in_background(stack, governor.govern(), stopping)
    cursors = Cursors(
        instance,
        idle_s=settings.cursor_idle_s,
        life_s=settings.cursor_life_s,
        clock=time.monotonic,
    )
    stack.push_async_callback(cursors.close)
    _in_background(stack, cursors.keep_swept(CURSOR_SWEEP_S), stopping)
    pipeline = Pipeline(
        slots=Slots(settings.max_in_flight, governor.limits, settings.busy_retry_ms / _MS_PER_S),
        identifier=Identifier(
            trust,
            governor.is_revoked,
            max_tokens=settings.max_tokens,
            skew_ms=settings.clock_skew_ms,
        ),
        seen=SeenIds(settings.max_seen_ids),
        policy=lambda: governor.policy,
        authorizer=Authorizer(QueryAuthorizer(store.collections_of)),
        refusals=Refusals(settings.refusals_per_s, time.monotonic_ns),
        throttle=throttle,
        audit=audit,
        executor=_executor(settings, store, cursors),
        replies=Replies(
            bus,
            WorkerIdentity(instance, key, lambda: token.current),
            unix_ms,
            sign_reads=settings.sign_read_replies,
        ),
        skew_ms=settings.clock_skew_ms,
    )
    dispatcher = Dispatcher(bus, pipeline.handle, instance)
    stack.push_async_callback(_drain, dispatcher, settings.drain_s)
    await dispatcher.start()
    await bus.flush()
    return dispatcher


def _audit_limits(settings: WorkerSettings) -> AuditLimits:
    return AuditLimits(
        wait_s=settings.audit_wait_ms / _MS_PER_S,
        retry_s=settings.audit_retry_ms / _MS_PER_S,
        max_pending=settings.max_pending_outcomes,
        refusals_per_minute=settings.refusals_recorded_per_minute,
    )


def _executor(settings: WorkerSettings, store: Store, cursors: Cursors) -> Executor:
    breaker = Breaker(settings.breaker_failures, settings.breaker_reset_s, time.monotonic)
    bulkheads = Bulkheads(settings.max_reads, settings.max_writes)
    return Executor(store, breaker, cursors, bulkheads, clock=unix_ms)


def _store(settings: WorkerSettings) -> Store:
    names = settings.database_names
    if settings.store == "arango":
        # Whoever serves from the embedded store needs no driver.
        from mallku_workers.stores.arango import ArangoSettings, ArangoStore

        return ArangoStore(ArangoSettings(), databases=names)
    return EmbeddedStore(settings.store_directory, databases=names)


async def _connect(
    settings: WorkerSettings, credentials: Path, instance: str, stack: AsyncExitStack
) -> GatewayConnection:
    connection = await connect(
        ConnectionSettings(
            url=settings.url,
            credentials=credentials,
            tls_ca=settings.tls_ca,
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        ),
        name=f"mallku-worker-{instance}",
        inbox_prefix=f"{WORKER_INBOX_PREFIX}.{instance}",
        on_event=_log_events(),
    )
    stack.push_async_callback(connection.close)
    stack.push_async_callback(_part, connection)
    return connection


async def _part(connection: GatewayConnection) -> None:
    """Wait until the broker has all that was sent, if it is there."""
    if not connection.is_up:
        return
    try:
        async with asyncio.timeout(PARTING_S):
            await connection.flush()
    except Exception as error:  # noqa: BLE001 - whatever it says, the rest is taken down in order
        _log.warning("broker_silent", connection=connection.name, reason=repr(error))


def _log_events() -> Watcher:
    """Warn once when a connection is lost, however many tries follow; the rest is information."""
    down = False

    def log(event: ConnectionEvent) -> None:
        nonlocal down
        lost = event.kind is EventKind.DISCONNECTED
        news = (lost and not down) or event.kind is EventKind.REFUSED
        write = _log.warning if news else _log.info
        write(event.kind.value, connection=event.connection, detail=event.detail)
        down = lost or (down and event.kind is not EventKind.RECONNECTED)

    return log


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


def _in_background(
    stack: AsyncExitStack, work: Coroutine[Any, Any, None], stopping: asyncio.Event
) -> None:
    """Run what goes on for ever; should it fail, the worker ends, and another takes its place.

    One that no longer hears of revocations would serve whoever was revoked since.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_task_ended", exc_info=error)
            stopping.set()

    task = asyncio.ensure_future(work)
    task.add_done_callback(ended)
    stack.callback(task.cancel)


async def _drain(dispatcher: Dispatcher, timeout_s: float) -> None:
    cut_off = await dispatcher.drain(timeout_s)
    if cut_off:
        _log.error("cut_off", commands=cut_off)


async def _flush(audit: AuditWriter, timeout_s: float) -> None:
    left = await audit.flush(timeout_s)
    if left:
        _log.error("outcomes_not_acknowledged", records=left)
