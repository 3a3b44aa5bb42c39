"""Records for a group commit: published several at a moment, and what they are told."""

from __future__ import annotations

import asyncio
from typing import Any

from mallku_broker.acknowledgements import Ack
from mallku_broker.group_commit import GroupCommit, GroupLimits
from mallku_broker.streams import AUDIT

SUBJECT = "mallku.v1.audit.mallku.db.anchors.insert.intent"
PAIRS = GroupLimits(min_messages=2)


def publish(group: GroupCommit, *ids: str, **more: Any) -> list[asyncio.Future[Ack]]:
    """Publish under these ids in the same moment; `body` and `timeout`, seconds, may be given."""
    values: dict[str, Any] = {"body": b"x", "timeout": 5.0} | more
    body, timeout = values["body"], values["timeout"]
    return [group.publish(SUBJECT, body, message_id=one, timeout=timeout) for one in ids]


async def turns() -> None:
    """Let everything happen that needs no time."""
    for _ in range(10):
        await asyncio.sleep(0)


def ack_at(sequence: int, *, duplicate: bool = False) -> Ack:
    """The acknowledgement of the audit stream at this sequence."""
    return Ack(AUDIT, sequence, duplicate)
