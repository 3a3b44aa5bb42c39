"""No open ends: finds intents without outcome and what became of them, and writes it down.

A run reads the trail from the floor that the former one left, asks the store about every intent
that has been open for a while, reads on to the end, and resolves what is open still. Any number of
reconcilers may run at the same time, and each may be killed anywhere: what several write the stream
takes once, for a resolution is named by its intent, and the floor moves when all below is closed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from mallku_broker.acknowledgements import Ack
from mallku_broker.connection import GatewayConnection
from mallku_broker.ranges import Range
from mallku_broker.reconciliation import ASKED, FLOOR, read_former
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Record, Resolution
from mallku_contracts.errors import MallkuError
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import Verb, about_gateway
from mallku_contracts.trail.checkpoint import Head, Vouch
from mallku_workers.reconciling.decide import Verdict
from mallku_workers.reconciling.intents import Intents, OpenIntent, Written
from mallku_workers.reconciling.looking import Looking
from mallku_workers.reconciling.question import NotAnIntent, Question, read_question
from mallku_workers.reconciling.tails import Believing, Coverage, coverage_of, vouch_for
from mallku_workers.reconciling.trail import read_on, reader_of_records

AT_ONCE: Final = 32
"""Intents that are looked into, or resolved, at the same time."""

CARRIED_S: Final = 10.0
"""How long the next checkpoint may take to carry what was vouched for, seconds."""

_log = structlog.get_logger("mallku.reconciler")
_T = TypeVar("_T")
_R = TypeVar("_R")


class Trail(Protocol):
    """Where resolutions are written: `AuditWriter`."""

    async def resolved(
        self,
        subject: CommandSubject,
        resolution: Resolution,
        resolves: dict[str, Any],
        **fields: Any,
    ) -> Ack | None:
        """Close an intent; None when somebody else wrote the same before."""
        ...

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record about the gateway itself on the trail."""
        ...


class Vouching(Protocol):
    """What says in a checkpoint what stands of dead workers' tails: `Checkpoints`."""

    def vouch(self, vouch: Vouch) -> asyncio.Future[Head]:
        """Let the next checkpoint say this; the future ends when it stands."""
        ...


@dataclass(frozen=True, slots=True)
class ReconcilerLimits:
    """What is left alone, and for how long.

    Attributes:
        untouched_ms: An intent that is younger may have its worker still at it, milliseconds.
        silent_ms: A worker whose last record is older, and not covered, is dead, milliseconds.
    """

    untouched_ms: int
    silent_ms: int


@dataclass(slots=True)
class Report:
    """What one run found.

    Attributes:
        floor: Below this sequence nothing is open.
        read: How many records about commands it read.
        counts: How often it wrote each resolution.
        left: Open intents that it could not, or need not yet, say anything about.
        vouched: The dead workers whose tails it vouched for.
    """

    floor: int
    read: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    left: int = 0
    vouched: list[str] = field(default_factory=list[str])

    def facts(self, asked: int) -> dict[str, Any]:
        """As they stand in the `reconcile` record."""
        found = {name.replace("-", "_"): count for name, count in self.counts.items()}
        return (
            {FLOOR: self.floor, "left": self.left, "vouched": self.vouched} | found | {ASKED: asked}
        )


@dataclass(frozen=True, slots=True)
class _Case:
    intent: OpenIntent
    record: Record
    question: Question
    verdict: Verdict


class Reconciler:
    """Closes what dead workers left open.

    Args:
        instance: This worker's own, whose tail nobody has to vouch for.
        looking: Asks the store.
        clock: Unix milliseconds.
        vouching: None vouches for nobody.
    """

    def __init__(  # noqa: PLR0913 - the outside worlds that it brings together
        self,
        connection: GatewayConnection,
        instance: str,
        looking: Looking,
        trail: Trail,
        limits: ReconcilerLimits,
        *,
        trust: Believing,
        clock: Callable[[], int],
        vouching: Vouching | None,
    ) -> None:
        self._connection = connection
        self._instance = instance
        self._looking = looking
        self._trail = trail
        self._limits = limits
        self._trust = trust
        self._clock = clock
        self._vouching = vouching
        self._read_record = reader_of_records(connection)

    async def run(self, asked: int = 0) -> Report:
        """Close what can be closed now.

        Args:
            asked: The request that is answered, so that whoever asked knows; 0 for none.

        Raises:
            GatewayUnreachable, ConfigurationError: the trail cannot be read.
            AuditUnavailable: it cannot be written.
        """
        former = await read_former(self._connection)
        intents = Intents(read=former.floor - 1)
        await self._read_on(intents)
        now_ms = self._clock()
        old = [
            intent
            for intent in intents.open
            if now_ms - intent.time_ms >= self._limits.untouched_ms
        ]
        looked = await _each(old, partial(self._look_into, intents))
        cases = [case for case in looked if case is not None]
        if cases:
            await self._read_on(intents)  # what came meanwhile may have closed some
        report = Report(former.floor, intents.commands)
        await self._resolve(cases, intents, report)
        report.left = len(intents.open)
        hold = [each.sequence for each in intents.open] + [intents.beyond or intents.read + 1]
        report.floor = min(hold + await self._vouch(intents, report, now_ms))
        moved = intents.commands > 0 and report.floor > former.floor
        if asked or report.counts or report.vouched or moved:
            self._say(report, max(asked, former.asked))
        return report

    async def _read_on(self, intents: Intents) -> None:
        wanted = Range(AUDIT, first=intents.read + 1)
        await read_on(self._connection, wanted, intents.take)

    # Looking

    async def _look_into(self, intents: Intents, intent: OpenIntent) -> _Case | None:
        """What can be said of one intent; None when that is nothing yet, or its store is silent."""
        record = await self._read_record(intent.sequence)
        if record is None:
            return None
        try:
            question = read_question(record, skew_ms=self._looking.limits.skew_ms)
            verdict = await self._looking.look(question)
        except NotAnIntent as error:
            _log.error("not_an_intent", sequence=intent.sequence, reason=str(error))
            intents.give_up(intent)
            return None
        except MallkuError as error:
            _log.warning("not_looked_into", sequence=intent.sequence, reason=str(error))
            return None
        return None if verdict is None else _Case(intent, record, question, verdict)

    # Writing

    async def _resolve(self, cases: Sequence[_Case], intents: Intents, report: Report) -> None:
        """Write the resolutions of what is open still."""
        still = [case for case in cases if intents.is_open(case.intent)]
        new = [case for case in still if not _is_said(case)]
        for case, written in zip(new, await _each(new, self._write), strict=True):
            if written:
                report.counts[case.verdict.resolution.value] += 1
        for case in still:
            if case.verdict.final:
                intents.give_up(case.intent)

    async def _write(self, case: _Case) -> bool:
        """Write one resolution; False when somebody else did."""
        intent, record, verdict = case.intent, case.record, case.verdict
        resolves = {
            "worker": intent.worker,
            "number": intent.number,
            "sequence": intent.sequence,
        }
        fields: dict[str, Any] = {
            "id": record.id,
            "attempt": record.attempt,
            "kid": record.kid,
            "issuer": record.issuer,
            "roles": record.roles,
            "policy": record.policy,
            "rule": record.rule,
            "trace": record.trace,
            "reason": verdict.reason,
        }
        if verdict.committed is not None:
            fields |= await self._looking.came_of(case.question, verdict.committed)
        subject = case.question.subject
        stands = await self._trail.resolved(subject, verdict.resolution, resolves, **fields)
        return stands is not None

    def _say(self, report: Report, asked: int) -> None:
        subject = about_gateway(Verb.RECONCILE)
        self._trail.administrative(subject, "done", facts=report.facts(asked))
        if report.counts or report.vouched:
            _log.info("reconciled", **report.facts(asked))

    # Vouching

    async def _vouch(self, intents: Intents, report: Report, now_ms: int) -> list[int]:
        """Vouch for the tails of dead workers; the sequences that have to be read again."""
        if self._vouching is None:
            return []
        loose: dict[str, tuple[Written, Coverage]] = {}
        for worker, written in intents.workers.items():
            covered = await coverage_of(self._connection, worker, self._trust())
            if covered is not None and not covered.reaches(written.highest):
                loose[worker] = written, covered
        report.vouched = await self._vouch_for(
            {worker: of for worker, of in loose.items() if self._is_dead(worker, of[0], now_ms)},
            self._vouching,
        )
        left = (of for worker, of in loose.items() if worker not in report.vouched)
        return [
            covered.sequence + 1 if covered.sequence else written.first for written, covered in left
        ]

    def _is_dead(self, worker: str, written: Written, now_ms: int) -> bool:
        silent = now_ms - written.last_ms >= self._limits.silent_ms
        return silent and worker != self._instance

    async def _vouch_for(
        self, dead: Mapping[str, tuple[Written, Coverage]], vouching: Vouching
    ) -> list[str]:
        """Those of the dead workers for whom a checkpoint speaks now."""
        vouches = await vouch_for(self._connection, dead)
        carried = await asyncio.gather(*(self._carried(vouching.vouch(each)) for each in vouches))
        return [vouch.worker for vouch, stands in zip(vouches, carried, strict=True) if stands]

    async def _carried(self, checkpoint: Awaitable[Head]) -> bool:
        try:
            async with asyncio.timeout(CARRIED_S):
                await checkpoint
        except TimeoutError:
            return False
        return True


def _is_said(case: _Case) -> bool:
    return case.intent.pending and case.verdict.resolution is Resolution.PENDING


async def _each(items: Sequence[_T], act: Callable[[_T], Awaitable[_R]]) -> list[_R]:
    """Do it for all of them, some at a time; the first error ends it."""
    results: list[_R] = []
    for start in range(0, len(items), AT_ONCE):
        results += await asyncio.gather(*map(act, items[start : start + AT_ONCE]))
    return results
