"""How records get onto the stream: tried until they stand there, counted while they do not yet.

Every record number that is given out is settled: its record is acknowledged, tried again until it
is, or the number is void.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog

from mallku_broker.acknowledgements import Ack
from mallku_contracts.errors import AuditUnavailable
from mallku_contracts.subjects import CommandSubject, audit_subject
from mallku_workers.audit.numbers import Numbers

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


class Entry(NamedTuple):
    """A record on its way.

    Attributes:
        subject: Of the command, or about what it is.
        number: Its own among this worker's records.
        id: Its `Nats-Msg-Id`.
        hash: SHA-256 of `data`, its bytes.
    """

    subject: CommandSubject
    kind: str
    number: int
    id: str
    data: bytes
    hash: bytes


class RecordPublisher:
    """Brings numbered records to the stream, and tells `numbers` what became of each.

    `troubled` is called whenever one did not get there; it must neither wait nor raise.
    """

    def __init__(
        self,
        acknowledgements: Acknowledgements,
        limits: AuditLimits,
        numbers: Numbers,
        troubled: Callable[[], None] = lambda: None,
    ) -> None:
        self._acknowledgements = acknowledgements
        self._limits = limits
        self._numbers = numbers
        self._pending: set[int] = set()
        self._writing: set[asyncio.Task[Ack | None]] = set()
        self._awaited: dict[int, asyncio.Future[Ack]] = {}
        self._drained: asyncio.Future[None] | None = None
        self._answers = True
        self._troubled = troubled

    @property
    def pending(self) -> int:
        """Records that are tried until acknowledged, and are not acknowledged yet."""
        return len(self._pending)

    @property
    def answers(self) -> bool:
        """Whether the last record that was tried was acknowledged."""
        return self._answers

    @property
    def has_room(self) -> bool:
        """Whether few enough records wait for the trail that another may be written."""
        return len(self._pending) < self._limits.max_pending and self._numbers.has_room

    def refuse_crowd(self) -> None:
        """Raise `AuditUnavailable` while too many records wait for the trail."""
        if not self.has_room:
            raise AuditUnavailable("too many records wait for the trail", retry_after=ROOM_RETRY_S)

    def publish(self, entry: Entry) -> asyncio.Future[Ack]:
        """Try a record once; whoever asks has to `settle` its number, whatever comes of it."""
        return self._acknowledgements.publish(
            audit_subject(entry.subject, entry.kind),
            entry.data,
            message_id=entry.id,
            timeout=self._limits.wait_s,
        )

    def until_acknowledged(self, entry: Entry) -> asyncio.Future[Ack]:
        """Publish, and again after each failure, until the stream has it; the first try's end.

        Whoever waits for the first try may be cancelled, and the try with it; the record is not.
        """
        self._pending.add(entry.number)
        return self._try(entry)

    async def standing(self, entry: Entry, timeout_s: float) -> Ack | None:
        """Where a record stands whose first try failed; None when no later one succeeds in time."""
        number = entry.number
        awaited: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._awaited[number] = awaited
        try:
            async with asyncio.timeout(timeout_s):
                return await awaited
        except TimeoutError:
            return None
        finally:
            del self._awaited[number]

    def outliving(
        self, entry: Entry, writing: Coroutine[Any, Any, Ack | None]
    ) -> asyncio.Task[Ack | None]:
        """Let `writing` find out where the record stands, whoever waits for it; shield the task.

        Only its own end settles the number: cut off at the very end, the record may stand.
        """
        task = asyncio.get_running_loop().create_task(writing)
        self._pending.add(entry.number)
        self._writing.add(task)
        task.add_done_callback(partial(self._wrote, entry))
        return task

    def _wrote(self, entry: Entry, task: asyncio.Task[Ack | None]) -> None:
        self._writing.discard(task)
        if not task.cancelled():
            self.settle(entry, None if task.exception() else task.result())
            self._written(entry.number)

    def settle(self, entry: Entry, stands: Ack | None) -> None:
        """The record stands there; None makes its number void."""
        if stands is None:
            self._numbers.void(entry.number)
        else:
            self._numbers.acknowledged(entry.number, stands.sequence, entry.hash)

    def heard(self, error: BaseException | None) -> None:
        """Say when the trail falls silent and when it answers again, not once for each record."""
        if self._answers and error is not None:
            _log.warning("trail_silent", reason=str(error), pending=len(self._pending))
        elif not self._answers and error is None:
            _log.info("trail_answers", pending=len(self._pending))
        self._answers = error is None
        if error is not None:
            self._troubled()

    async def flush(self, timeout_s: float) -> int:
        """Wait for what is pending; return how many records were still not acknowledged."""
        if self._pending:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._drained,), timeout=timeout_s)
        return len(self._pending)

    def _try(self, entry: Entry) -> asyncio.Future[Ack]:
        published = self.publish(entry)
        published.add_done_callback(partial(self._tried, entry))
        return published

    def _tried(self, entry: Entry, published: asyncio.Future[Ack]) -> None:
        error = None if published.cancelled() else published.exception()
        self.heard(error)
        if published.cancelled() or error is not None:
            asyncio.get_running_loop().call_later(self._limits.retry_s, self._try, entry)
        else:
            self.settle(entry, published.result())
            awaited = self._awaited.get(entry.number)
            if awaited is not None and not awaited.done():
                awaited.set_result(published.result())
            self._written(entry.number)

    def _written(self, number: int) -> None:
        self._pending.discard(number)
        if self._drained is not None and not self._pending and not self._drained.done():
            self._drained.set_result(None)
