"""The audit stream in memory: stores, dedupes and acknowledges, or fails in one of its ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from mallku_broker.acknowledgements import Ack, NotAcknowledged, NotPublished, PublishRefused
from mallku_contracts.audit import Record


class Fate(Enum):
    """What becomes of one publish."""

    STORED = auto()
    """Stored and acknowledged."""
    HELD = auto()
    """Stored; the acknowledgement comes with `release`."""
    UNHEARD = auto()
    """Stored; the acknowledgement is lost."""
    LOST = auto()
    """Not stored, and nobody says so."""
    REFUSED = auto()
    """Not stored, as the server says."""
    UNSENT = auto()
    """Not sent: there is no connection."""


@dataclass(frozen=True)
class Stored:
    """A record as it stands in the stream."""

    sequence: int
    subject: str
    message_id: str
    data: bytes

    @property
    def record(self) -> Record:
        """The record itself."""
        return Record.read(self.data)


class SimulatedTrail:
    """Stands for the acknowledgement multiplexer and the stream behind it.

    Attributes:
        stream: What is stored, in order.
        tries: The kind of every publish, in order, stored or not.
        fate: Decides about each publish; tests put another function here.
        on_store: Called after each record that is stored for the first time.
    """

    def __init__(self, name: str = "MALLKU_AUDIT") -> None:
        self.name = name
        self.stream: list[Stored] = []
        self.tries: list[str] = []
        self.fate: Callable[[Record], Fate] = lambda _record: Fate.STORED
        self.on_store: Callable[[Record], None] = lambda _record: None
        self._held: list[tuple[asyncio.Future[Ack], Ack]] = []

    def records(self, kind: str | None = None) -> list[Record]:
        """The stored records, of one kind when it is named."""
        records = [stored.record for stored in self.stream]
        return [record for record in records if kind in (None, record.kind)]

    def kinds(self) -> list[str]:
        """The kinds of the stored records, in order."""
        return [record.kind for record in self.records()]

    def publish(
        self, subject: str, body: bytes, *, message_id: str, timeout: float
    ) -> asyncio.Future[Ack]:
        """Publish one record."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ack] = loop.create_future()
        record = Record.read(body)
        self.tries.append(record.kind)
        fate = self.fate(record)
        if fate is Fate.UNSENT:
            future.set_exception(NotPublished("not connected"))
        elif fate is Fate.REFUSED:
            future.set_exception(PublishRefused(10077, "maximum bytes exceeded"))
        else:
            ack = None if fate is Fate.LOST else self._store(subject, body, message_id, record)
            self._answer(future, ack, fate, timeout)
        return future

    def release(self) -> None:
        """Send every acknowledgement that is held."""
        held, self._held = self._held, []
        for future, ack in held:
            if not future.done():
                future.set_result(ack)

    def _answer(
        self, future: asyncio.Future[Ack], ack: Ack | None, fate: Fate, timeout_s: float
    ) -> None:
        if ack is not None and fate is Fate.STORED:
            future.set_result(ack)
            return
        if ack is not None and fate is Fate.HELD:
            self._held.append((future, ack))
        asyncio.get_running_loop().call_later(timeout_s, _time_out, future)

    def _store(self, subject: str, body: bytes, message_id: str, record: Record) -> Ack:
        for stored in self.stream:
            if stored.message_id == message_id:
                return Ack(self.name, stored.sequence, duplicate=True)
        sequence = len(self.stream) + 1
        self.stream.append(Stored(sequence, subject, message_id, body))
        self.on_store(record)
        return Ack(self.name, sequence, duplicate=False)


def _time_out(future: asyncio.Future[Ack]) -> None:
    if not future.done():
        future.set_exception(NotAcknowledged("no acknowledgement in time"))
