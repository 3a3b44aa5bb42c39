"""The trail as an auditor reads it: over NATS, with an auditor's permissions and no more.

::

    from mallku_client.trail import AuditReader, Selection

    async with await AuditReader.connect() as trail:  # reads the environment, or takes arguments
        async for entry, record in trail.records(Selection(outcomes=("denied",)), follow=True):
            print(entry.sequence, record.principal, record.code)
"""

from __future__ import annotations

from mallku_broker.ranges import ReadLimits, StreamState
from mallku_broker.stream_reader import StreamChanged
from mallku_broker.streams import AUDIT, CHECKPOINTS
from mallku_client.trail.reader import AuditReader, TrailRecord, TrailSource
from mallku_client.trail.selection import Selection
from mallku_contracts.trail.stored import TrailEntry

__all__ = [
    "AUDIT",
    "CHECKPOINTS",
    "AuditReader",
    "ReadLimits",
    "Selection",
    "StreamChanged",
    "StreamState",
    "TrailEntry",
    "TrailRecord",
    "TrailSource",
]
