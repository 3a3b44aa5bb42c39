"""The audit trail as an auditor reads it: over NATS, with an auditor's permissions and no more."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from mallku_broker.configuration import AUDITOR_PREFIX
from mallku_broker.connection import GatewayConnection
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Record, record_hash
from mallku_contracts.envelope import CommandHeader, command_signing_input
from mallku_contracts.errors import Replayed
from mallku_contracts.governed import GATEWAY
from mallku_contracts.keys import PublicKey

BATCH: Final = 500
"""Records asked for at once."""

READ_TIMEOUT_S: Final = 5.0
"""One batch, seconds."""


@dataclass(slots=True)
class Trail:
    """Every record of the stream, in order, with its sequence and hash.

    Attributes:
        records: Those about commands.
        administrative: Those about the gateway itself: which policy a worker took, and the like.
    """

    records: list[Record] = field(default_factory=list[Record])
    administrative: list[Record] = field(default_factory=list[Record])
    hashes: dict[int, bytes] = field(default_factory=dict[int, bytes])

    @property
    def kinds(self) -> Counter[str]:
        """How many records there are of each kind; a summary counts as what it sums up."""
        counted: Counter[str] = Counter()
        for record in self.records:
            counted[record.kind] += record.count
        return counted

    def ids(self, *kinds: str) -> Counter[str]:
        """The transmissions that records of these kinds are about."""
        return Counter(record.id for record in self.records if record.kind in kinds)

    def missing_numbers(self) -> int:
        """How many numbers below the highest of each worker are on no record."""
        numbers: defaultdict[str, set[int]] = defaultdict(set)
        for record in (*self.records, *self.administrative):
            numbers[record.worker].add(record.number)
        return sum(max(found) - len(found) for found in numbers.values())

    def replays(self) -> int:
        """Refused replays. One that another worker than the first got has a number to no avail.

        Its intent is published, and the stream drops it for its id.
        """
        return sum(record.count for record in self.records if record.code == Replayed.code)

    def forged(self) -> list[str]:
        """Intents whose caller's signature does not hold over the bytes they keep."""
        return [record.id for record in self.records if not _signature_holds(record)]


def _signature_holds(record: Record) -> bool:
    if record.kind != "intent":
        return True
    if record.command is None:
        return False
    protected, body, signature, key = record.command
    signed = command_signing_input(record.subject, protected, body)
    named = CommandHeader.read(protected).id == record.id
    return named and PublicKey(key).verify(signed, signature)


async def read_trail(connection: GatewayConnection) -> Trail:
    """Read the whole stream through the part of the API that auditors have."""
    stream = connection.jetstream(prefix=AUDITOR_PREFIX)
    name = f"demo-{secrets.token_hex(4)}"
    config = ConsumerConfig(name=name, ack_policy=AckPolicy.NONE, mem_storage=True)
    await stream.add_consumer(AUDIT, config)
    reader = await stream.pull_subscribe_bind(consumer=name, stream=AUDIT)
    trail = Trail()
    left = (await stream.stream_info(AUDIT)).state.messages
    while left > 0:
        messages = await reader.fetch(min(left, BATCH), timeout=READ_TIMEOUT_S)
        _add(trail, messages)
        left -= len(messages)
    return trail


async def read_settled_trail(
    connection: GatewayConnection, timeout_s: float, pause_s: float = 0.1
) -> Trail:
    """The trail once every intent has its outcome, or as it is when the time is over.

    Outcomes of reads are written behind their replies, so the last ones may be under way.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        trail = await read_trail(connection)
        if trail.ids("intent") == trail.ids("done", "failed") or loop.time() >= end:
            return trail
        await asyncio.sleep(pause_s)


def _add(trail: Trail, messages: Iterable[Msg]) -> None:
    for message in messages:
        record = Record.read(message.data)
        about_commands = record.principal != GATEWAY
        (trail.records if about_commands else trail.administrative).append(record)
        trail.hashes[message.metadata.sequence.stream] = record_hash(message.data)
