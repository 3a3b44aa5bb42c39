"""Puts a worker together, runs it until it is told to stop, and takes it apart in order."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import structlog
import uvloop

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.connection_keys import own_key
from mallku_broker.counters import Counters
from mallku_broker.durability import StreamState, read_stream
from mallku_broker.files import load_signing_key
from mallku_broker.group_commit import GroupCommit
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import AUDIT
from mallku_broker.trust import TrustFile
from mallku_workers import logs, recipes
from mallku_workers.audit import Acknowledgements, Trail, open_trail
from mallku_workers.connecting import connect_worker
from mallku_workers.credentials import ReplyToken, keep_trust, trust_complaint
from mallku_workers.custody import Custodian, Keys, take_custody
from mallku_workers.dispatcher import Dispatcher
from mallku_workers.durability import DeclaredDurability, StreamWatch
from mallku_workers.governance import Governor
from mallku_workers.heartbeat import Heartbeat
from mallku_workers.identity import SeenIds
from mallku_workers.message import unix_ms
from mallku_workers.pipeline import Pipeline
from mallku_workers.reconciling import Schedule, keep_reconciled
from mallku_workers.replies import Replies, WorkerIdentity
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.base import Store
from mallku_workers.throttle import Refusals, Throttle

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

    bus = await connect_worker(settings, settings.bus_credentials, instance, stack)
    records = await connect_worker(settings, settings.records_credentials, instance, stack)
    acknowledgements = await stack.enter_async_context(
        AcknowledgementMultiplexer(records, expected_stream=AUDIT)
    )
    asking = await stack.enter_async_context(RequestMultiplexer(records, records.inbox_prefix))
    throttle = Throttle(time.time_ns, Counters(asking), workers=settings.expected_workers)
    stack.push_async_callback(throttle.close)

    store = recipes.store(settings)
    await store.start()
    stack.push_async_callback(store.stop)
    read_trail = partial(read_stream, records, asking, AUDIT)
    declared = await _declare(settings, read_trail, store)
    _in_background(stack, token.keep_fresh(), stopping)
    _in_background(stack, keep_trust(trust, settings.trust_reread_s), stopping)

    identity = WorkerIdentity(instance, key, lambda: token.current)
    trail = await open_trail(
        records,
        await _publisher(acknowledgements, declared, stack),
        identity,
        trust,
        recipes.trail_limits(settings),
        clock=unix_ms,
        witnessing=recipes.witnessing(settings, instance),
        stack=stack,
    )
    _in_background(stack, trail.bear_witness(), stopping)
    stack.push_async_callback(trail.stop, settings.drain_s)
    governor = await stack.enter_async_context(
        Governor(records, trail.audit, instance, settings.trust_file)
    )
    _in_background(stack, governor.govern(), stopping)
    facts = recipes.start_facts(store, declared, governor, key)
    await trail.start(facts, settings.audit_wait_ms / _MS_PER_S)
    _in_background(stack, trail.keep(), stopping)
    own = own_key(settings.records_credentials)
    keys = Keys(lambda: governor.policy, own, settings.connection_keys_file)
    custodian = Custodian(trail.audit, keys)
    await take_custody(records, custodian, stack)
    _in_background(stack, custodian.keep(), stopping)
    watch = StreamWatch(read_trail, trail.audit, AUDIT, declared, settings.required)
    _in_background(stack, watch.keep_looking(settings.trail_look_s), stopping)
    cursors = recipes.cursors(settings, instance)
    stack.push_async_callback(cursors.close)
    _in_background(stack, cursors.keep_swept(CURSOR_SWEEP_S), stopping)
    pipeline = Pipeline(
        slots=recipes.slots(settings, governor),
        identifier=recipes.identifier(settings, trust, governor),
        seen=SeenIds(settings.max_seen_ids),
        policy=lambda: governor.policy,
        authorizer=recipes.authorizer(settings, store),
        refusals=Refusals(settings.refusals_per_s, time.monotonic_ns),
        throttle=throttle,
        audit=trail.audit,
        executor=recipes.executor(settings, store, cursors, governor),
        replies=Replies(bus, identity, unix_ms, sign_reads=settings.sign_read_replies),
        skew_ms=settings.clock_skew_ms,
    )
    dispatcher = Dispatcher(bus, pipeline.handle, instance)
    stack.push_async_callback(_drain, dispatcher, trail, settings.drain_s)
    await dispatcher.start()
    await bus.flush()
    reconciler = recipes.reconciler(settings, records, instance, store, trail, trust=trust)
    schedule = Schedule(settings.reconcile_every_s)
    reconciling = keep_reconciled(reconciler, records, instance, schedule, clock=unix_ms)
    _in_background(stack, reconciling, stopping)
    return dispatcher


async def _declare(
    settings: WorkerSettings, read_trail: Callable[[], Awaitable[StreamState]], store: Store
) -> DeclaredDurability:
    """What an acknowledged mutation survives; too little is a `ConfigurationError`."""
    declared = DeclaredDurability((await read_trail()).durability, store.durability)
    declared.require(settings.required)
    _log.info(
        "durability",
        declared=str(declared.level),
        stream=str(declared.stream.level),
        reason=declared.stream.reason,
        store=str(declared.store),
    )
    return declared


async def _publisher(
    acknowledgements: AcknowledgementMultiplexer,
    declared: DeclaredDurability,
    stack: AsyncExitStack,
) -> Acknowledgements:
    """Records one by one, or in groups where each acknowledgement waits for a disk."""
    if not declared.in_groups:
        return acknowledgements
    return await stack.enter_async_context(GroupCommit(acknowledgements))


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


async def _drain(dispatcher: Dispatcher, trail: Trail, timeout_s: float) -> None:
    trail.cut_off = await dispatcher.drain(timeout_s)
    if trail.cut_off:
        _log.error("cut_off", commands=trail.cut_off)
