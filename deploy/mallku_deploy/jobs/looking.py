"""What lies in the streams of jobs, made readable. Signatures are not checked here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from mallku_broker.jetstream import ask
from mallku_broker.jobs import (
    CONSUMERS,
    DeadJob,
    StoredJob,
    signed_subject,
    stored_job,
    stored_jobs,
)
from mallku_broker.streams import DEAD, JOBS, REDRIVEN
from mallku_client.settings import ClientSettings
from mallku_contracts import codec
from mallku_contracts.envelope import CommandHeader, Envelope
from mallku_contracts.errors import JobNotFound, MallkuError
from mallku_contracts.subjects import CommandSubject
from mallku_deploy.administration import connect_by

_MS_PER_S = 1_000


@dataclass(frozen=True, slots=True)
class SeenJob:
    """One job of a stream; what cannot be read of it is empty.

    Attributes:
        sequence: In its stream.
        kept: When that stream took it, RFC 3339.
        job: Its idempotency key, by which the caller knows it.
        run_at, expires: RFC 3339; `run_at` is empty for a job that is to be done at once.
        tries: How often a dead job was begun.
        code, reason: Why it is dead.
    """

    stream: str
    sequence: int
    kept: str
    principal: str = ""
    database: str = ""
    collection: str = ""
    operation: str = ""
    job: str = ""
    run_at: str = ""
    order: str = ""
    expires: str = ""
    tries: int = 0
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LineState:
    """How one line of jobs stands."""

    line: str
    waiting: int
    under_way: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The jobs that wait or are under way, and the lines in which they do."""

    jobs: tuple[SeenJob, ...]
    lines: tuple[LineState, ...]


async def waiting(settings: ClientSettings, most: int) -> Waiting:
    """The oldest jobs that are not done.

    Raises:
        GatewayUnreachable, Unavailable: the broker does not answer.
        ConfigurationError: it refuses.
    """
    connection = await connect_by(settings)
    try:
        found = [
            see(stream, job)
            for stream in (JOBS, REDRIVEN)
            for job in await stored_jobs(connection, stream, most=most)
        ]
        lines = [
            LineState(consumer.name, info["num_pending"], info["num_ack_pending"])
            for consumer in CONSUMERS
            for info in [
                await ask(connection, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}", {})
            ]
        ]
    finally:
        await connection.close()
    return Waiting(tuple(found[:most]), tuple(lines))


async def dead(settings: ClientSettings, first: int, most: int) -> tuple[SeenJob, ...]:
    """The oldest dead jobs from a sequence on; errors as of `waiting`."""
    connection = await connect_by(settings)
    try:
        found = await stored_jobs(connection, DEAD, first=first, most=most)
    finally:
        await connection.close()
    return tuple(see(DEAD, job) for job in found)


async def show(settings: ClientSettings, stream: str, sequence: int) -> dict[str, Any]:
    """Everything that a job says, arguments included.

    Raises:
        JobNotFound: there is none at this sequence of the stream.
        GatewayUnreachable, Unavailable: the broker does not answer.
    """
    connection = await connect_by(settings)
    try:
        found = await stored_job(connection, stream, sequence)
    finally:
        await connection.close()
    if found is None:
        raise JobNotFound(f"{stream} has no job at sequence {sequence}")
    shown = {name: value for name, value in asdict(see(stream, found)).items() if value != ""}
    _, data = _command(stream, found)
    try:
        envelope = Envelope.split(data)
        shown["header"] = asdict(CommandHeader.read(envelope.protected))
        shown["arguments"] = codec.unpack(envelope.body)
    except (MallkuError, codec.CodecError) as error:
        shown["unreadable"] = str(error)
    return shown


def see(stream: str, job: StoredJob) -> SeenJob:
    """What can be told of a message."""
    dead_job, data = _command(stream, job)
    subject = dead_job.subject if dead_job else signed_subject(job.subject)
    values: dict[str, Any] = {}
    try:
        named = CommandSubject.parse(subject)
        values = {
            "principal": named.principal,
            "database": named.database,
            "collection": named.collection,
            "operation": named.operation,
        }
        header = CommandHeader.read(Envelope.split(data).protected)
        values |= {
            "job": header.idem,
            "run_at": _time(header.run_at) if header.run_at else "",
            "order": header.order or "",
            "expires": _time(header.exp),
        }
    except MallkuError as error:
        values |= {"reason": error.message}
    if dead_job is not None and stream == DEAD:
        values |= {"tries": dead_job.tries, "code": str(dead_job.error.get("code", ""))}
        values |= {"reason": str(dead_job.error.get("message", ""))}
    return SeenJob(stream, job.sequence, job.time, **values)


def _command(stream: str, job: StoredJob) -> tuple[DeadJob | None, bytes]:
    """The signed command in a message, and what stands around it where it was dead."""
    if stream == JOBS:
        return None, job.data
    try:
        found = DeadJob.read(job.data)
    except ValueError:
        return None, b""
    return found, found.data


def _time(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / _MS_PER_S, UTC).isoformat(timespec="milliseconds")
