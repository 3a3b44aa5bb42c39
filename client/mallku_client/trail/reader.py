"""Reads the audit stream and the checkpoints through the four calls that auditors have."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.adoptions import highest_adopted
from mallku_broker.connection import GatewayConnection, connect
from mallku_broker.generations import TrailReader, generations, trail_state
from mallku_broker.ranges import DEFAULT_LIMITS, Range, ReadLimits, StreamState, stream_state
from mallku_broker.stream_reader import Trouble
from mallku_broker.streams import AUDIT, AUDIT_STREAMS
from mallku_client.composition import broker_settings
from mallku_client.settings import ClientSettings
from mallku_client.trail.selection import Selection
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.governed import Kind, adopted
from mallku_contracts.subjects import inbox_prefix
from mallku_contracts.trail.stored import TrailEntry

_LOG = logging.getLogger(__name__)
_EVERYTHING: Final = Selection()

Unreadable = Callable[[TrailEntry, RecordError], None]
"""Told of a message that is no record."""


class TrailRecord(NamedTuple):
    """A record, and where it stands."""

    entry: TrailEntry
    record: Record


class TrailSource(Protocol):
    """Whatever holds both streams of a trail: a gateway's broker, or an export of them."""

    async def stream_info(self, stream: str = AUDIT) -> StreamState:
        """How far a stream goes."""
        ...

    async def seams(self) -> Mapping[int, int] | None:
        """Where the streams begin that the trail is made of; None where that is not known."""
        ...

    def batches(
        self, selection: Selection = _EVERYTHING, *, stream: str = AUDIT
    ) -> AsyncGenerator[list[TrailEntry]]:
        """The messages from `selection.first` to `selection.last`, oldest first."""
        ...


class AuditReader:
    """Reads the trail over one connection; several reads may run at a time.

    The server's consumers of a reader end by themselves, some seconds after it.

    Args:
        connection: As an auditor; closed with the reader.
        name: Shown to administrators, who see that somebody reads.
        limits: How much is read ahead, and how long anything is waited for.
        troubled: Told why reading stopped for a while; by default it is logged.
    """

    def __init__(
        self,
        connection: GatewayConnection,
        *,
        name: str = "auditor",
        limits: ReadLimits = DEFAULT_LIMITS,
        troubled: Trouble | None = None,
    ) -> None:
        self._connection, self._name = connection, name
        self._limits, self._troubled = limits, troubled or _log

    @classmethod
    async def connect(
        cls,
        *,
        settings: ClientSettings | None = None,
        limits: ReadLimits = DEFAULT_LIMITS,
        troubled: Trouble | None = None,
        **arguments: Any,
    ) -> Self:
        """Connect with the environment, or with `settings`; `arguments` are fields of it.

        Raises:
            ConfigurationError: a setting is missing, a file is wrong, or the broker refuses us.
            GatewayUnreachable: nobody let us in within the connect timeout.
        """
        known = settings or ClientSettings.from_environment()
        if arguments:
            known = known.override(**arguments)
        principal: str = known.require("principal", "whose inbox the trail is read through")
        connection = await connect(
            broker_settings(known),
            name=f"mallku-auditor.{principal}",
            inbox_prefix=inbox_prefix(principal),
        )
        return cls(connection, name=principal, limits=limits, troubled=troubled)

    async def stream_info(self, stream: str = AUDIT) -> StreamState:
        """What the server says about the trail, all its streams as one, or about `CHECKPOINTS`."""
        if stream == AUDIT:
            return await trail_state(self._connection, api=AUDITOR_PREFIX)
        return await stream_state(self._connection, stream, api=AUDITOR_PREFIX)

    async def seams(self) -> Mapping[int, int]:
        """Where the streams begin that the trail is made of: which, by its first sequence.

        The first one is not among them: it begins with whatever came first.
        """
        found = await generations(self._connection, api=AUDITOR_PREFIX)
        numbered = {AUDIT_STREAMS.index(each.name) + 1: each for each in found}
        return {each.first: number for number, each in numbered.items() if number > 1}

    async def adoption(self, kind: Kind) -> Record | None:
        """The record of the highest version of a document that governs; it holds the document.

        None when no worker ever adopted one.
        """
        version = await highest_adopted(self._connection, kind, api=AUDITOR_PREFIX)
        subject = adopted(kind, version)
        selection = Selection(
            principals=(subject.principal,),
            databases=(subject.database,),
            collections=(subject.collection,),
            operations=(subject.operation,),
            outcomes=("done",),
        )
        async with aclosing(self.records(selection)) as records:
            async for found in records:
                return found.record
        return None

    async def batches(
        self, selection: Selection = _EVERYTHING, *, stream: str = AUDIT, follow: bool = False
    ) -> AsyncGenerator[list[TrailEntry]]:
        """As `entries`, in lists as they came: the fastest way to read.

        Close what is not read to its end (`contextlib.aclosing`).
        """
        wanted = Range(
            stream,
            subjects=selection.subjects() if stream == AUDIT else (),
            first=selection.first,
            since_ms=selection.since_ms,
            follow=follow,
            api=AUDITOR_PREFIX,
        )
        async with TrailReader(
            self._connection,
            wanted,
            name=self._name,
            limits=self._limits,
            troubled=self._troubled,
        ) as reader:
            while batch := await reader.next():
                within = _within(batch, selection)
                if within:
                    yield within
                if len(within) < len(batch) or batch[-1].sequence == selection.last:
                    return

    async def entries(
        self, selection: Selection = _EVERYTHING, *, stream: str = AUDIT, follow: bool = False
    ) -> AsyncGenerator[TrailEntry]:
        """Read what is selected, oldest first, every message once and none left out.

        The end is what was last when reading began; with `follow` there is none. After a lost
        connection reading goes on behind the last message.

        Raises:
            GatewayUnreachable: no answer for `limits.give_up_s`, or closed for good.
            ConfigurationError: no such stream, or no permission; the stream was exchanged
                (`StreamChanged`).
        """
        async with aclosing(self.batches(selection, stream=stream, follow=follow)) as batches:
            async for batch in batches:
                for entry in batch:
                    yield entry

    async def records(
        self,
        selection: Selection = _EVERYTHING,
        *,
        follow: bool = False,
        unreadable: Unreadable | None = None,
    ) -> AsyncGenerator[TrailRecord]:
        """As `entries` of the audit stream, with the record that each of them is.

        Raises:
            RecordError: a message is no record; with `unreadable` that is told, and left out.
        """
        async with aclosing(self.batches(selection, follow=follow)) as batches:
            async for batch in batches:
                for entry in batch:
                    try:
                        record = Record.read(entry.data)
                    except RecordError as error:
                        if unreadable is None:
                            raise
                        unreadable(entry, error)
                        continue
                    yield TrailRecord(entry, record)

    async def close(self) -> None:
        """End what is being read, and close the connection."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _within(batch: list[TrailEntry], selection: Selection) -> list[TrailEntry]:
    """The part of a batch before the end of the selection; sequences and times only grow."""
    last, until = selection.last, selection.until_ms
    if (last is None or batch[-1].sequence <= last) and (until is None or batch[-1].time <= until):
        return batch
    return [
        entry
        for entry in batch
        if (last is None or entry.sequence <= last) and (until is None or entry.time <= until)
    ]


def _log(why: str) -> None:
    _LOG.warning("reading the trail stopped for a while: %s", why)
