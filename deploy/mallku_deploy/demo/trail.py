"""The audit trail as an auditor reads it: every record, to be counted against what was sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from mallku_client.trail import AuditReader
from mallku_contracts.audit import Record, Resolution, record_hash
from mallku_contracts.governed import GATEWAY


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

    def ends(self) -> Counter[str]:
        """How often each transmission has an outcome.

        A reconciler's word counts where the worker itself left none.
        """
        outcomes = self.ids("done", "failed")
        resolved = {
            record.id
            for record in self.records
            if record.kind == "resolved" and record.resolution != Resolution.PENDING
        }
        outcomes.update(resolved - set(outcomes))
        return outcomes


async def read_trail(reader: AuditReader) -> Trail:
    """Read the whole stream."""
    trail = Trail()
    async for entry, record in reader.records():
        about_commands = record.principal != GATEWAY
        (trail.records if about_commands else trail.administrative).append(record)
        trail.hashes[entry.sequence] = record_hash(entry.data)
    return trail


async def read_settled_trail(reader: AuditReader, timeout_s: float, pause_s: float = 0.1) -> Trail:
    """The trail once every intent has its outcome, or as it is when the time is over.

    Outcomes of reads are written behind their replies, so the last ones may be under way.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        trail = await read_trail(reader)
        if trail.ids("intent") == trail.ends() or loop.time() >= end:
            return trail
        await asyncio.sleep(pause_s)
