"""A stretch of the audit trail, read as fast as it comes by somebody who may read it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from mallku_broker.connection import GatewayConnection
from mallku_broker.streams import AUDIT
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.subjects import PREFIX

BATCH: Final = 500
"""Records asked for at once."""

READ_TIMEOUT_S: Final = 5.0
"""One batch, seconds."""

FORGOTTEN_S: Final = 10.0
"""After this long the server forgets a reader that asks no more, seconds."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a stretch begins: at a time, or so many records of the trail before its end."""

    since: datetime | None = None
    last: int | None = None


def read_since(text: str, now: datetime) -> datetime:
    """A time, as in `2026-01-31T12:00:00Z`, or how long ago it was: `90s`, `15m`, `2h`, `7d`.

    Raises:
        ConfigurationError: it is neither.
    """
    try:
        if text[-1:] in _UNITS and text[:-1].isdecimal():
            return now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text[:40]!r} is neither a time (2026-01-31T12:00:00Z) nor how long ago (90s, 2h, 7d)"
        ) from None
    return found.astimezone(UTC)


async def read_stretch(
    connection: GatewayConnection, stretch: Stretch, kinds: tuple[str, ...]
) -> AsyncGenerator[Record]:
    """The records of these kinds in a stretch, oldest first, up to those that are there now."""
    stream = connection.jetstream()
    name = f"stretch-{secrets.token_hex(8)}"
    end = (await stream.stream_info(AUDIT)).state.last_seq
    config = _consumer(name, stretch, end, kinds)
    await stream.add_consumer(AUDIT, config)
    reader = await stream.pull_subscribe_bind(consumer=name, stream=AUDIT)
    left = (await stream.consumer_info(AUDIT, name)).num_pending or 0
    while left > 0:
        for message in await reader.fetch(min(left, BATCH), timeout=READ_TIMEOUT_S):
            left -= 1
            try:
                yield Record.read(message.data)
            except RecordError:
                continue  # whether the trail is whole is for `audit verify` to say
    await reader.unsubscribe()


def _consumer(name: str, stretch: Stretch, end: int, kinds: tuple[str, ...]) -> ConsumerConfig:
    config = ConsumerConfig(
        name=name,
        ack_policy=AckPolicy.NONE,
        mem_storage=True,
        inactive_threshold=FORGOTTEN_S,
        filter_subjects=[f"{PREFIX}.audit.*.*.*.*.{kind}" for kind in kinds],
    )
    if stretch.since is not None:
        config.deliver_policy = DeliverPolicy.BY_START_TIME
        config.opt_start_time = stretch.since
    elif stretch.last is not None:
        config.deliver_policy = DeliverPolicy.BY_START_SEQUENCE
        config.opt_start_seq = max(1, end - stretch.last + 1)
    return config
