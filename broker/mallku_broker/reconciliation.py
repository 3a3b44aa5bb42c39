"""What reconcilers leave on the trail, and how an administrator asks for a run.

The newest `reconcile` record says below which sequence of the trail nothing is open; it is covered
by its worker's checkpoints like every other record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_broker.buckets import place, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import TrailReader, newest_record
from mallku_broker.ranges import Range
from mallku_broker.single import newest_message
from mallku_broker.streams import AUDIT, FLAGS
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.subjects import audit_subject
from mallku_contracts.trail import Verb, about_gateway
from mallku_contracts.trail.stored import TrailEntry

SUBJECT: Final = audit_subject(about_gateway(Verb.RECONCILE), "done")
"""Where `reconcile` records stand."""

FLOOR: Final = "floor"
"""The fact below whose sequence nothing is open."""

ASKED: Final = "asked"
"""The fact that says up to which request of administrators was answered; 0 before the first."""

RECONCILE: Final = "reconcile"
"""The key of the bucket `mallku_flags` that administrators write to ask for a run."""


@dataclass(frozen=True, slots=True)
class Former:
    """What the newest `reconcile` record says; of none, that everything has to be read.

    Attributes:
        time_ms: When the stream stored it, Unix milliseconds.
        sequence: Where it stands.
        facts: All that it says.
    """

    floor: int = 1
    time_ms: int = 0
    asked: int = 0
    sequence: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


async def read_former(connection: GatewayConnection) -> Former:
    """The newest `reconcile` record; errors as of `single.message_at`."""
    entry = await newest_record(connection, SUBJECT)
    return Former() if entry is None else _former(entry)


def _former(entry: TrailEntry) -> Former:
    try:
        facts = Record.read(entry.data).facts
    except RecordError:
        facts = {}
    floor, asked = _count(facts.get(FLOOR)), _count(facts.get(ASKED))
    return Former(max(1, floor), entry.time, asked, entry.sequence, facts)


async def ask_for_run(connection: GatewayConnection) -> int:
    """Ask the workers for a run; the request's number, which the run that answers it names.

    Raises:
        GatewayUnreachable, ConfigurationError: the bucket cannot be written.
        Conflict: somebody else asked at the same moment.
    """
    stream, subject = place(FLAGS, RECONCILE)
    last = await newest_message(connection, stream, subject)
    revision = 0 if last is None else last.sequence
    return await put(connection, FLAGS, RECONCILE, b"", revision=revision)


async def answered(connection: GatewayConnection, request: int, after: int) -> Former:
    """Wait for the record of the run that answers a request; one behind the sequence `after`.

    Raises:
        GatewayUnreachable, ConfigurationError: the trail cannot be read.
    """
    wanted = Range(AUDIT, (SUBJECT,), first=after + 1, follow=True)
    async with TrailReader(connection, wanted, name=RECONCILE) as reader:
        while True:
            for former in map(_former, await reader.next()):
                if former.asked >= request:
                    return former


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
