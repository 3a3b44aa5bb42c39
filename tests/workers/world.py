"""A whole pipeline around simulators of the three outside worlds: bus, trail and store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mallku_contracts.keys import SigningKey
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_contracts.tokens import REPLY_AUDIENCE
from mallku_contracts.trust import Trust
from mallku_workers.admission import Slots
from mallku_workers.audit import AuditLimits, AuditWriter, Numbers
from mallku_workers.authorization import Authorizer
from mallku_workers.breaker import BreakerLimits, Breakers
from mallku_workers.execution import Bulkheads, Executor
from mallku_workers.identity import Identifier, SeenIds
from mallku_workers.message import Message, unix_ms
from mallku_workers.pipeline import Pipeline
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.queries.cursors import Cursors
from mallku_workers.replies import Replies, WorkerIdentity
from mallku_workers.throttle import Refusals, Throttle
from tests.support.simulated_bus import SimulatedBus
from tests.support.simulated_caller import (
    ISSUER,
    ISSUER_KEY,
    Answer,
    Sent,
    SimulatedCaller,
    make_token,
    read_answer,
)
from tests.support.simulated_store import SimulatedStore
from tests.support.simulated_trail import SimulatedTrail

SKEW_MS = 30_000
WAIT_S = 0.05
RETRY_S = 0.01
MAX_NUMBERS = 100_000_000
WORKER_KEY = SigningKey(b"w" * 32)
TRUST = Trust.of(ISSUER, ISSUER_KEY.public)
REPLY_TOKEN = make_token(WORKER_KEY, principal="worker-1", audience=REPLY_AUDIENCE)

POLICY = """
version: 7
roles:
  service:
    rules: [{id: documents, collections: ["*"], operations: [read, write]}]
    limits: {rate_per_s: 100000, burst: 100000, in_flight: 8}
  reader:
    rules: [{id: look, collections: [memory_anchors], operations: [get]}]
  slow:
    rules: [{id: all, collections: ["*"], operations: [read, write]}]
    limits: {rate_per_s: 1, burst: 2, in_flight: 8, payload_bytes: 16384}
principals:
  mallku: {roles: [service]}
  other: {roles: [service]}
  reader: {roles: [reader]}
  slow: {roles: [slow]}
revoked: [banned]
"""
COMPILED = CompiledPolicy(read_policy(POLICY, "policy"))
LIMITS = AuditLimits(wait_s=WAIT_S, retry_s=RETRY_S, max_pending=50, refusals_per_minute=10)


@dataclass
class Trusted:
    """Stands for a trust file; a test may put another trust in its place."""

    trust: Trust = TRUST


@dataclass
class Cluster:
    """What several workers share."""

    trail: SimulatedTrail = field(default_factory=SimulatedTrail)
    store: SimulatedStore = field(default_factory=SimulatedStore)


class Worker:
    """One worker: a pipeline of its own on a cluster's trail and store."""

    def __init__(
        self,
        cluster: Cluster,
        name: str = "w1",
        *,
        limits: AuditLimits = LIMITS,
        total: int = 16,
        max_writes: int = 16,
        sign_reads: bool = True,
        breaker_failures: int = 3,
        refusals_per_s: int = 1_000_000,
    ) -> None:
        self.bus = SimulatedBus()
        self.trail, self.store = cluster.trail, cluster.store
        self.numbers = Numbers(MAX_NUMBERS)
        self.audit = AuditWriter(self.trail, name, limits, unix_ms, self.numbers)
        self.slots = Slots(total, COMPILED.limits, 0.05)
        self.seen = SeenIds(1_000)
        limits_of_breaker = BreakerLimits(1.0, breaker_failures, 10.0, 0.05)
        self.breakers = Breakers(limits_of_breaker, time.monotonic)
        self.cursors = Cursors(name, idle_s=30, life_s=600, clock=time.monotonic)
        self.pipeline = Pipeline(
            slots=self.slots,
            identifier=Identifier(
                Trusted(TRUST), COMPILED.is_revoked, max_tokens=100, skew_ms=SKEW_MS
            ),
            seen=self.seen,
            policy=lambda: COMPILED,
            refusals=Refusals(refusals_per_s, time.monotonic_ns),
            throttle=Throttle(time.time_ns),
            audit=self.audit,
            authorizer=Authorizer(QueryAuthorizer(self.store.collections_of)),
            executor=Executor(
                self.store, self.breakers, self.cursors, Bulkheads(16, max_writes), clock=unix_ms
            ),
            replies=Replies(
                self.bus,
                WorkerIdentity(name, WORKER_KEY, lambda: REPLY_TOKEN),
                unix_ms,
                sign_reads=sign_reads,
            ),
            skew_ms=SKEW_MS,
        )

    async def take(self, sent: Sent, **changes: Any) -> Answer:
        """Have a transmission handled, and read its reply."""
        return read_answer(await self.take_raw(sent, **changes), sent)

    async def take_raw(self, sent: Sent, **changes: Any) -> bytes:
        """Have a transmission handled; the bytes of its one reply."""
        before = len(self.bus.posts)
        await self.pipeline.handle(message_of(sent, **changes))
        posts = self.bus.posts[before:]
        mine = [post for post in posts if post.subject == changes.get("reply", sent.reply)]
        assert len(mine) == 1, f"{len(mine)} replies"
        return mine[0].body


def message_of(sent: Sent, **changes: Any) -> Message:
    """The transmission as the bus would deliver it now; `changes` are fields of `Message`."""
    message = Message(str(sent.subject), sent.reply, sent.data, unix_ms(), time.monotonic())
    return replace(message, **changes)


def mallku() -> SimulatedCaller:
    """The caller who may read and write documents."""
    return SimulatedCaller.of("mallku", "service")


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait for a condition that other tasks of this loop bring about; `TimeoutError` without it."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what simulators count has no event
            await asyncio.sleep(0)


async def pause() -> None:
    """Let every task that can go on do so, as far as it can without the outside."""
    for _ in range(20):
        await asyncio.sleep(0)
