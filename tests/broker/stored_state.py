"""What stands in the streams of a real broker, and what nobody may write there sideways."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.streams import AUDIT, JOBS, KEYS, POLICY
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse

GET = "mallku.v1.cmd.mallku.db.anchors.get"
PATTERN = "mallku.v1.cmd.*.*.*.get"
QUEUE = "mallku.read"
JOB = "mallku.v1.job.mallku.db.anchors.insert"
RECORD = "mallku.v1.audit.mallku.db.anchors.insert.intent"

FORBIDDEN_REPLIES = [
    f"$JS.API.STREAM.DELETE.{AUDIT}",
    f"$JS.API.STREAM.PURGE.{JOBS}",
    f"$KV.{POLICY}.current",
    "mallku.v1.audit.bob.db.anchors.insert.done",
    "mallku.v1.checkpoint.w",
    "mallku.v1.cmd.operator.db.anchors.drop-collection",
]


async def state(house: NatsHouse, stream: str) -> dict[str, Any]:
    """What the server says that a stream holds."""
    async with house.connection(ADMINISTRATOR) as connection:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=5)
    found: dict[str, Any] = json.loads(answer.data)["state"]
    return found


async def last(house: NatsHouse) -> dict[str, int]:
    """The last sequence of every stream that an attack may want to write to."""
    streams = (AUDIT, "MALLKU_CHECKPOINTS", f"KV_{POLICY}", f"KV_{KEYS}")
    return {stream: (await state(house, stream))["last_seq"] for stream in streams}


async def publish_record(house: NatsHouse, body: bytes = b"record") -> int:
    """Put a record on the trail as a worker does; its sequence."""
    async with (
        house.connection(WORKER_RECORDS) as records,
        AcknowledgementMultiplexer(records, expected_stream=AUDIT) as publisher,
    ):
        ack = await publisher.publish(RECORD, body, message_id=str(uuid4()), timeout=5)
    return ack.sequence
