"""Steps 8 and 10: no execution before the intent is acknowledged, no answer before the outcome.

Nobody waits for the record of a refusal. How a record gets onto the stream is `publishing`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from mallku_broker.acknowledgements import Ack, NotAcknowledged, PublishFailed
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Resolution, message_id, pack_fields, record_hash
from mallku_contracts.errors import AuditUnavailable, MallkuError, OutcomePending, Replayed
from mallku_contracts.results import Receipt
from mallku_contracts.subjects import CommandSubject, audit_subject
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
from mallku_workers.audit.seam import Seam
from mallku_workers.message import Case
from mallku_workers.stores.base import Done

RESOLVING_S: Final = 10.0
"""How long whoever resolves an intent waits for the trail, seconds; the record is tried on."""

FindBack = Callable[[str, int, bytes], Awaitable[int | None]]
"""The last sequence at which these bytes stand under an audit subject, from a sequence on."""


class AuditWriter:
    """Writes this worker's records, numbered from 1 without gaps; `clock` is Unix milliseconds.

    Args:
        numbers: Told what became of each record number; checkpoints are made of it.
        seam: Where the trail's streams meet; None where there is one stream for ever.
        find_back: Where these bytes stand in the trail. Asked when a resolution is a duplicate and
            may stand there as this worker's own; without it, it counts as somebody else's.
    """

    def __init__(  # noqa: PLR0913 - everything that a record needs of the outside
        self,
        acknowledgements: Acknowledgements,
        worker: str,
        limits: AuditLimits,
        clock: Callable[[], int],
        numbers: Numbers,
        *,
        find_back: FindBack | None = None,
        seam: Seam | None = None,
    ) -> None:
        self._publisher = publisher = RecordPublisher(
            acknowledgements, limits, numbers, seam.look if seam else lambda: None
        )
        self._worker = worker
        self._limits = limits
        self._clock = clock
        self._numbers = numbers
        self._find_back = find_back
        self._seam = seam
        self._resolving: dict[tuple[Any, ...], asyncio.Task[Ack | None]] = {}
        self._refusals = RefusalMinutes(
            limits.refusals_per_minute, lambda: publisher.has_room, self._sum_up
        )

    @property
    def pending(self) -> int:
        """Outcomes and refusals that the stream has not acknowledged yet."""
        return self._publisher.pending

    @property
    def answers(self) -> bool:
        """Whether the last record that was tried was acknowledged."""
        return self._publisher.answers

    @property
    def has_room(self) -> bool:
        """Whether few enough records wait for the trail; without room nothing is executed."""
        return self._publisher.has_room

    @property
    def records(self) -> int:
        """Records that were written, or tried to be."""
        return self._numbers.given

    @property
    def uncovered(self) -> int:
        """Record numbers that no acknowledged checkpoint covers."""
        return self._numbers.uncovered

    async def intent(self, case: Case) -> None:
        """Step 8: put the intent on the trail, once, and wait for the acknowledgement.

        Raises:
            AuditUnavailable: there was none in time; nothing may be executed.
            Replayed: some worker wrote this transmission's intent before.
        """
        self._publisher.refuse_crowd()
        entry = self._entry(subject_of(case), "intent", known(case) | asked(case))
        stands: Ack | None = None
        try:
            before = self._seam.pass_on(entry.id) if self._seam else ""
            case.announced = True
            acknowledged = await self._publisher.publish(entry)
            if before and acknowledged.stream != before:
                raise NotAcknowledged("the trail went on in another stream meanwhile")
            stands = acknowledged
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

        Whoever waits may be cancelled; the record is not. Who asks for one that is being written
        waits for that.

        Returns:
            Where the record stands; None when another worker wrote the same before.

        Raises:
            AuditUnavailable: too much waits for the trail already; or it is silent for longer than
                `RESOLVING_S`, and the record is tried on behind.
        """
        name: tuple[Any, ...] = (resolves["worker"], resolves["number"], resolution)
        writing = self._resolving.get(name)
        if writing is None:
            writing = self._resolve(subject, resolution, resolves, fields)
            self._resolving[name] = writing
            writing.add_done_callback(lambda _: self._resolving.pop(name))
        try:
            async with asyncio.timeout(RESOLVING_S):
                return await asyncio.shield(writing)
        except TimeoutError:
            raise AuditUnavailable(
                f"the trail did not acknowledge a resolution for {RESOLVING_S:g} s"
            ) from None

    def _resolve(
        self,
        subject: CommandSubject,
        resolution: Resolution,
        resolves: dict[str, Any],
        fields: dict[str, Any],
    ) -> asyncio.Task[Ack | None]:
        self._publisher.refuse_crowd()
        about = {"subject": str(subject), "resolves": resolves, "resolution": str(resolution)}
        entry = self._entry(subject, "resolved", _about(subject) | about | fields, pack_fitting)
        return self._publisher.outliving(entry, self._publish_shared(entry, resolves["sequence"]))

    async def rotated(self, facts: dict[str, Any]) -> Ack | None:
        """Begin a stream of the trail with a record (`rotation.ROTATE_FACTS`); one worker does.

        Returns: as `resolved`. Whoever waits may be cancelled; the record is not.
        """
        subject = about_gateway(Verb.ROTATE)
        entry = self._entry(subject, "done", _about(subject) | {"facts": facts})
        writing = self._publish_shared(entry, facts["last"] + 1)
        return await asyncio.shield(self._publisher.outliving(entry, writing))

    async def _publish_shared(self, entry: Entry, first: int) -> Ack | None:
        """Publish what others may write too until it stands; None when it is somebody else's.

        Args:
            first: It stands at this sequence or behind it.
        """
        sent_before = False
        while True:
            try:
                stands = await self._publisher.publish(entry)
                self._publisher.heard(None)
                if not stands.duplicate:
                    return stands
                return await self._own(entry, stands, first) if sent_before else None
            except (PublishFailed, MallkuError) as error:
                self._publisher.heard(error)
                sent_before = sent_before or isinstance(error, NotAcknowledged)
            await asyncio.sleep(self._limits.retry_s)

    async def _own(self, entry: Entry, stands: Ack, first: int) -> Ack | None:
        """Where this worker's own stands, if it does.

        It may stand beside another's: acknowledgements can be lost until the stream has forgotten.
        """
        if self._find_back is None:
            return None
        place = audit_subject(entry.subject, entry.kind)
        sequence = await self._find_back(place, first, entry.data)
        return None if sequence is None else stands._replace(sequence=sequence)

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
        if not case.mutates and case.message.job is None:
            return None
        stands = await self._stands(entry, first_try)
        if stands is None:
            raise OutcomePending(
                "the command was carried out; its record is not acknowledged yet",
                details={"id": fields["id"]},
            )
        return {"stream": AUDIT, "sequence": stands.sequence, "hash": entry.hash}

    async def _stands(self, entry: Entry, first_try: asyncio.Future[Ack]) -> Ack | None:
        """Where an outcome stands, by its first try or another one in the time of one; else None.

        A try can fail at once: where the trail begins another stream nobody listens for a moment.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.wait_s
        try:
            return await first_try
        except PublishFailed:
            return await self._publisher.standing(entry, max(0.0, end - loop.time()))

    def _entry(
        self,
        subject: CommandSubject,
        kind: str,
        fields: dict[str, Any],
        pack: Callable[[dict[str, Any]], bytes] = pack_fields,
    ) -> Entry:
        """Number a record; one that cannot be packed leaves its number void."""
        number = self._numbers.give()
        try:
            own = {"kind": kind, "worker": self._worker, "number": number, "time": self._clock()}
            record = own | fields
            data = pack(record)
            return Entry(subject, kind, number, message_id(record), data, record_hash(data))
        except BaseException:
            self._numbers.void(number)
            raise


def _about(subject: CommandSubject) -> dict[str, Any]:
    """The fields that every record has, where no command is known that it is about."""
    return {"id": "", "principal": subject.principal, "subject": ""}
