"""One round of chaos: a gateway, clients, faults by a plan, and then the check."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mallku_broker.trust import load_trust
from mallku_client.trail import AuditReader
from mallku_contracts.errors import MallkuError
from mallku_deploy.checking.checker import Material, check
from mallku_deploy.checking.findings import Verdict
from mallku_deploy.checking.gathering import ThroughGateway, Wish, gather
from mallku_deploy.checking.history import Histories
from mallku_deploy.checking.running import verify_into
from mallku_deploy.events import ServerLost
from tests.chaos.arenas import COLLECTION, Arena, arena_in
from tests.chaos.faults import Tormentor
from tests.chaos.load import Load
from tests.chaos.losses import Losses
from tests.chaos.schedule import Fault, Kind, plan

RECOVER_S: Final = 60.0
"""After the last fault until everything answers again, seconds."""

SETTLE_S: Final = 45.0
"""After that until every intent has its end, seconds."""

GATHERING_TRIES: Final = 5
"""How often trail and store are read, until both answer to the end."""

HISTORIES: Final = "histories"


@dataclass
class Round:
    """What one round did and found."""

    kind: Kind
    seed: int
    seconds: float
    faults: list[Fault] = field(default_factory=list[Fault])
    done: Counter[str] = field(default_factory=Counter[str])
    kills: Counter[str] = field(default_factory=Counter[str])
    struck: set[str] = field(default_factory=set[str])
    told: Counter[str] = field(default_factory=Counter[str])
    operations: Counter[str] = field(default_factory=Counter[str])
    wire: Counter[str] = field(default_factory=Counter[str])
    ended: Counter[str] = field(default_factory=Counter[str])
    surprises: list[str] = field(default_factory=list[str])
    recovery_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def clean(self) -> bool:
        """Whether nothing was found, and everything was judged."""
        return not (self.verdict.findings or self.surprises)

    @property
    def reproduction(self) -> str:
        """How to have it again."""
        return (
            f"python -m tests.chaos.run --only {self.kind} --seed {self.seed}"
            f" --seconds {self.seconds:g}"
        )

    def plain(self) -> dict[str, Any]:
        """For machines."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": dict(self.done),
            "kills": dict(self.kills),
            "struck": sorted(self.struck),
            "told": dict(self.told),
            "operations": dict(self.operations),
            "wire": dict(self.wire),
            "ended": dict(self.ended),
            "surprises": self.surprises,
            "recovery_s": round(self.recovery_s, 2),
            "verdict": self.verdict.plain(),
        }


async def play(folder: Path, kind: Kind, seed: int, seconds: float) -> Round:
    """One round below `folder`, where everything stays that is needed to look into it."""
    played = Round(kind, seed, seconds, plan(kind, seconds, seed))
    histories = _make(folder)
    async with arena_in(folder, kind) as arena:
        tormentor = Tormentor(arena, random.Random(f"faults {seed}"))
        load, losses = Load(seed), Losses()
        async with losses.watching(tormentor):
            async with load.running(arena, histories):
                await tormentor.run(played.faults)
                begun = time.monotonic()
                played.surprises += await _recovered(arena)
                played.recovery_s = time.monotonic() - begun
            played.struck = tormentor.struck
            played.verdict = await judge(arena, histories, load.copied)
        _count(played, tormentor, load, losses)
    return played


def _make(folder: Path) -> Path:
    histories = folder / HISTORIES
    histories.mkdir(parents=True)
    return histories


async def _recovered(arena: Arena) -> list[str]:
    """Wait until a write and the trail answer again; what is wrong when they do not in time."""
    trouble: Exception | None = None
    try:
        async with asyncio.timeout(RECOVER_S):
            while True:
                try:
                    async with arena.world.client() as db:
                        await db.collection(COLLECTION).insert({"probe": True}, timeout=5)
                    async with await _reader(arena) as reader:
                        await reader.stream_info()
                        return []
                except MallkuError as error:
                    trouble = error
                await asyncio.sleep(0.2)
    except TimeoutError:
        return [f"nothing answers {RECOVER_S} s after the faults: {trouble}"]


async def judge(arena: Arena, histories: Path, copied: set[str]) -> Verdict:
    """What `mallku-gateway check-history` would say, and a verification of the trail.

    A refusal of a command that was copied (`copied`: by its idempotency key) is about one of the
    copies: what became of the command is as unknown as without any answer.
    """
    wish = Wish((histories,), settle_s=SETTLE_S, lists=True)
    async with await _reader(arena) as reader, arena.world.client() as db:
        material = await _gather(reader, ThroughGateway(db), wish)
        calls = [
            replace(call, outcome="outcome_unknown", end=None)
            if call.outcome == "failed" and call.mutates and call.idempotency_key in copied
            else call
            for call in material.histories.calls
        ]
        known = Histories(calls, material.histories.cut)
        verdict = check(replace(material, histories=known))
        await verify_into(verdict, reader, load_trust(arena.world.house.trust))
        return verdict


async def _gather(reader: AuditReader, holder: ThroughGateway, wish: Wish) -> Material:
    """Everything that is to be judged; a store that is slow to recover is asked again."""
    for _ in range(GATHERING_TRIES - 1):
        try:
            return await gather(reader, holder, wish)
        except MallkuError:
            await asyncio.sleep(1)
    return await gather(reader, holder, wish)


async def _reader(arena: Arena) -> AuditReader:
    return await AuditReader.connect(settings=arena.world.client_settings("auditor"))


def _count(played: Round, tormentor: Tormentor, load: Load, losses: Losses) -> None:
    servers = sum(isinstance(event, ServerLost) for event in tormentor.arena.world.events)
    played.done, played.kills = tormentor.done, tormentor.kills
    played.kills["worker"], played.ended = losses.killed, losses.excused
    played.kills["nats-server"] = max(played.kills["nats-server"], servers)
    played.told, played.operations, played.wire = load.told, load.operations, load.wire
    played.surprises += load.surprises + losses.surprises
