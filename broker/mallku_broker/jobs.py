"""Durable jobs in the broker: who is given which of them, and what is said to the stream about one.

Jobs lie in a work queue (ADR-31 and the API's schema `consumer_configuration`): a message is gone
when a worker says that it is done. The consumers are durable and shared by all workers. Jobs with
an ordering key are put into partitions by the server itself (the stream's subject transform); of a
partition one job at a time is under way, and the next only when that one is settled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import nats.errors
from nats.aio.client import Client

from mallku_broker.cancellation import cancellable
from mallku_broker.connection import GatewayConnection
from mallku_broker.deliveries import told, told_of_delivery
from mallku_broker.jetstream import ApiError, ask
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import JOBS, REDRIVEN
from mallku_contracts import codec
from mallku_contracts.errors import MallkuError, Unavailable
from mallku_contracts.subjects import (
    JOB,
    NO_COLLECTION,
    ORDERED,
    PARTITIONS,
    PREFIX,
    SCHEDULED,
    CommandSubject,
)
from mallku_contracts.tracing import HEADER as TRACE

ACK_WAIT_S: Final = 30.0
"""A job of which its worker says nothing for so long is given to another, seconds."""

MAX_UNSETTLED: Final = 10_000
"""Jobs of one consumer that are under way, or wait for another try; no more are given out then."""

MAX_SCHEDULED: Final = 100_000
"""Jobs that wait for their time; later ones are looked at when there is room again."""

STORE_WAIT_S: Final = 5.0
"""How long a stream may take to say that it keeps something, seconds."""

_NS: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_NO_CONSUMER: Final = 10014
_ORDERED_TOKENS: Final = 10
"""Of the subject of an ordered job as the stream keeps it: the last token is the partition's."""

_MARK: Final = 7
"""Where such a subject says that it is one."""

_NOBODY: Final = "unknown"
_UNREADABLE: Final = f"{_NOBODY}.unknown.{NO_COLLECTION}.unknown"


@dataclass(frozen=True, slots=True)
class Consumer:
    """One line in which jobs wait: a durable consumer of a work queue.

    Attributes:
        subject: Which jobs stand in it.
        most: How many of them may be under way, in all workers together.
    """

    name: str
    stream: str
    subject: str
    most: int = MAX_UNSETTLED

    @property
    def ordered(self) -> bool:
        """Whether one job at a time is under way."""
        return self.most == 1

    @property
    def configuration(self) -> dict[str, Any]:
        """As the server has it; times are nanoseconds."""
        return {
            "name": self.name,
            "durable_name": self.name,
            "filter_subject": self.subject,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": int(ACK_WAIT_S * _NS),
            "max_deliver": -1,
            "max_ack_pending": self.most,
        }


_COMMAND: Final = f"{PREFIX}.{JOB}.*.*.*.*"

CONSUMERS: Final = (
    Consumer("jobs", JOBS, _COMMAND),
    Consumer("scheduled", JOBS, f"{_COMMAND}.{SCHEDULED}", MAX_SCHEDULED),
    *(
        Consumer(f"ordered-{number}", JOBS, f"{_COMMAND}.{ORDERED}.*.{number}", 1)
        for number in range(PARTITIONS)
    ),
    Consumer("redriven", REDRIVEN, f"{PREFIX}.redrive.>"),
)
"""Every line of jobs."""


async def ensure_consumers(connection: Client) -> list[str]:
    """Make the consumers that are missing; say, in words, where one differs. Nothing is changed.

    Raises:
        GatewayUnreachable: the JetStream API does not answer.
        ConfigurationError: it refused.
    """
    drifts: list[str] = []
    for consumer in CONSUMERS:
        found = await _find(connection, consumer)
        if found is None:
            await ask(
                connection,
                f"CONSUMER.CREATE.{consumer.stream}.{consumer.name}.{consumer.subject}",
                {"stream_name": consumer.stream, "config": consumer.configuration},
            )
            continue
        drifts += [
            f"{consumer.stream}/{consumer.name}.{name}: expected {wanted!r},"
            f" found {found.get(name)!r}"
            for name, wanted in consumer.configuration.items()
            if found.get(name) != wanted
        ]
    return drifts


async def _find(connection: Client, consumer: Consumer) -> dict[str, Any] | None:
    try:
        answer = await ask(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}", {})
    except ApiError as error:
        if error.err_code == _NO_CONSUMER:
            return None
        raise
    config: dict[str, Any] = answer["config"]
    return config


@dataclass(frozen=True, slots=True)
class JobMessage:
    """One job as a stream delivered it.

    Attributes:
        subject: As it was published and signed.
        reply: Where the stream is told what became of it.
        number: Which delivery this is, from 1.
        time_ns: When the stream took it, Unix nanoseconds.
        header: The block of headers that it came with.
    """

    subject: str
    data: bytes = field(repr=False)
    reply: str
    stream: str
    sequence: int
    number: int
    time_ns: int
    header: bytes | None = field(default=None, repr=False)

    @classmethod
    def read(cls, subject: str, reply: str, data: bytes, header: bytes | None = None) -> JobMessage:
        """Read what a consumer delivered; `ValueError` when that is no message of a stream."""
        delivery, (stream, number) = told(reply), told_of_delivery(reply)
        sequence, time_ns = delivery.sequence, delivery.time_ns
        signed = signed_subject(subject)
        return cls(signed, data, reply, stream, sequence, number, time_ns, header)

    @property
    def principal(self) -> str:
        """Whom its subject names; the broker lets nobody else publish there."""
        return _principal(self.subject)

    @property
    def scheduled(self) -> bool:
        """Whether it may wait for a time of its own."""
        return self.subject.endswith(f".{SCHEDULED}")

    @property
    def stored_ms(self) -> int:
        """When the stream took it, Unix milliseconds."""
        return self.time_ns // _NS_PER_MS


def signed_subject(stored: str) -> str:
    """The subject that the sender of a job signed: without the partition that the server adds."""
    tokens = stored.split(".")
    if len(tokens) == _ORDERED_TOKENS and tokens[_MARK] == ORDERED:
        return ".".join(tokens[:-1])
    return stored


# What a worker says about a job (ADR-13)


def say_done(connection: GatewayConnection, job: JobMessage) -> None:
    """The stream may forget it."""
    connection.post(job.reply, b"+ACK")


def say_under_way(connection: GatewayConnection, job: JobMessage) -> None:
    """It is being worked on: nobody else is to have it for another `ACK_WAIT_S`."""
    connection.post(job.reply, b"+WPI")


def say_again(connection: GatewayConnection, job: JobMessage, delay_s: float) -> None:
    """It is to be delivered again after so many seconds; the server remembers over restarts."""
    delay = {"delay": max(int(delay_s * _NS), 1)}
    connection.post(job.reply, b"-NAK " + json.dumps(delay).encode())


def ask_for_one(connection: GatewayConnection, consumer: Consumer, wait_s: float, to: str) -> None:
    """Ask for one job, which comes to the subject `to`; after `wait_s` seconds the server says no.

    `ConnectionLost` when there is no connection.
    """
    request = {"batch": 1, "expires": int(wait_s * _NS)}
    call = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
    connection.post(call, json.dumps(request).encode(), reply=to)


async def keep(
    asking: RequestMultiplexer, subject: str, data: bytes, *, message_id: str = "", trace: str = ""
) -> int:
    """Have a stream keep `data`; returns its sequence there.

    Args:
        trace: The `traceparent` that is kept with it; empty for none.

    Raises:
        Unavailable: the stream refused, or did not answer in time: it may be kept.
    """
    given = {"Nats-Msg-Id": message_id, TRACE: trace}
    headers = {name: value for name, value in given.items() if value}
    try:
        answer = await asking.request(subject, data, headers=headers or None, timeout=STORE_WAIT_S)
        said = json.loads(answer.data)
        if "error" not in said:
            return int(said["seq"])
        reason = str(said["error"].get("description", ""))
    except (TimeoutError, MallkuError, ValueError, KeyError) as error:
        reason = str(error) or type(error).__name__
    raise Unavailable(f"nobody keeps what was sent to {subject}: {reason}")


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that could not be done, as it lies in `MALLKU_DEAD`; or is given another try.

    Attributes:
        subject: As it was published and signed.
        stored_ms: When the stream of jobs first took it, Unix milliseconds.
        sequence: Where it stood there.
        tries: How often it was begun.
        error: Why it is dead, as an error crosses the wire.
        data: The signed command.
    """

    subject: str
    stored_ms: int
    sequence: int
    tries: int
    error: dict[str, Any]
    data: bytes = field(repr=False)

    def pack(self) -> bytes:
        """The message's body, a msgpack map."""
        return codec.pack_trusted({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def read(cls, body: bytes) -> DeadJob:
        """Read one; `ValueError` when it is none."""
        values = codec.unpack(body, allow_bytes=True)
        kinds = {"subject": str, "stored_ms": int, "sequence": int, "tries": int}
        kinds |= {"error": dict, "data": bytes}
        if not isinstance(values, dict) or values.keys() != kinds.keys():
            raise ValueError("not a dead job")
        if any(type(values[name]) is not kind for name, kind in kinds.items()):
            raise ValueError("not a dead job")
        return cls(**values)

    @property
    def dead_subject(self) -> str:
        """Where it is published in `MALLKU_DEAD`."""
        return f"{PREFIX}.dead.{_names(self.subject)}"

    def redrive_subject(self, sequence: int) -> str:
        """Where it is published for another try, when it lay at `sequence` among the dead."""
        return f"{PREFIX}.redrive.{_names(self.subject)}.{sequence}"


def jobs_of(principal: str) -> str:
    """Where all of a principal's jobs lie in `MALLKU_JOBS`."""
    return f"{PREFIX}.{JOB}.{principal}.>"


def dead_of(principal: str) -> str:
    """Where all of a principal's jobs lie in `MALLKU_DEAD`."""
    return f"{PREFIX}.dead.{principal}.>"


def _principal(subject: str) -> str:
    try:
        return CommandSubject.parse(subject).principal
    except MallkuError:
        return _NOBODY


def _names(subject: str) -> str:
    try:
        named = CommandSubject.parse(subject)
    except MallkuError:
        return _UNREADABLE
    return f"{named.principal}.{named.database}.{named.collection}.{named.operation}"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A message of one of the streams of jobs, for whoever looks at them.

    `trace` is the `traceparent` that it came with, well-formed or not; empty without one.
    """

    sequence: int
    subject: str
    time: str
    data: bytes = field(repr=False)
    trace: str = ""


async def stored_jobs(
    connection: Client, stream: str, *, first: int = 1, most: int
) -> tuple[StoredJob, ...]:
    """What a stream of jobs keeps from a sequence on, oldest first (ADR-31, "Direct Get").

    Raises:
        Unavailable: no answer in time; there is no such stream, or no permission to read it.
    """
    found: list[StoredJob] = []
    while len(found) < most:
        job = await _next_stored(connection, stream, first)
        if job is None:
            break
        found.append(job)
        first = job.sequence + 1
    return tuple(found)


async def stored_job(connection: Client, stream: str, sequence: int) -> StoredJob | None:
    """What stands at this sequence; None when nothing does. Errors as of `stored_jobs`."""
    job = await _next_stored(connection, stream, sequence)
    return job if job is not None and job.sequence == sequence else None


async def _next_stored(connection: Client, stream: str, first: int) -> StoredJob | None:
    wanted = json.dumps({"seq": first, "next_by_subj": f"{PREFIX}.>"}).encode()
    call = f"$JS.API.DIRECT.GET.{stream}"
    try:
        message = await cancellable(connection.request(call, wanted, timeout=STORE_WAIT_S))
    except nats.errors.Error as error:
        raise Unavailable(
            f"{stream} did not answer ({type(error).__name__}); may this user read it?"
        ) from error
    headers = message.headers or {}
    if "Nats-Sequence" not in headers:
        return None
    return StoredJob(
        int(headers["Nats-Sequence"]),
        headers["Nats-Subject"],
        headers["Nats-Time-Stamp"],
        message.data,
        headers.get(TRACE, ""),
    )


def permissions_of_workers() -> Iterator[str]:
    """What workers publish to take jobs and to settle them, in RECORDS."""
    for stream in (JOBS, REDRIVEN):
        yield f"$JS.API.STREAM.INFO.{stream}"
        yield f"$JS.API.CONSUMER.INFO.{stream}.*"
        yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"
        yield f"$JS.ACK.{stream}.>"
    yield f"$JS.API.DIRECT.GET.{JOBS}"
    yield f"{PREFIX}.redrive.>"
    yield f"{PREFIX}.dead.>"
