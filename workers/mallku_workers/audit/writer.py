"""Steps 8 and 10: no execution before the intent is acknowledged, no answer before the outcome.

Nobody waits for the record of a refusal. How a record gets onto the stream is `publishing`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from mallku_broker.acknowledgements import Ack, NotAcknowledged, PublishFailed
from mallku_contracts.audit import Record, Resolution, record_hash
from mallku_contracts.errors import AuditUnavailable, MallkuError, OutcomePending, Replayed
from mallku_contracts.results import Receipt
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.trail import Verb, about_gateway
from mallku_workers.audit.minutes import RefusalMinutes
from mallku_workers.audit.numbers import Numbers
from mallku_workers.audit.publishing import (
    Acknowledgements,
    AuditLimits,
    Entry,
    RecordPublisher,
)
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
        self._publisher = publisher = RecordPublisher(acknowledgements, limits, numbers)
        self._worker = worker
        self._limits = limits
        self._clock = clock
        self._numbers = numbers
        self._read_back = read_back
        self._refusals = RefusalMinutes(
            limits.refusals_per_minute, lambda: publisher.has_room, self._sum_up
        )

    @property
    def pending(self) -> int:
        """Outcomes and refusals that the stream has not acknowledged yet."""
        return self._publisher.pending

    async def intent(self, case: Case) -> None:
        """Step 8: put the intent on the trail, once, and wait for the acknowledgement.

        Raises:
            AuditUnavailable: there was none in time; nothing may be executed.
            Replayed: some worker wrote this transmission's intent before.
        """
        self._publisher.refuse_crowd()
        entry = self._entry(subject_of(case), "intent", known(case) | asked(case))
        case.announced = True
        stands: Ack | None = None
        try:
            stands = acknowledged = await self._publisher.publish(entry)
        except PublishFailed as error:
            case.announced = isinstance(error, NotAcknowledged)
            self._publisher.heard(error)
            raise AuditUnavailable(
                "the trail did not acknowledge the intent; nothing was executed",
                retry_after=self._limits.wait_s,
            ) from None
        finally:
            self._publisher.settle(entry, None if stands is None or stands.duplicate else stands)
        self._publisher.heard(None)
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
        if self._refusals.passes(subject_of(case).principal, announced=case.announced):
            fields = known(case) | went_wrong(error)
            self._publisher.until_acknowledged(self._entry(subject_of(case), "denied", fields))

    def administrative(self, subject: CommandSubject, kind: str, **fields: Any) -> None:
        """Put a record about the gateway itself on the trail; nobody waits for it.

        Refusals are summed up by the minute when they come in floods.
        """
        if kind != "denied" or self._refusals.passes(subject.principal, announced=False):
            self._publisher.until_acknowledged(self._entry(subject, kind, _about(subject) | fields))

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

        Whoever waits may be cancelled; the record is not.

        Returns:
            Where the record stands; None when another worker wrote the same before.

        Raises:
            AuditUnavailable: too much waits for the trail already.
        """
        self._publisher.refuse_crowd()
        about = {"subject": str(subject), "resolves": resolves, "resolution": str(resolution)}
        entry = self._entry(subject, "resolved", _about(subject) | about | fields, pack_fitting)
        return await self._publisher.outliving(entry, self._publish_resolution(entry))

    async def _publish_resolution(self, entry: Entry) -> Ack | None:
        """Publish until it is acknowledged; None when what stands there is somebody else's."""
        sent_before = False
        while True:
            try:
                stands = await self._publisher.publish(entry)
                self._publisher.heard(None)
                if not stands.duplicate:
                    return stands
                return stands if sent_before and await self._is_own(entry, stands) else None
            except (PublishFailed, MallkuError) as error:
                self._publisher.heard(error)
                sent_before = sent_before or isinstance(error, NotAcknowledged)
            await asyncio.sleep(self._limits.retry_s)

    async def _is_own(self, entry: Entry, stands: Ack) -> bool:
        read_back = self._read_back
        return read_back is not None and await read_back(stands.sequence) == entry.data

    def started(self, facts: dict[str, Any]) -> asyncio.Future[Ack]:
        """Say that this worker is about to serve (`trail.START_FACTS`); the first try's end."""
        subject = about_gateway(Verb.START)
        entry = self._entry(subject, "done", _about(subject) | {"facts": facts})
        return self._publisher.until_acknowledged(entry)

    async def stop(self, timeout_s: float, *, cut_off: int) -> int:
        """Say that this worker ends, and `flush`; nothing is to be written any more.

        Args:
            cut_off: Commands that were not finished.
        """
        self._refusals.end()
        facts = {"records": self._numbers.given, "cut_off": cut_off}
        self.administrative(about_gateway(Verb.STOP), "done", facts=facts)
        return await self.flush(timeout_s)

    def _sum_up(self, principal: str, count: int) -> None:
        subject = replace(UNREADABLE, principal=principal)
        entry = self._entry(subject, "denied", _about(subject) | {"count": count})
        self._publisher.until_acknowledged(entry)

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is pending; return how many records were still not acknowledged."""
        self._refusals.end()
        return await self._publisher.flush(timeout_s)

    async def _outcome(self, case: Case, kind: str, fields: dict[str, Any]) -> Receipt | None:
        entry = self._entry(subject_of(case), kind, fields, pack_fitting)
        case.outcome_bytes = len(entry.data)
        first_try = self._publisher.until_acknowledged(entry)
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

    def _entry(
        self,
        subject: CommandSubject,
        kind: str,
        fields: dict[str, Any],
        pack: Callable[[Record], bytes] = Record.pack,
    ) -> Entry:
        """Number a record; one that cannot be packed leaves its number void."""
        number = self._numbers.give()
        try:
            now = self._clock()
            record = Record(kind=kind, worker=self._worker, number=number, time=now, **fields)
            data = pack(record)
        except BaseException:
            self._numbers.void(number)
            raise
        return Entry(subject, record, data, record_hash(data))


def _about(subject: CommandSubject) -> dict[str, Any]:
    """The fields that every record has, where no command is known that it is about."""
    return {"id": "", "principal": subject.principal, "subject": ""}
