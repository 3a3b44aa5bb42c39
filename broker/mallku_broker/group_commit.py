"""Group commit: records that wait at the same moment travel in one atomic batch (ADR-50).

Where each commit waits for the disk, one commit for many records is what makes it affordable. There
is no timer: a group leaves as soon as the former one was answered, and at once when none is under
way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from mallku_broker.acknowledgements import (
    MAX_BATCH_MESSAGES,
    Ack,
    Message,
    NotAcknowledged,
    NotPublished,
    PublishFailed,
    PublishRefused,
    failed,
    refuse_smuggling,
)
from mallku_broker.pending import TICK_S, Pending
from mallku_contracts.audit import CHOSEN
from mallku_contracts.limits import MIB

MIN_BATCH_MESSAGES: Final = 8
"""Records below which a group is quicker without a batch, which costs the server six syncs.

Measured: a batch costs as much as 12 to 16 single records; where the disk alone counts it is six.
"""

MAX_BATCH_BYTES: Final = 4 * MIB
"""Bodies in one group, bytes; a record that is larger travels alone."""

MAX_WAITING: Final = 4_096
"""Records that wait for the group they will leave with."""

MAX_WAITING_BYTES: Final = 64 * MIB
"""Bodies of records that wait, bytes."""


APART_S: Final = 10.0
"""For so long after a caller used an id again its intents leave their groups, seconds."""

MAX_APART: Final = 1_024
"""Callers whose intents leave their groups; with more, the one that used an id first is let in."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What bounds groups, and what waits for one.

    Attributes:
        min_messages: A smaller group is published one by one, all at once.
        max_messages: Records in one group.
        max_bytes: Bodies in one group, bytes.
        max_waiting: Records that wait for their group; one more is `NotPublished`.
        max_waiting_bytes: Their bodies, bytes.
    """

    min_messages: int = MIN_BATCH_MESSAGES
    max_messages: int = MAX_BATCH_MESSAGES
    max_bytes: int = MAX_BATCH_BYTES
    max_waiting: int = MAX_WAITING
    max_waiting_bytes: int = MAX_WAITING_BYTES


class Publisher(Protocol):
    """What group commit needs of the broker; `AcknowledgementMultiplexer` is one."""

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish one message."""
        ...

    def publish_batch(self, messages: Sequence[Message], *, timeout: float) -> asyncio.Future[Ack]:
        """Publish all of them or none; the acknowledgement has the last one's sequence."""
        ...


class _Record(NamedTuple):
    """A record on its way to the stream; `deadline` is the loop's time."""

    token: str
    message: Message
    future: asyncio.Future[Ack]
    deadline: float


class GroupCommit:
    """Publishes as `AcknowledgementMultiplexer.publish` does, in groups; safe for many tasks.

    Records are stored in the order of the calls, but for what may be a duplicate: one refuses the
    group that holds it, and a caller can make as many as it likes. Of a refused group intents are
    published one by one, whose ids alone are callers' to choose, and then the others together; only
    when that is refused, one by one too. So a duplicate, or a record that does not fit, is told to
    the one whose it is. Intents of a caller who used an id again leave their groups for `APART_S`,
    and are published one by one behind them: nobody else loses group commit to it.

    Args:
        publisher: Under way with one group at a time; nobody else should publish through it.

    Attributes:
        groups: Groups that left, those that were published one by one among them.
        grouped: Records in them.
    """

    def __init__(self, publisher: Publisher, limits: GroupLimits | None = None) -> None:
        self._publisher = publisher
        self._limits = limits or GroupLimits()
        self._loop = asyncio.get_running_loop()
        self._pending: Pending[Ack] = Pending(self._timed_out)
        self._queue: deque[_Record] = deque()
        self._waiting_bytes = 0
        self._given = 0
        self._left = 0
        self._work: asyncio.Task[None] | None = None
        self._closed = False
        self._apart: dict[str, float] = {}
        self.groups = self.grouped = 0

    @property
    def waiting(self) -> int:
        """Records that have not left yet."""
        return len(self._queue)

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Let a record leave with the next group, and return a future of its acknowledgement.

        Args:
            message_id: `Nats-Msg-Id`, printable ASCII.
            timeout: Seconds until the future ends: with `NotPublished` when the record has not left
                by then, else with `NotAcknowledged`.

        A future that is cancelled before its record left takes the record with it. Otherwise it
        ends as that of `AcknowledgementMultiplexer.publish`.
        """
        refuse_smuggling(message_id)
        if refusal := self._refusal(len(body)):
            return failed(NotPublished(refusal))
        self._given += 1
        token, future = self._pending.open(str(self._given), timeout)
        message = Message(subject, body, message_id)
        self._queue.append(_Record(token, message, future, self._loop.time() + timeout))
        self._waiting_bytes += len(body)
        if self._work is None or self._work.done():
            self._work = self._loop.create_task(self._commit_groups())
        return future

    async def close(self) -> None:
        """End what waits: `NotPublished` where a record has not left, else `NotAcknowledged`."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait((self._work,))
        for record in self._queue:
            self._fail(record, NotPublished("group commit was closed"))
        self._queue.clear()
        self._pending.fail(lambda: NotAcknowledged("group commit was closed"))

    def _refusal(self, size: int) -> str:
        if self._closed:
            return "group commit was closed"
        if len(self._queue) >= self._limits.max_waiting:
            return f"{self._limits.max_waiting} records wait for their group"
        if self._queue and self._waiting_bytes + size > self._limits.max_waiting_bytes:
            return f"{self._waiting_bytes} bytes of records wait for their group"
        return ""

    async def _commit_groups(self) -> None:
        """One group after the other, until nothing waits."""
        while group := self._next_group():
            self.groups += 1
            self.grouped += len(group)
            await self._commit(group)

    async def _commit(self, group: Sequence[_Record]) -> None:
        """Publish a group, as much of it together as can be; return when all were answered."""
        if len(group) < self._limits.min_messages:
            await self._publish_singly(group)
            return
        rest, apart = _split(group, self._is_apart)
        if not await self._publish_together(rest):
            own, chosen = _split(rest, _caller)
            await self._publish_singly(chosen)
            if not chosen or not await self._publish_together(own):
                await self._publish_singly(own)
        await self._publish_singly(apart)

    def _next_group(self) -> list[_Record]:
        """What leaves together; the same id twice would refuse the group that holds it."""
        group: list[_Record] = []
        ids: set[str] = set()
        size = 0
        while self._queue and len(group) < self._limits.max_messages:
            record = self._queue[0]
            if not record.future.done():
                size += len(record.message.body)
                if group and (size > self._limits.max_bytes or record.message.id in ids):
                    break
                group.append(record)
                ids.add(record.message.id)
            self._drop_first()
        return group

    def _drop_first(self) -> None:
        record = self._queue.popleft()
        self._waiting_bytes -= len(record.message.body)
        self._left += 1
        if record.future.done():
            self._pending.forget(record.token)

    async def _publish_together(self, group: Sequence[_Record]) -> bool:
        """One batch for all of them; False when nothing of it is stored: refused, or too few."""
        group = [record for record in group if not record.future.done()]
        if len(group) < self._limits.min_messages:
            return not group
        longest = max(record.deadline for record in group)
        messages = [record.message for record in group]
        try:
            last = await self._publisher.publish_batch(messages, timeout=self._time_left(longest))
        except PublishRefused:
            return False
        except PublishFailed as error:
            for record in group:
                self._fail(record, type(error)(str(error)))
        else:
            first = last.sequence - len(group) + 1
            for sequence, record in enumerate(group, first):
                self._acknowledge(record, last._replace(sequence=sequence))
        return True

    async def _publish_singly(self, group: Sequence[_Record]) -> None:
        """Each by itself, in order, all at once; return when all of them were answered."""
        left = [record for record in group if not record.future.done()]
        answers = [self._publish_one(record) for record in left]
        for record, answer in zip(left, answers, strict=True):
            try:
                ack = await answer
            except PublishFailed as error:
                self._fail(record, error)
            else:
                self._note(record.message.id, duplicate=ack.duplicate)
                self._acknowledge(record, ack)

    def _publish_one(self, record: _Record) -> asyncio.Future[Ack]:
        subject, body, message_id = record.message
        return self._publisher.publish(
            subject, body, message_id=message_id, timeout=self._time_left(record.deadline)
        )

    def _is_apart(self, message_id: str) -> bool:
        """Whether its caller used an id again lately."""
        return self._apart.get(_caller(message_id), 0.0) > self._loop.time()

    def _note(self, message_id: str, *, duplicate: bool) -> None:
        """Have intents of a caller who used an id again leave their groups."""
        caller = _caller(message_id)
        if duplicate and caller:
            self._apart.pop(caller, None)
            self._apart[caller] = self._loop.time() + APART_S
            if len(self._apart) > MAX_APART:
                del self._apart[next(iter(self._apart))]

    def _time_left(self, deadline: float) -> float:
        return max(deadline - self._loop.time(), TICK_S)

    def _acknowledge(self, record: _Record, ack: Ack) -> None:
        if (waiting := self._pending.take(record.token)) is not None:
            waiting.future.set_result(ack)

    def _fail(self, record: _Record, error: PublishFailed) -> None:
        if (waiting := self._pending.take(record.token)) is not None:
            waiting.future.set_exception(error)

    def _timed_out(self, number: str) -> PublishFailed:
        if int(number) > self._left:
            return NotPublished("the groups before it were not acknowledged in time")
        return NotAcknowledged("no acknowledgement for its group in time")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _split(
    group: Sequence[_Record], goes_apart: Callable[[str], object]
) -> tuple[list[_Record], list[_Record]]:
    """Those that stay together, and those whose message ids say that they do not."""
    parts: tuple[list[_Record], list[_Record]] = [], []
    for record in group:
        parts[bool(goes_apart(record.message.id))].append(record)
    return parts


def _caller(message_id: str) -> str:
    """Whose id it is to choose; empty where it is none that a caller chooses."""
    if not message_id.startswith(CHOSEN):
        return ""
    return message_id.removeprefix(CHOSEN).partition(".")[0]
