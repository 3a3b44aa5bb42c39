"""Key-value buckets (ADR-8): one key's kept revisions, compare-and-set, and a watch that lasts.

A watch reads everything again after whatever may have made it miss something: a lost connection, a
gap, a silent server. What it reads then is all that the bucket keeps of the key, oldest first.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Final, Self

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from mallku_broker.cancellation import cancellable
from mallku_broker.connection import GatewayConnection
from mallku_broker.deliveries import DELIVERED, told
from mallku_broker.events import ConnectionEvent, ConnectionLost, EventKind
from mallku_broker.headers import decode_headers, status
from mallku_broker.jetstream import API_TIMEOUT_S, ApiError, ask
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable

PULL_S: Final = 10.0
"""How long the server keeps a request for changes, seconds; then it is asked again."""

HEARTBEAT_S: Final = 1.0
"""How often the server says that nothing happened, seconds."""

SILENCE_S: Final = 4.0
"""Without a sign of the server for this long a watch begins again, seconds."""

AGAIN_S: Final = 0.5
"""Between two tries to begin a watch, seconds."""

FORGOTTEN_S: Final = 15.0
"""After this long the server drops a consumer that nobody asks, seconds."""

READ_FORGOTTEN_S: Final = 2.0
"""The same for what is read once: whoever reads often leaves few consumers behind, seconds."""

MAX_WAITING: Final = 64
"""Changes that wait to be taken; no more are asked for until one is."""

_NS: Final = 1_000_000_000
_MS_PER_NS: Final = 1_000_000
_WRONG_LAST_SEQUENCE: Final = 10071
_INSTANCE_BYTES: Final = 12
_HEARTBEAT, _EXPIRED = 100, 408
_MARKERS: Final = frozenset({"DEL", "PURGE"})


class Conflict(ConfigurationError):
    """The key has another revision than the one that was to be replaced."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of a key, or one message; `value` is None where a key was deleted or purged.

    `time_ms` is the server's clock, Unix milliseconds.
    """

    revision: int
    value: bytes | None = field(repr=False)
    time_ms: int


Batch = tuple[Entry, ...]


async def put(connection: Client, bucket: str, key: str, value: bytes, *, revision: int) -> int:
    """Set a key whose last revision is `revision` (0: it has none); returns the new revision.

    Raises:
        Conflict: somebody else has set it since.
        ConfigurationError: the stream refused; or there is no such bucket, or no permission.
        GatewayUnreachable: no answer in time; the value may be stored.
    """
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(revision),
        "Nats-Expected-Stream": f"KV_{bucket}",
    }
    try:
        message = await cancellable(
            connection.request(f"$KV.{bucket}.{key}", value, timeout=API_TIMEOUT_S, headers=headers)
        )
    except nats.errors.Error as error:
        raise GatewayUnreachable(
            f"the bucket {bucket} did not answer ({type(error).__name__});"
            " is it there, and may this user write into it?"
        ) from error
    answer = json.loads(message.data)
    refusal = answer.get("error")
    if refusal is None:
        return int(answer["seq"])
    if refusal.get("err_code") == _WRONG_LAST_SEQUENCE:
        raise Conflict(f"{bucket}/{key} was changed by somebody else in the meantime")
    raise ConfigurationError(f"the bucket {bucket} refused: {refusal.get('description')}")


async def kept(connection: GatewayConnection, bucket: str, key: str) -> Batch:
    """Every revision of a key that the bucket keeps, oldest first.

    Raises:
        GatewayUnreachable: no answer in time.
        ConfigurationError: there is no such bucket, or no permission to read it.
    """
    trouble: list[ConfigurationError | GatewayUnreachable] = []
    stream, subject = place(bucket, key)
    async with _Look(connection, stream, subject, name="read", troubled=trouble.append) as watch:
        try:
            async with asyncio.timeout(API_TIMEOUT_S):
                return await watch.next()
        except TimeoutError:
            if trouble:
                raise trouble[-1] from None
            raise GatewayUnreachable(f"the bucket {bucket} did not answer in time") from None


def place(bucket: str, key: str) -> tuple[str, str]:
    """The stream and the subject in it that hold a key."""
    return f"KV_{bucket}", f"$KV.{bucket}.{key}"


class Watch:
    """Watches one subject of a stream, such as a key of a bucket, through a consumer of its own.

    Changes are pulled, and come to `<inbox prefix>.<random>.*`: nobody in RECORDS listens to a
    subject that can be guessed, which a consumer that pushes would need.

    Args:
        name: Begins the consumer's name, by which administrators see who watches.
        troubled: Told why a watch could not begin; it is tried again.
    """

    _forgotten_s: ClassVar[float] = FORGOTTEN_S

    def __init__(
        self,
        connection: GatewayConnection,
        stream: str,
        subject: str,
        *,
        name: str,
        troubled: Callable[[ConfigurationError | GatewayUnreachable], None],
    ) -> None:
        self._connection = connection
        self._stream, self._subject = stream, subject
        self._name = f"{name}-{secrets.token_hex(_INSTANCE_BYTES)}"
        self._troubled = troubled
        self._inbox = f"{connection.inbox_prefix}.{secrets.token_hex(_INSTANCE_BYTES)}."
        self._subscription: Subscription | None = None
        self._attempts = itertools.count(1)
        self._news = asyncio.Event()
        self._reading = _Reading("", "")

    async def __aenter__(self) -> Self:
        self._connection.watch(self._on_event)
        self._subscription = await self._connection.listen(f"{self._inbox}*", self._on_message)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.unwatch(self._on_event)
        if self._subscription is not None:
            await self._connection.unlisten(self._subscription)

    async def next(self) -> Batch:
        """All that is kept, then each change alone; all that is kept again after a break.

        Raises:
            ConnectionLost: the connection was closed for good.
        """
        while True:
            if (batch := await self._next()) is not None:
                return batch
            await self._connection.connected()
            if not await self._begin():
                await asyncio.sleep(AGAIN_S)

    async def _begin(self) -> bool:
        number = next(self._attempts)
        reading = self._reading = _Reading(f"{self._name}-{number}", f"{self._inbox}{number}")
        call = f"CONSUMER.CREATE.{self._stream}.{reading.consumer}.{self._subject}"
        try:
            answer = await ask(self._connection, call, self._consumer(reading))
        except (ApiError, GatewayUnreachable) as error:
            self._troubled(error)
            return False
        if not answer.get("num_pending"):
            reading.end_of_kept()
        reading.begun = True
        self._pull()
        return True

    def _pull(self) -> None:
        """Ask for as many changes as there is room for, if no former request is open."""
        reading = self._reading
        room = MAX_WAITING - len(reading.ready)
        if not reading.begun or reading.broken or reading.asked or room < 1:
            return
        nanoseconds = {"expires": int(PULL_S * _NS), "idle_heartbeat": int(HEARTBEAT_S * _NS)}
        call = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{reading.consumer}"
        body = json.dumps({"batch": room} | nanoseconds).encode()
        try:
            self._connection.post(call, body, reply=reading.inbox)
        except ConnectionLost:
            reading.broken = True
        else:
            reading.asked = room

    def _consumer(self, reading: _Reading) -> dict[str, Any]:
        configuration = {
            "name": reading.consumer,
            "deliver_policy": "all",
            "filter_subject": self._subject,
            "ack_policy": "none",
            "inactive_threshold": int(self._forgotten_s * _NS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        return {"stream_name": self._stream, "config": configuration}

    async def _next(self) -> Batch | None:
        """The next batch; None when the watch has to begin, or to begin again."""
        reading = self._reading
        while reading.begun and not reading.ready:
            if reading.broken:
                reading.begun = False
                break
            self._news.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await self._news.wait()
            except TimeoutError:
                reading.broken = True
        if not reading.begun:
            return None
        batch = reading.ready.popleft()
        self._pull()
        return batch

    def _on_message(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        if reply.startswith(DELIVERED):
            self._reading.take(reply, body, header)
        elif subject == self._reading.inbox:
            self._reading.hear(status(header))
        self._pull()
        self._news.set()

    def _on_event(self, event: ConnectionEvent) -> None:
        if event.kind in {EventKind.DISCONNECTED, EventKind.CLOSED}:
            self._reading.broken = True
            self._news.set()


class _Look(Watch):
    """A watch that is over when it has read what is kept."""

    _forgotten_s = READ_FORGOTTEN_S


class _Reading:
    """What one consumer has delivered, in order and without a gap, or broken."""

    def __init__(self, consumer: str, inbox: str) -> None:
        self.consumer, self.inbox = consumer, inbox
        self.ready: deque[Batch] = deque()
        self.begun = False
        self.broken = False
        self.asked = 0
        self._delivered = 0
        self._kept: list[Entry] | None = []

    def take(self, reply: str, body: bytes, header: bytes | None) -> None:
        try:
            consumer, sequence, number, time_ns, pending = told(reply)
        except ValueError:
            self.broken = True
            return
        if consumer != self.consumer:
            return
        if number != self._delivered + 1:
            self.broken = True
            return
        self._delivered = number
        self.asked -= 1
        marked = header is not None and decode_headers(header).get("KV-Operation") in _MARKERS
        self._add(Entry(sequence, None if marked else body, time_ns // _MS_PER_NS), pending)

    def hear(self, said: int) -> None:
        """A request runs on, has expired, or something is wrong with it or the consumer."""
        if said == _EXPIRED:
            self.asked = 0
        elif said != _HEARTBEAT:
            self.broken = True

    def end_of_kept(self) -> None:
        if self._kept is not None:
            self.ready.append(tuple(self._kept))
            self._kept = None

    def _add(self, entry: Entry, pending: int) -> None:
        if self._kept is None:
            self.ready.append((entry,))
            return
        self._kept.append(entry)
        if not pending:
            self.end_of_kept()
