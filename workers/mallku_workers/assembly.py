"""The recipe of a worker: what is made of what, what goes on beside the commands, in which order.

Each step hands on what it made; whatever has to be taken apart again is put on the stack of the
`Frame`, and what is put there last is taken down first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import structlog

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.administrators import load_administrators
from mallku_broker.connection import GatewayConnection
from mallku_broker.connection_keys import own_key
from mallku_broker.counters import Counters
from mallku_broker.durability import StreamState, read_stream
from mallku_broker.files import load_signing_key
from mallku_broker.group_commit import GroupCommit
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import AUDIT
from mallku_broker.trust import TrustFile
from mallku_contracts.keys import SigningKey
from mallku_workers import recipes
from mallku_workers.audit import Acknowledgements, Seam, Trail, open_trail
from mallku_workers.cancelling import hear_cancellations
from mallku_workers.connecting import connect_worker
from mallku_workers.credentials import ReplyToken, keep_trust, trust_complaint
from mallku_workers.custody import Custodian, Keys, take_custody
from mallku_workers.dispatcher import Dispatcher
from mallku_workers.durability import DeclaredDurability, StreamWatch
from mallku_workers.governance import Governor
from mallku_workers.identity import SeenIds
from mallku_workers.jobs.desk import Desk
from mallku_workers.message import unix_ms
from mallku_workers.observing.composition import Observing
from mallku_workers.pipeline import Pipeline
from mallku_workers.queries.cursors import Cursors
from mallku_workers.reconciling import CountedTurns, Schedule, keep_reconciled
from mallku_workers.replies import Replies, WorkerIdentity
from mallku_workers.settings import WorkerSettings
from mallku_workers.stores.base import Store
from mallku_workers.throttle import Refusals, Throttle

CURSOR_SWEEP_S: Final = 1.0
"""Between two looks for cursors that nobody asks for, seconds."""

_MS_PER_S: Final = 1_000

_log = structlog.get_logger("mallku.worker")


@dataclass(frozen=True, slots=True)
class Frame:
    """What every step of the recipe needs: the settings, and where its parts are taken down."""

    settings: WorkerSettings
    instance: str
    stack: AsyncExitStack
    stopping: asyncio.Event
    seen: Observing

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run what goes on for ever, until the worker is taken down."""
        in_background(self.stack, work, self.stopping)


def in_background(
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


@dataclass(frozen=True, slots=True)
class Lines:
    """The worker's two connections, and who asks over that of the records."""

    bus: GatewayConnection
    records: GatewayConnection
    acknowledgements: AcknowledgementMultiplexer
    asking: RequestMultiplexer
    seam: Seam

    def read_trail(self) -> Awaitable[StreamState]:
        """How the audit stream stands now."""
        return read_stream(self.records, self.asking, self.seam.current)


@dataclass(frozen=True, slots=True)
class Standing:
    """Who the worker is, and whom it believes."""

    key: SigningKey
    trust: TrustFile
    token: ReplyToken
    identity: WorkerIdentity


@dataclass(frozen=True, slots=True)
class Base:
    """What commands are judged by, recorded on and carried out in."""

    lines: Lines
    standing: Standing
    store: Store
    declared: DeclaredDurability
    trail: Trail
    governor: Governor


async def assemble(frame: Frame) -> Dispatcher:
    """Put a worker together and let it serve.

    Raises:
        ConfigurationError: naming the file or setting that cannot be used.
        GatewayUnreachable: the broker does not answer.
        Unavailable: the store does not open.
    """
    settings, stack, parts = frame.settings, frame.stack, frame.seen.parts
    await frame.seen.open(stack)
    parts.identity = (standing := _stand(frame)).identity
    parts.stage = "connecting to the broker"
    lines = await _connect(frame)
    parts.connections.update(bus=lines.bus, records=lines.records)
    throttle = Throttle(time.time_ns, Counters(lines.asking), workers=settings.expected_workers)
    stack.push_async_callback(throttle.close)
    parts.stage = "opening the store"
    store = recipes.store(settings)
    await store.start()
    stack.push_async_callback(store.stop)
    parts.stage = "reading trail and policy"
    declared = await _declare(settings, lines.read_trail, store)
    frame.in_background(standing.token.keep_fresh())
    frame.in_background(keep_trust(standing.trust, settings.trust_reread_s))
    parts.trail = trail = await _open_trail(frame, lines, standing, declared)
    parts.governor = governor = await _be_governed(frame, lines, trail)
    base = Base(lines, standing, store, declared, trail, governor)
    await _begin(frame, base)
    await _take_custody(frame, base)
    parts.watch = watch = StreamWatch(
        lines.read_trail, trail.audit, AUDIT, declared, settings.required
    )
    frame.in_background(watch.keep_looking(settings.trail_look_s))
    desk = Desk(settings, lines.records, lines.asking)
    replies = Replies(lines.bus, standing.identity, unix_ms, sign_reads=settings.sign_read_replies)
    pipeline = _pipeline(base, frame, _cursors(frame), throttle, replies, desk)
    dispatcher = await _serve(frame, base, pipeline, replies, desk)
    _reconcile(frame, base)
    parts.stage = ""
    return dispatcher


def _stand(frame: Frame) -> Standing:
    settings = frame.settings
    key = load_signing_key(settings.key_file)
    trust = TrustFile(settings.trust_file, trust_complaint)
    token = ReplyToken(settings.token_file, key.public, trust, settings.token_reread_s)
    identity = WorkerIdentity(frame.instance, key, lambda: token.current)
    return Standing(key, trust, token, identity)


async def _connect(frame: Frame) -> Lines:
    settings, instance, stack = frame.settings, frame.instance, frame.stack
    bus = await connect_worker(settings, settings.bus_credentials, instance, stack)
    records = await connect_worker(settings, settings.records_credentials, instance, stack)
    acknowledgements = await stack.enter_async_context(
        AcknowledgementMultiplexer(records, expected_stream=AUDIT)
    )
    asking = await stack.enter_async_context(RequestMultiplexer(records, records.inbox_prefix))
    seam = Seam(records, acknowledgements, unix_ms)
    await seam.begin()
    return Lines(bus, records, acknowledgements, asking, seam)


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


async def _open_trail(
    frame: Frame, lines: Lines, standing: Standing, declared: DeclaredDurability
) -> Trail:
    settings = frame.settings
    trail = await open_trail(
        lines.records,
        await _publisher(frame, lines.acknowledgements, declared),
        standing.identity,
        standing.trust,
        recipes.trail_limits(settings),
        clock=unix_ms,
        witnessing=recipes.witnessing(settings, frame.instance),
        stack=frame.stack,
        seam=lines.seam,
        administrators=partial(load_administrators, settings.trust_file),
    )
    frame.in_background(lines.seam.keep())
    frame.in_background(trail.bear_witness())
    frame.stack.push_async_callback(trail.stop, settings.drain_s)
    return trail


async def _publisher(
    frame: Frame, acknowledgements: AcknowledgementMultiplexer, declared: DeclaredDurability
) -> Acknowledgements:
    """Records one by one, or in groups where each acknowledgement waits for a disk."""
    if not declared.in_groups:
        return acknowledgements
    groups = await frame.stack.enter_async_context(GroupCommit(acknowledgements))
    frame.seen.parts.groups = groups
    return groups


async def _be_governed(frame: Frame, lines: Lines, trail: Trail) -> Governor:
    governor = await frame.stack.enter_async_context(
        Governor(lines.records, trail.audit, frame.instance, frame.settings.trust_file)
    )
    frame.in_background(governor.govern())
    return governor


async def _begin(frame: Frame, base: Base) -> None:
    """The first record of this worker, and the checkpoints that follow it."""
    facts = recipes.start_facts(base.store, base.declared, base.governor, base.standing.key)
    await base.trail.start(facts, frame.settings.audit_wait_ms / _MS_PER_S)
    frame.in_background(base.trail.keep())


async def _take_custody(frame: Frame, base: Base) -> None:
    settings, governor = frame.settings, base.governor
    own = own_key(settings.records_credentials)
    keys = Keys(lambda: governor.policy, own, settings.connection_keys_file)
    custodian = Custodian(base.trail.audit, keys)
    await take_custody(base.lines.records, custodian, frame.stack)
    frame.in_background(custodian.keep())


def _cursors(frame: Frame) -> Cursors:
    frame.seen.parts.cursors = cursors = recipes.cursors(frame.settings, frame.instance)
    frame.stack.push_async_callback(cursors.close)
    frame.in_background(cursors.keep_swept(CURSOR_SWEEP_S))
    return cursors


def _pipeline(  # noqa: PLR0913, PLR0917 - what it is made of
    base: Base, frame: Frame, cursors: Cursors, throttle: Throttle, replies: Replies, desk: Desk
) -> Pipeline:
    settings, governor = frame.settings, base.governor
    return Pipeline(
        slots=recipes.slots(settings, governor),
        identifier=recipes.identifier(settings, base.standing.trust, governor),
        seen=SeenIds(settings.max_seen_ids),
        policy=lambda: governor.policy,
        authorizer=recipes.authorizer(settings, base.store),
        refusals=Refusals(settings.refusals_per_s, time.monotonic_ns),
        throttle=throttle,
        audit=base.trail.audit,
        executor=recipes.executor(settings, base.store, cursors, governor, desk),
        replies=replies,
        skew_ms=settings.clock_skew_ms,
        observer=frame.seen.observer,
    )


async def _serve(
    frame: Frame, base: Base, pipeline: Pipeline, replies: Replies, desk: Desk
) -> Dispatcher:
    """From here on commands and durable jobs come in."""
    frame.seen.parts.desk = desk
    await frame.seen.be_found(base.lines.bus, pipeline, replies, frame.stack)
    await hear_cancellations(base.lines.bus, pipeline.under_way)
    dispatcher = Dispatcher(base.lines.bus, pipeline.handle, frame.instance)
    frame.stack.push_async_callback(_drain, dispatcher, desk, base.trail, frame.settings.drain_s)
    desk.open(pipeline, replies, base.lines.bus, away=lambda: frame.seen.parts.away)
    await dispatcher.start()
    frame.in_background(desk.keep())
    await base.lines.bus.flush()
    frame.in_background(frame.seen.keep_watch(dispatcher, base.lines.records))
    return dispatcher


async def _drain(dispatcher: Dispatcher, desk: Desk, trail: Trail, timeout_s: float) -> None:
    trail.cut_off, _ = await asyncio.gather(dispatcher.drain(timeout_s), desk.drain(timeout_s))
    if trail.cut_off:
        _log.error("cut_off", commands=trail.cut_off)


def _reconcile(frame: Frame, base: Base) -> None:
    settings, records, instance = frame.settings, base.lines.records, frame.instance
    trust = base.standing.trust
    reconciler = recipes.reconciler(
        settings, records, instance, base.store, base.trail, trust=trust
    )
    schedule = Schedule(settings.reconcile_every_s)
    turns = CountedTurns(Counters(base.lines.asking), schedule)
    frame.in_background(
        keep_reconciled(reconciler, records, instance, schedule, turns, clock=unix_ms)
    )
