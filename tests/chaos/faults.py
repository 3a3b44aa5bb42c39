"""Does faults to an arena, and heals what is to be healed."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mallku_broker.streams import AUDIT
from tests.chaos import clock
from tests.chaos.arenas import Arena
from tests.chaos.schedule import OUTSIDE, Fault
from tests.support.clusters import SERVERS, Cluster
from tests.support.simulated_arango import Answer, Asked, Dropped, SimulatedArango, failure
from tests.support.simulated_arango_engine import Fault as StoreFault

DROPPED_SHARE = 0.3
"""Of the answers of a database that loses answers."""

FELT_S = 10.0
"""How long after a fault of broker or store a worker may end because of it, seconds."""

HANG_LIMIT_S = 10.0
"""The longest that a request of a database hangs, seconds."""


@dataclass
class Tormentor:
    """Carries out a plan against an arena.

    Attributes:
        done: How often each kind of fault was done.
        armed: Places in workers where the next one is to be struck.
        struck: Places where one was.
        kills: Processes that got a SIGKILL, by what they are.
    """

    arena: Arena
    chance: random.Random
    done: Counter[str] = field(default_factory=Counter[str])
    armed: set[str] = field(default_factory=set[str])
    struck: set[str] = field(default_factory=set[str])
    kills: Counter[str] = field(default_factory=Counter[str])
    _away: int = 0
    _back_at: float = -math.inf

    async def run(self, faults: list[Fault]) -> None:
        """Do each at its time; returns when all are over and healed."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(begun + fault.at_s - time.monotonic(), 0))
                self.done[fault.name] += 1
                group.create_task(self._act(fault))
        await self.heal()

    async def heal(self) -> None:
        """Nothing is armed any more, and no clock is wrong."""
        clock.set_offset(self.arena.clock, 0)
        for step in self.armed:
            self._settle(step)

    def _settle(self, step: str) -> None:
        """Remember whether somebody came there, and arm it no more."""
        if self.arena.failpoints.struck(step):
            self.struck.add(step)
        self.arena.failpoints.disarm(step)

    async def _act(self, fault: Fault) -> None:
        acts: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "strike": self._strike,
            "hang": self._strike,
            "kill": self._kill,
            "pause": self._pause,
            "clock": self._jump,
            "kill-server": self._kill_server,
            "kill-leader": self._kill_leader,
            "cut-off": self._cut_off,
            "hang-server": self._hang_server,
            "store-refuses": self._refuse,
            "store-hangs": self._hang_store,
            "store-drops": self._drop,
        }
        if fault.name not in OUTSIDE:
            await acts[fault.name](fault)
            return
        self._away += 1
        try:
            await acts[fault.name](fault)
        finally:
            self._away -= 1
            self._back_at = time.monotonic()

    @property
    def outside(self) -> bool:
        """Whether a fault of broker or store is under way, or may still be felt."""
        return self._away > 0 or time.monotonic() - self._back_at < FELT_S

    async def _strike(self, fault: Fault) -> None:
        """The next worker that comes there; one that hangs is killed by its supervisor."""
        if fault.of in self.armed:
            self._settle(fault.of)
        self.armed.add(fault.of)
        hangs = fault.name == "hang"
        self.arena.failpoints.arm(fault.of, signal.SIGSTOP if hangs else signal.SIGKILL)

    async def _kill(self, fault: Fault) -> None:
        pid = self._worker(fault)
        if pid is not None:
            _signal(pid, signal.SIGKILL)

    async def _pause(self, fault: Fault) -> None:
        pid = self._worker(fault)
        if pid is not None:
            await _hold(pid, fault.for_s)

    def _worker(self, fault: Fault) -> int | None:
        return self.arena.world.workers.get(f"worker-{int(fault.of) + 1}")

    async def _jump(self, fault: Fault) -> None:
        """Jump, and a while later back again; the broker's clock stays where it is."""
        clock.set_offset(self.arena.clock, int(fault.of))
        await asyncio.sleep(fault.for_s)
        clock.set_offset(self.arena.clock, 0)

    async def _kill_server(self, _fault: Fault) -> None:
        pid = self.arena.world.gateway.pids.get("nats-server")
        if pid is not None:
            self.kills["nats-server"] += 1
            _signal(pid, signal.SIGKILL)

    async def _kill_leader(self, fault: Fault) -> None:
        cluster = self._cluster()
        leader = await cluster.stream_leader(AUDIT)
        if leader is not None and not cluster.held:
            self.kills["nats-server"] += 1
            cluster.kill(leader)
            await asyncio.sleep(fault.for_s)
            cluster.held.discard(leader)  # the gateway starts it again

    async def _cut_off(self, fault: Fault) -> None:
        cluster = self._cluster()
        leader = await cluster.stream_leader(AUDIT)
        cluster.cut_off(self.chance.randrange(SERVERS) if leader is None else leader)
        await asyncio.sleep(fault.for_s)
        cluster.mend()

    async def _hang_server(self, fault: Fault) -> None:
        pid = self._cluster().servers[self.chance.randrange(SERVERS)].pid
        if pid is not None:
            await _hold(pid, fault.for_s)

    def _cluster(self) -> Cluster:
        assert self.arena.cluster is not None
        return self.arena.cluster

    def _database(self) -> SimulatedArango:
        assert self.arena.database is not None
        return self.arena.database

    async def _refuse(self, fault: Fault) -> None:
        database = self._database()

        def refuse(_asked: Asked) -> Answer | None:
            return failure(StoreFault(503, 503, "service unavailable"))

        database.before = refuse
        await asyncio.sleep(fault.for_s)
        database.before = _let_pass

    async def _hang_store(self, fault: Fault) -> None:
        database, released = self._database(), threading.Event()

        def hang(_asked: Asked) -> Answer | None:
            released.wait(HANG_LIMIT_S)
            return None

        database.before = hang
        await asyncio.sleep(fault.for_s)
        database.before = _let_pass
        released.set()

    async def _drop(self, fault: Fault) -> None:
        """The work is done, and the connection ends before anybody is told."""
        database = self._database()

        def drop(_asked: Asked, answer: Answer) -> Answer:
            if self.chance.random() < DROPPED_SHARE:
                raise Dropped
            return answer

        database.after = drop
        await asyncio.sleep(fault.for_s)
        database.after = lambda _asked, answer: answer


def _let_pass(_asked: Asked) -> Answer | None:
    return None


async def _hold(pid: int, seconds: float) -> None:
    """Stop a process for a while; if somebody kills it meanwhile, that is that."""
    _signal(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
