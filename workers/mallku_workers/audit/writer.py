"""Steps 8 and 10: no execution before the intent is acknowledged, no answer before the outcome.

Nobody waits for the record of a refusal. The trail is a stream; its acknowledgements come back over
one multiplexed inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

import structlog

from mallku_broker.acknowledgements import Ack, NotAcknowledged, PublishFailed
from mallku_contracts.audit import Record, message_id, record_hash
from mallku_contracts.errors import AuditUnavailable, MallkuError, OutcomePending, Replayed
from mallku_contracts.results import Receipt
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_workers.audit.floods import RefusalFloods
from mallku_workers.audit.records import (
    UNREADABLE,
    asked,
    came_of,
    known,
    pack_fitting,
    subject_of,
    went_wrong,
)
from mallku_workers.message import Case
from mallku_workers.stores.base import Done

MINUTE_S: Final = 60.0
"""After this long a flood of refusals is summed up, seconds."""

ROOM_RETRY_S: Final = 1.0
"""Advice to callers while too many records wait for the trail, seconds."""

_log = structlog.get_logger("mallku.audit")


class Acknowledgements(Protocol):
    """What the writer needs of the broker: publish one record, and learn where it stands."""

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish; the future ends with the acknowledgement or with `PublishFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """What bounds the writing of records.

    Attributes:
        wait_s: How long one try of a record waits for the stream, seconds.
        retry_s: Between two tries of an outcome or a refusal, seconds.
        max_pending: Records not acknowledged; from it on nothing new is executed, and refusals are
            counted until there is room again.
        refusals_per_minute: Refusals of one principal with a record each; the rest are counted.
    """

    wait_s: float
    retry_s: float
    max_pending: int
    refusals_per_minute: int


class AuditWriter:
    """Writes this worker's records, numbered from 1 without gaps; `clock` is Unix milliseconds."""

    def __init__(
        self,
        acknowledgements: Acknowledgements,
        worker: str,
        limits: AuditLimits,
        clock: Callable[[], int],
    ) -> None:
        self._acknowledgements = acknowledgements
        self._worker = worker
        self._limits = limits
        self._clock = clock
        self._number = 0
        self._pending: set[int] = set()
        self._drained: asyncio.Future[None] | None = None
        self._floods = RefusalFloods(limits.refusals_per_minute)
        self._minute: asyncio.TimerHandle | None = None
        self._answers = True

    @property
    def pending(self) -> int:
        """Outcomes and refusals that the stream has not acknowledged yet."""
        return len(self._pending)

    async def intent(self, case: Case) -> None:
        """Step 8: put the intent on the trail, once, and wait for the acknowledgement.

        Raises:
            AuditUnavailable: there was none in time; nothing may be executed.
            Replayed: some worker wrote this transmission's intent before.
        """
        if not self._has_room:
            raise AuditUnavailable("too many records wait for the trail", retry_after=ROOM_RETRY_S)
        record = self._record("intent", **known(case), **asked(case))
        case.announced = True
        try:
            acknowledged = await self._publish(subject_of(case), record, record.pack())
        except PublishFailed as error:
            case.announced = isinstance(error, NotAcknowledged)
            self._heard(error)
            raise AuditUnavailable(
                "the trail did not acknowledge the intent; nothing was executed",
                retry_after=self._limits.wait_s,
            ) from None
        self._heard(None)
        if acknowledged.duplicate:
            case.announced = False
            raise Replayed("this transmission was seen before; sign a retry anew")
        case.intended = True

    async def done(self, case: Case, done: Done) -> Receipt | None:
        """Step 10: a mutation waits for its receipt; the outcome of a read is written behind.

        Raises:
            OutcomePending: the effect stands, its record is not acknowledged yet.
        """
        case.concluded = True
        return await self._outcome(case, self._record("done", **known(case), **came_of(done)))

    async def failed(self, case: Case, error: MallkuError) -> Receipt | None:
        """Step 10 for an intent whose execution failed without effect."""
        case.concluded = True
        return await self._outcome(
            case, self._record("failed", **(known(case) | went_wrong(error)))
        )

    def denied(self, case: Case, error: MallkuError) -> None:
        """Put a refusal on the trail; nobody waits for it, and floods are summed up by the minute.

        A refusal that ends an intent which may stand in the trail is never summed up: it is what
        says that nothing was executed.
        """
        if self._passes(subject_of(case).principal, announced=case.announced):
            record = self._record("denied", **(known(case) | went_wrong(error)))
            self._write_until_acknowledged(subject_of(case), record, record.pack())

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record about the gateway itself on the trail; nobody waits for it.

        Refusals are summed up by the minute when they come in floods.
        """
        if kind != "denied" or self._passes(subject.principal, announced=False):
            names = {"id": "", "principal": subject.principal, "subject": ""}
            record = self._record(kind, **(names | fields))
            self._write_until_acknowledged(subject, record, record.pack())

    def _passes(self, principal: str, *, announced: bool) -> bool:
        """Whether a refusal gets a record of its own; begins the minute that it counts in."""
        if self._minute is None:
            self._minute = asyncio.get_running_loop().call_later(MINUTE_S, self._end_minute)
        return announced or self._floods.passes(principal, room=self._has_room)

    def _end_minute(self) -> None:
        self._minute = None
        if self._has_room:
            self._sum_up()
        else:
            self._minute = asyncio.get_running_loop().call_later(MINUTE_S, self._end_minute)

    def _sum_up(self) -> None:
        for principal, count in self._floods.summaries():
            subject = replace(UNREADABLE, principal=principal)
            record = self._record("denied", id="", principal=principal, subject="", count=count)
            self._write_until_acknowledged(subject, record, record.pack())

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is pending; return how many records were still not acknowledged."""
        if self._minute is not None:
            self._minute.cancel()
            self._minute = None
        self._sum_up()
        if self._pending:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._drained,), timeout=timeout_s)
        return len(self._pending)

    async def _outcome(self, case: Case, record: Record) -> Receipt | None:
        data = pack_fitting(record)
        case.outcome_bytes = len(data)
        first_try = self._write_until_acknowledged(subject_of(case), record, data)
        if not case.mutates:
            return None
        try:
            stands = await first_try
        except PublishFailed:
            raise OutcomePending(
                "the command was carried out; its record is not acknowledged yet",
                details={"id": record.id},
            ) from None
        return {"stream": stands.stream, "sequence": stands.sequence, "hash": record_hash(data)}

    def _write_until_acknowledged(
        self, subject: CommandSubject, record: Record, data: bytes
    ) -> asyncio.Future[Ack]:
        """Publish, and again after each failure, until the stream has it; the first try's end.

        Whoever waits for the first try may be cancelled, and the try with it; the record is not.
        """
        self._pending.add(record.number)
        return self._try(subject, record, data)

    def _try(self, subject: CommandSubject, record: Record, data: bytes) -> asyncio.Future[Ack]:
        published = self._publish(subject, record, data)
        published.add_done_callback(partial(self._settle, subject, record, data))
        return published

    def _settle(
        self, subject: CommandSubject, record: Record, data: bytes, published: asyncio.Future[Ack]
    ) -> None:
        error = None if published.cancelled() else published.exception()
        self._heard(error)
        if published.cancelled() or error is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.retry_s, self._try, subject, record, data)
        else:
            self._written(record.number)

    def _written(self, number: int) -> None:
        self._pending.discard(number)
        if self._drained is not None and not self._pending and not self._drained.done():
            self._drained.set_result(None)

    @property
    def _has_room(self) -> bool:
        return len(self._pending) < self._limits.max_pending

    def _heard(self, error: BaseException | None) -> None:
        """Say when the trail falls silent and when it answers again, not once for each record."""
        if self._answers and error is not None:
            _log.warning("trail_silent", reason=str(error), pending=len(self._pending))
        elif not self._answers and error is None:
            _log.info("trail_answers", pending=len(self._pending))
        self._answers = error is None

    def _publish(self, subject: CommandSubject, record: Record, data: bytes) -> asyncio.Future[Ack]:
        return self._acknowledgements.publish(
            audit_subject(subject, record.kind),
            data,
            message_id=message_id(record),
            timeout=self._limits.wait_s,
        )

    def _record(self, kind: str, **fields: Any) -> Record:
        self._number += 1
        now = self._clock()
        return Record(kind=kind, worker=self._worker, number=self._number, time=now, **fields)
