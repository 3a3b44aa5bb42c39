"""Steps 8 and 10: no execution before the intent is acknowledged, no answer before the outcome.

Nobody waits for the record of a refusal. The trail is a stream; its acknowledgements come back over
one multiplexed inbox. Every record number that is given out is settled: its record is acknowledged,
tried again until it is, or the number is void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog

from mallku_broker.acknowledgements import Ack, NotAcknowledged, PublishFailed
from mallku_contracts.audit import Record, Resolution, message_id, record_hash
from mallku_contracts.errors import AuditUnavailable, MallkuError, OutcomePending, Replayed
from mallku_contracts.results import Receipt
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_contracts.trail import Verb, about_gateway
from mallku_workers.audit.floods import RefusalFloods
from mallku_workers.audit.numbers import Numbers
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


class _Entry(NamedTuple):
    """A record on its way: where to, its bytes, and their hash."""

    subject: CommandSubject
    record: Record
    data: bytes
    hash: bytes


class AuditWriter:
    """Writes this worker's records, numbered from 1 without gaps; `clock` is Unix milliseconds.

    Args:
        numbers: Told what became of each record number; checkpoints are made of it.
        read_back: The bytes at a sequence of the trail. Asked when a resolution is a duplicate and
            may be this worker's own; without it, it counts as somebody else's.
    """

    def __init__(  # noqa: PLR0913 - everything that a record needs of the outside
        self,
        acknowledgements: Acknowledgements,
        worker: str,
        limits: AuditLimits,
        clock: Callable[[], int],
        numbers: Numbers,
        *,
        read_back: Callable[[int], Awaitable[bytes]] | None = None,
    ) -> None:
        self._acknowledgements = acknowledgements
        self._worker = worker
        self._limits = limits
        self._clock = clock
        self._numbers = numbers
        self._read_back = read_back
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
        self._refuse_crowd()
        entry = self._entry(subject_of(case), "intent", known(case) | asked(case))
        case.announced = True
        stands: Ack | None = None
        try:
            stands = acknowledged = await self._publish(entry)
        except PublishFailed as error:
            case.announced = isinstance(error, NotAcknowledged)
            self._heard(error)
            raise AuditUnavailable(
                "the trail did not acknowledge the intent; nothing was executed",
                retry_after=self._limits.wait_s,
            ) from None
        finally:
            self._settle_number(entry, None if stands is None or stands.duplicate else stands)
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
        return await self._outcome(case, "done", known(case) | came_of(case, done))

    async def failed(self, case: Case, error: MallkuError) -> Receipt | None:
        """Step 10 for an intent whose execution failed without effect."""
        case.concluded = True
        return await self._outcome(case, "failed", known(case) | went_wrong(error))

    def denied(self, case: Case, error: MallkuError) -> None:
        """Put a refusal on the trail; nobody waits for it, and floods are summed up by the minute.

        A refusal that ends an intent which may stand in the trail is never summed up: it is what
        says that nothing was executed.
        """
        if self._passes(subject_of(case).principal, announced=case.announced):
            fields = known(case) | went_wrong(error)
            self._write_until_acknowledged(self._entry(subject_of(case), "denied", fields))

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record about the gateway itself on the trail; nobody waits for it.

        Refusals are summed up by the minute when they come in floods.
        """
        if kind != "denied" or self._passes(subject.principal, announced=False):
            self._write_until_acknowledged(self._entry(subject, kind, _about(subject) | fields))

    async def resolved(
        self,
        subject: CommandSubject,
        resolution: Resolution,
        resolves: dict[str, Any],
        **fields: Any,
    ) -> Ack | None:
        """Close an intent that has no outcome, and wait until that stands in the trail.

        Args:
            subject: The command's, under which its intent stands.
            resolves: The intent's `worker`, `number` and stream `sequence`.
            fields: Of the record; `id` and `principal` are the command's.

        Returns:
            Where the record stands; None when another worker wrote the same before.

        Raises:
            AuditUnavailable: too much waits for the trail already.
        """
        self._refuse_crowd()
        about = {"subject": str(subject), "resolves": resolves, "resolution": str(resolution)}
        entry = self._entry(subject, "resolved", _about(subject) | about | fields, pack_fitting)
        stands: Ack | None = None
        try:
            stands = await self._publish_resolution(entry)
        finally:
            self._settle_number(entry, stands)
        return stands

    async def _publish_resolution(self, entry: _Entry) -> Ack | None:
        """Publish until it is acknowledged; None when what stands there is somebody else's."""
        sent_before = False
        while True:
            try:
                stands = await self._publish(entry)
                self._heard(None)
                if not stands.duplicate:
                    return stands
                return stands if sent_before and await self._is_own(entry, stands) else None
            except (PublishFailed, MallkuError) as error:
                self._heard(error)
                sent_before = sent_before or isinstance(error, NotAcknowledged)
            await asyncio.sleep(self._limits.retry_s)

    async def _is_own(self, entry: _Entry, stands: Ack) -> bool:
        read_back = self._read_back
        return read_back is not None and await read_back(stands.sequence) == entry.data

    def started(self, facts: dict[str, Any]) -> asyncio.Future[Ack]:
        """Say that this worker is about to serve (`trail.START_FACTS`); the first try's end."""
        subject = about_gateway(Verb.START)
        entry = self._entry(subject, "done", _about(subject) | {"facts": facts})
        return self._write_until_acknowledged(entry)

    async def stop(self, timeout_s: float, *, cut_off: int) -> int:
        """Say that this worker ends, and `flush`; nothing is to be written any more.

        Args:
            cut_off: Commands that were not finished.
        """
        self._end_counting()
        facts = {"records": self._numbers.given, "cut_off": cut_off}
        self.administrative(about_gateway(Verb.STOP), "done", facts=facts)
        return await self.flush(timeout_s)

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
            entry = self._entry(subject, "denied", _about(subject) | {"count": count})
            self._write_until_acknowledged(entry)

    def _end_counting(self) -> None:
        if self._minute is not None:
            self._minute.cancel()
            self._minute = None
        self._sum_up()

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is pending; return how many records were still not acknowledged."""
        self._end_counting()
        if self._pending:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._drained,), timeout=timeout_s)
        return len(self._pending)

    async def _outcome(self, case: Case, kind: str, fields: dict[str, Any]) -> Receipt | None:
        entry = self._entry(subject_of(case), kind, fields, pack_fitting)
        case.outcome_bytes = len(entry.data)
        first_try = self._write_until_acknowledged(entry)
        if not case.mutates:
            return None
        try:
            stands = await first_try
        except PublishFailed:
            raise OutcomePending(
                "the command was carried out; its record is not acknowledged yet",
                details={"id": entry.record.id},
            ) from None
        return {"stream": stands.stream, "sequence": stands.sequence, "hash": entry.hash}

    def _write_until_acknowledged(self, entry: _Entry) -> asyncio.Future[Ack]:
        """Publish, and again after each failure, until the stream has it; the first try's end.

        Whoever waits for the first try may be cancelled, and the try with it; the record is not.
        """
        self._pending.add(entry.record.number)
        return self._try(entry)

    def _try(self, entry: _Entry) -> asyncio.Future[Ack]:
        published = self._publish(entry)
        published.add_done_callback(partial(self._settle, entry))
        return published

    def _settle(self, entry: _Entry, published: asyncio.Future[Ack]) -> None:
        error = None if published.cancelled() else published.exception()
        self._heard(error)
        if published.cancelled() or error is not None:
            asyncio.get_running_loop().call_later(self._limits.retry_s, self._try, entry)
        else:
            self._settle_number(entry, published.result())
            self._written(entry.record.number)

    def _settle_number(self, entry: _Entry, stands: Ack | None) -> None:
        if stands is None:
            self._numbers.void(entry.record.number)
        else:
            self._numbers.acknowledged(entry.record.number, stands.sequence, entry.hash)

    def _written(self, number: int) -> None:
        self._pending.discard(number)
        if self._drained is not None and not self._pending and not self._drained.done():
            self._drained.set_result(None)

    def _refuse_crowd(self) -> None:
        if not self._has_room:
            raise AuditUnavailable("too many records wait for the trail", retry_after=ROOM_RETRY_S)

    @property
    def _has_room(self) -> bool:
        return len(self._pending) < self._limits.max_pending and self._numbers.has_room

    def _heard(self, error: BaseException | None) -> None:
        """Say when the trail falls silent and when it answers again, not once for each record."""
        if self._answers and error is not None:
            _log.warning("trail_silent", reason=str(error), pending=len(self._pending))
        elif not self._answers and error is None:
            _log.info("trail_answers", pending=len(self._pending))
        self._answers = error is None

    def _publish(self, entry: _Entry) -> asyncio.Future[Ack]:
        return self._acknowledgements.publish(
            audit_subject(entry.subject, entry.record.kind),
            entry.data,
            message_id=message_id(entry.record),
            timeout=self._limits.wait_s,
        )

    def _entry(
        self,
        subject: CommandSubject,
        kind: str,
        fields: dict[str, Any],
        pack: Callable[[Record], bytes] = Record.pack,
    ) -> _Entry:
        """Number a record; one that cannot be packed leaves its number void."""
        number = self._numbers.give()
        try:
            now = self._clock()
            record = Record(kind=kind, worker=self._worker, number=number, time=now, **fields)
            data = pack(record)
        except BaseException:
            self._numbers.void(number)
            raise
        return _Entry(subject, record, data, record_hash(data))


def _about(subject: CommandSubject) -> dict[str, Any]:
    """The fields that every record has, where no command is known that it is about."""
    return {"id": "", "principal": subject.principal, "subject": ""}
