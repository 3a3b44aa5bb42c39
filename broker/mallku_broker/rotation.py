"""Seals the trail's stream and begins the next one, as an administrator; goes on where it stopped.

Between sealing and opening nothing can be put on the trail, so nothing is executed: commands are
refused with `audit_unavailable`, and outcomes wait. Nothing is lost, whoever dies in between, and
whoever orders a rotation again ends the one that was begun.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client

from mallku_broker.adoptions import watching_workers
from mallku_broker.buckets import place, put
from mallku_broker.generations import generations
from mallku_broker.jetstream import ApiError, ask
from mallku_broker.ranges import StreamState, stream_state
from mallku_broker.single import message_at, newest_message
from mallku_broker.streams import AUDIT_STREAMS, FLAGS, MAX_GENERATIONS, sealed_subject
from mallku_contracts.audit import Record, RecordError, record_hash
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.governed import Kind
from mallku_contracts.keys import SigningKey
from mallku_contracts.limits import MIB
from mallku_contracts.subjects import PREFIX
from mallku_contracts.trail.rotation import (
    ROTATE_SUBJECT,
    OrderError,
    RotationOrder,
    open_order,
    read_order,
    read_rotation,
    sign_order,
)
from mallku_contracts.trust import Keys

ROTATE: Final = "rotate"
"""The key of the bucket `mallku_flags` that holds the newest order."""

FIRST_RECORD_S: Final = 30.0
"""How long workers may take to write the first record of the new stream, seconds."""

LOOK_S: Final = 0.05
"""Between two looks whether it stands, seconds."""

LEAST_BYTES: Final = 64 * MIB
"""Where there is no room for as much as before, half of it is asked for, down to this."""

_TRAIL: Final = f"{PREFIX}.audit.>"
_NO_ROOM: Final = 10047
_KEPT: Final = frozenset(
    {
        "retention",
        "max_consumers",
        "max_msgs",
        "max_age",
        "max_msgs_per_subject",
        "max_msg_size",
        "discard",
        "storage",
        "num_replicas",
        "duplicate_window",
        "compression",
        "allow_direct",
        "deny_delete",
        "deny_purge",
        "allow_rollup_hdrs",
        "allow_atomic",
        "placement",
    }
)
"""What a new stream has of the one before it."""

_Configuration = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rotated:
    """A rotation that was made.

    Attributes:
        sealed: The stream that takes nothing any more.
        last: Its last sequence.
        stream: The one that goes on.
        size: What that may take, bytes; below 1 for no limit.
        worker: The instance that wrote its first record.
        closed_ms: How long nothing could be put on the trail; 0 where it was closed before.
    """

    sealed: str
    last: int
    stream: str
    size: int
    worker: str
    closed_ms: int


async def read_kept_order(connection: Client, administrators: Keys) -> RotationOrder | None:
    """The newest order that an administrator signed; None where there was none ever.

    Raises:
        OrderError: nobody signed it who may.
        GatewayUnreachable, ConfigurationError: the bucket cannot be read.
    """
    entry = await newest_message(connection, *place(FLAGS, ROTATE))
    return None if entry is None else open_order(entry.data, administrators)


async def rotate(
    connection: Client, key: SigningKey, administrators: Keys, clock: Callable[[], int]
) -> Rotated:
    """Seal the trail's newest stream and open the next; or end a rotation that was interrupted.

    Raises:
        ConfigurationError: there is nothing to seal, no room for more streams, or no worker to
            write the first record; or the broker refused.
        GatewayUnreachable: the broker is silent, or no worker wrote it in time.
    """
    states = await generations(connection)
    if not await watching_workers(connection, Kind.POLICY):
        raise ConfigurationError("no worker runs that could write the first record of the stream")
    newest = states[-1]
    since = time.monotonic()
    if newest.sealed:
        order = await _order_again(connection, key, administrators, newest, clock)
    elif len(states) > 1 and await _is_closed(connection, newest.name):
        if not newest.messages:
            await _order_again(connection, key, administrators, states[-2], clock)
        opened = await _open(connection, states[-2], newest, administrators)
        return _made(states[-2], newest, opened, 0.0)
    else:
        if not newest.messages:
            raise ConfigurationError(f"{newest.name} is empty: there is nothing to seal")
        order = await _order(connection, key, newest, clock)
        since = time.monotonic()
        newest = await _seal(connection, newest)
    begun = await _create(connection, newest, order)
    opened = await _open(connection, newest, begun, administrators)
    return _made(newest, begun, opened, time.monotonic() - since)


async def _order(
    connection: Client, key: SigningKey, newest: StreamState, clock: Callable[[], int]
) -> RotationOrder:
    """Sign the order and let workers know of it."""
    found = await _configuration(connection, newest.name)
    return await _put(connection, key, newest, int(found.get("max_bytes", 0)), clock)


async def _order_again(
    connection: Client,
    key: SigningKey,
    administrators: Keys,
    sealed: StreamState,
    clock: Callable[[], int],
) -> RotationOrder:
    """The order of a rotation that was interrupted, or a new one for the same stream."""
    try:
        known = await read_kept_order(connection, administrators)
    except OrderError:
        known = None
    if known is not None and known.stream == _next(sealed.name)[1]:
        return known
    return await _put(connection, key, sealed, max(sealed.bytes, LEAST_BYTES), clock)


async def _put(
    connection: Client, key: SigningKey, former: StreamState, size: int, clock: Callable[[], int]
) -> RotationOrder:
    order = sign_order(*_next(former.name), max(size, 0), key, issued_at=clock())
    last = await newest_message(connection, *place(FLAGS, ROTATE))
    revision = 0 if last is None else last.sequence
    await put(connection, FLAGS, ROTATE, order.data, revision=revision)
    return order


def _next(name: str) -> tuple[int, str]:
    number = AUDIT_STREAMS.index(name) + 2
    if number > MAX_GENERATIONS:
        raise ConfigurationError(
            f"{name} is the last of {MAX_GENERATIONS} streams that the trail can be made of"
        )
    return number, AUDIT_STREAMS[number - 1]


async def _seal(connection: Client, state: StreamState) -> StreamState:
    """From here on the stream takes nothing; what it does not use is given back."""
    found = await _configuration(connection, state.name)
    sealed = {**found, "sealed": True, "subjects": [sealed_subject(state.name)]}
    await ask(connection, f"STREAM.UPDATE.{state.name}", sealed)
    now = await stream_state(connection, state.name)
    limit = int(found.get("max_bytes", 0))
    used = now.bytes + MIB
    if limit <= 0 or used < limit:
        await ask(connection, f"STREAM.UPDATE.{state.name}", {**sealed, "max_bytes": used})
    return now


async def _create(connection: Client, sealed: StreamState, order: RotationOrder) -> StreamState:
    """The next stream, which takes a `rotate` record and nothing else yet."""
    former = await _configuration(connection, sealed.name)
    wanted: _Configuration = {name: former[name] for name in _KEPT if name in former} | {
        "name": order.stream,
        "subjects": [ROTATE_SUBJECT],
        "first_seq": sealed.last + 1,
        "max_bytes": order.size or -1,
    }
    while True:
        try:
            await ask(connection, f"STREAM.CREATE.{order.stream}", wanted)
        except ApiError as error:
            half = wanted["max_bytes"] // 2
            if error.err_code != _NO_ROOM or half < LEAST_BYTES:
                raise
            wanted["max_bytes"] = half
        else:
            return await stream_state(connection, order.stream)


async def _open(
    connection: Client, former: StreamState, begun: StreamState, administrators: Keys
) -> tuple[str, int]:
    """Let everything in, once a worker has written the first record: its name, and the room."""
    first = await _first_record(connection, begun.name, former.last + 1)
    await _check(connection, first, former, begun.name, administrators)
    found = await _configuration(connection, begun.name)
    await ask(connection, f"STREAM.UPDATE.{begun.name}", {**found, "subjects": [_TRAIL]})
    return first.worker, int(found.get("max_bytes", 0))


async def _first_record(connection: Client, stream: str, sequence: int) -> Record:
    try:
        async with asyncio.timeout(FIRST_RECORD_S):
            while (entry := await message_at(connection, stream, sequence)) is None:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise GatewayUnreachable(
            f"no worker wrote the first record of {stream} within {FIRST_RECORD_S:g} s; the trail"
            " is closed until one does: look at the workers' logs, and rotate again"
        ) from None
    try:
        return Record.read(entry.data)
    except RecordError as error:
        raise ConfigurationError(f"{stream} begins with something else: {error}") from None


async def _check(
    connection: Client, first: Record, former: StreamState, stream: str, administrators: Keys
) -> None:
    """The first record has to carry what stands in the former stream, and the order."""
    said, last = read_rotation(first), await message_at(connection, former.name, former.last)
    if said is None or last is None or said.last != former.last:
        raise ConfigurationError(f"{stream} does not begin behind {former.name}")
    if said.hash != record_hash(last.data):
        raise ConfigurationError(f"{stream} begins behind another record than {former.name} holds")
    try:
        order = read_order(first, administrators)
    except OrderError as error:
        raise ConfigurationError(f"{stream} begins without an order: {error}") from None
    if order.stream != stream:
        raise ConfigurationError(f"{stream} begins with the order for {order.stream}")


async def _is_closed(connection: Client, stream: str) -> bool:
    subjects = (await _configuration(connection, stream)).get("subjects")
    return subjects == [ROTATE_SUBJECT]


async def _configuration(connection: Client, stream: str) -> _Configuration:
    found: Mapping[str, Any] = (await ask(connection, f"STREAM.INFO.{stream}", {}))["config"]
    return dict(found)


def _made(
    former: StreamState, begun: StreamState, opened: tuple[str, int], closed_s: float
) -> Rotated:
    worker, size = opened
    return Rotated(former.name, former.last, begun.name, size, worker, int(closed_s * 1_000))
