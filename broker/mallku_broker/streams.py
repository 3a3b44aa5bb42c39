"""The streams and buckets of the gateway as code: created, checked, and never changed in silence.

They belong into the account RECORDS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nats.aio.client import Client

from mallku_broker.jetstream import NO_SUCH_STREAM, ApiError, ask_formed
from mallku_contracts.errors import ConfigurationError
from mallku_contracts.governed import CURRENT
from mallku_contracts.limits import (
    AUDIT_DUPLICATE_WINDOW_S,
    KIB,
    MAX_CHECKPOINT_BYTES,
    MAX_COMMAND_BYTES,
    MAX_RECORD_BYTES,
    MIB,
)
from mallku_contracts.subjects import FLAGS_CHANGED, JOB, ORDERED, PARTITIONS, PREFIX, STORED

MAX_HEADER_BYTES: Final = 16 * KIB
"""What headers may add to a stored message, bytes."""

MAX_COUNTERS: Final = 100_000
"""Counters of rates that are kept; beyond that the one not used for longest begins anew."""

MAX_CONSUMERS: Final = 256
"""Consumers of one stream: nobody may exhaust the server with them."""

AUDIT, CHECKPOINTS = "MALLKU_AUDIT", "MALLKU_CHECKPOINTS"
MAX_GENERATIONS: Final = 16
"""Streams that the trail is made of at the most: so many are in every list of permissions."""

JOBS, DEAD, REDRIVEN = "MALLKU_JOBS", "MALLKU_DEAD", "MALLKU_REDRIVEN"
RATES = "MALLKU_RATES"
POLICY, KEYS, FLAGS, RESULTS = "mallku_policy", "mallku_keys", "mallku_flags", "mallku_results"

_NS: Final = 1_000_000_000
_DAY_S: Final = 86_400
_RATES_WINDOW_S: Final = 5
_NAME_IN_USE: Final = 10058
_UNLIMITED: Final = -1

_IN_PARTITIONS: Final = {
    "src": f"{PREFIX}.{JOB}.*.*.*.*.{ORDERED}.*",
    "dest": f"{PREFIX}.{JOB}."
    + "".join(f"{{{{wildcard({place})}}}}." for place in (1, 2, 3, 4))
    + f"{ORDERED}.{{{{wildcard(5)}}}}.{{{{partition({PARTITIONS},1,5)}}}}",
}
"""Ordered jobs: to principal and key the server adds the partition that they belong to."""

_GROWING: Final = frozenset(
    {"max_bytes", "max_age", "max_msg_size", "max_consumers", "max_msgs", "max_msgs_per_subject"}
)
"""Limits whose raising loses nothing; below zero, or zero, they are without limit."""

_HARMLESS: Final = frozenset(
    {
        "description",
        "duplicate_window",
        "allow_atomic",
        "allow_direct",
        "num_replicas",
        "no_ack",
        "republish",
        "subject_transform",
    }
)


def generation(number: int) -> str:
    """The name of one of the streams that the trail is made of, from 1 on."""
    return AUDIT if number == 1 else f"{AUDIT}_{number}"


def sealed_subject(stream: str) -> str:
    """What a sealed stream of the trail has for subjects: nobody may publish there."""
    return f"{PREFIX}.sealed.{stream}"


AUDIT_STREAMS: Final = tuple(map(generation, range(1, MAX_GENERATIONS + 1)))
"""The streams that the trail may be made of; all but the newest are sealed."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How much may be kept, bytes on disk; the server sets these aside when a stream is made.

    A full audit stream refuses: nothing is executed any more until there is room.

    Attributes:
        audit_bytes: The audit trail, bytes.
        checkpoint_bytes: The workers' checkpoints, bytes.
        job_bytes: Jobs that wait, bytes; a full stream refuses new ones.
        dead_bytes: Jobs that could not be done, bytes; kept for 30 days.
        result_bytes: Results of jobs, bytes.
        rate_bytes: What principals have used of their rates, bytes.
        bucket_bytes: Policy, keys and flags, each, bytes.
        replicas: On how many servers each of them is kept.
        placement_cluster: In which cluster; empty leaves it to the server.
        placement_tags: Tags that each of these servers has to have (`server_tags`).
    """

    audit_bytes: int = 4_096 * MIB
    checkpoint_bytes: int = 1_024 * MIB
    job_bytes: int = 512 * MIB
    dead_bytes: int = 256 * MIB
    result_bytes: int = 512 * MIB
    rate_bytes: int = 32 * MIB
    bucket_bytes: int = 32 * MIB
    replicas: int = 1
    placement_cluster: str = ""
    placement_tags: tuple[str, ...] = ()

    @property
    def placement(self) -> dict[str, Any]:
        """Where streams are kept, as the server has it; empty where that is left to it."""
        cluster = {"cluster": self.placement_cluster} if self.placement_cluster else {}
        return cluster | ({"tags": list(self.placement_tags)} if self.placement_tags else {})


@dataclass(frozen=True, slots=True)
class StreamDefinition:
    """What a stream has to be: the fields of its configuration that we fix, as the server has them.

    Sizes are bytes, times nanoseconds (nats-architecture-and-design, ADR-31 and the API's schema
    `io.nats.jetstream.api.v1.stream_configuration`).
    """

    name: str
    configuration: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Drift:
    """A stream that is not what it has to be; `safe` says that `apply` may change it."""

    stream: str
    field: str
    expected: Any
    found: Any
    safe: bool

    def __str__(self) -> str:
        return f"{self.stream}.{self.field}: expected {self.expected!r}, found {self.found!r}"


def definitions(settings: StreamSettings) -> tuple[StreamDefinition, ...]:
    """Every stream and bucket that the gateway needs."""
    command_size = MAX_COMMAND_BYTES + MAX_HEADER_BYTES
    trail = {
        "deny_delete": True,
        "deny_purge": True,
        "allow_atomic": True,
        "duplicate_window": AUDIT_DUPLICATE_WINDOW_S * _NS,
    }
    return (
        _stream(
            settings,
            AUDIT,
            f"{PREFIX}.audit.>",
            max_bytes=settings.audit_bytes,
            max_msg_size=MAX_RECORD_BYTES + MAX_HEADER_BYTES,
            **trail,
        ),
        _stream(
            settings,
            CHECKPOINTS,
            f"{PREFIX}.checkpoint.*",
            max_bytes=settings.checkpoint_bytes,
            max_msg_size=MAX_CHECKPOINT_BYTES + MAX_HEADER_BYTES,
            **trail,
        ),
        _stream(
            settings,
            JOBS,
            f"{PREFIX}.{JOB}.>",
            retention="workqueue",
            no_ack=True,
            subject_transform=_IN_PARTITIONS,
            republish={
                "src": f"{PREFIX}.{JOB}.>",
                "dest": f"{PREFIX}.{STORED}.>",
                "headers_only": True,
            },
            max_bytes=settings.job_bytes,
            max_msg_size=command_size,
            max_age=8 * _DAY_S * _NS,
            duplicate_window=AUDIT_DUPLICATE_WINDOW_S * _NS,
        ),
        _stream(
            settings,
            DEAD,
            f"{PREFIX}.dead.>",
            max_bytes=settings.dead_bytes,
            max_msg_size=MAX_RECORD_BYTES + MAX_HEADER_BYTES,
            max_age=30 * _DAY_S * _NS,
        ),
        _stream(
            settings,
            REDRIVEN,
            f"{PREFIX}.redrive.>",
            retention="workqueue",
            max_bytes=settings.bucket_bytes,
            max_msg_size=MAX_RECORD_BYTES + MAX_HEADER_BYTES,
            max_age=8 * _DAY_S * _NS,
        ),
        _stream(
            settings,
            RATES,
            f"{PREFIX}.rate.*.*",
            discard="old",
            allow_msg_counter=True,
            allow_direct=False,
            max_msgs=MAX_COUNTERS,
            max_msgs_per_subject=1,
            max_bytes=settings.rate_bytes,
            max_msg_size=KIB,
            max_age=3_600 * _NS,
            duplicate_window=_RATES_WINDOW_S * _NS,
        ),
        _bucket(settings, POLICY, history=64),
        _bucket(settings, KEYS, history=64),
        _bucket(
            settings,
            FLAGS,
            history=16,
            republish={
                "src": f"$KV.{FLAGS}.{CURRENT}",
                "dest": FLAGS_CHANGED,
                "headers_only": True,
            },
        ),
        _bucket(
            settings, RESULTS, max_bytes=settings.result_bytes, max_age=9 * _DAY_S * _NS, history=1
        ),
    )


async def ensure(connection: Client, wanted: Iterable[StreamDefinition]) -> list[Drift]:
    """Create what is missing, and report where what is there differs; nothing is changed.

    Raises:
        GatewayUnreachable: the JetStream API does not answer.
        ConfigurationError: it refused to create a stream, or to show one.
    """
    drifts: list[Drift] = []
    for definition in wanted:
        found = await _find(connection, definition.name)
        if found is None:
            found = await _create(connection, definition)
        drifts += compare(*await _newest(connection, definition, found))
    return drifts


async def bring_about(connection: Client, wanted: Iterable[StreamDefinition]) -> list[Drift]:
    """Create what is missing, make the changes that lose nothing, and report what still differs.

    Raises: as `ensure`.
    """
    listed = tuple(wanted)
    drifts = await ensure(connection, listed)
    improvable = {drift.stream for drift in drifts if drift.safe}
    left = [drift for drift in drifts if drift.stream not in improvable]
    for definition in listed:
        if definition.name in improvable:
            left += await apply(connection, definition)
    return left


async def apply(connection: Client, definition: StreamDefinition) -> list[Drift]:
    """Make the changes that lose nothing (`Drift.safe`), and return the drift that remains.

    Raises: as `ensure`; a stream that is missing is a `ConfigurationError`.
    """
    found = await _find(connection, definition.name)
    if found is None:
        raise ConfigurationError(f"there is no stream {definition.name}")
    definition, found = await _newest(connection, definition, found)
    changes = {drift.field: drift.expected for drift in compare(definition, found) if drift.safe}
    if changes:
        found = await _call(connection, f"STREAM.UPDATE.{definition.name}", {**found, **changes})
    return compare(definition, found)


def compare(definition: StreamDefinition, found: Mapping[str, Any]) -> list[Drift]:
    """Field by field, where a stream's configuration is not what it has to be."""
    return [
        Drift(definition.name, name, expected, found.get(name), _is_safe(name, expected, found))
        for name, expected in definition.configuration.items()
        if found.get(name, _absent(expected)) != expected
    ]


def _stream(settings: StreamSettings, name: str, subject: str, **more: Any) -> StreamDefinition:
    configuration: dict[str, Any] = {
        "name": name,
        "subjects": [subject],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": _UNLIMITED,
        "max_consumers": MAX_CONSUMERS,
        "max_age": 0,
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": False,
        "sealed": False,
    }
    placed = {"placement": settings.placement} if settings.placement else {}
    return StreamDefinition(name, configuration | placed | more)


def _bucket(
    settings: StreamSettings,
    name: str,
    *,
    history: int,
    max_bytes: int | None = None,
    max_age: int = 0,
    **more: Any,
) -> StreamDefinition:
    """A key-value bucket, which is a stream (ADR-8)."""
    return _stream(
        settings,
        f"KV_{name}",
        f"$KV.{name}.>",
        max_msgs_per_subject=history,
        max_bytes=max_bytes or settings.bucket_bytes,
        max_age=max_age,
        deny_delete=True,
        allow_rollup_hdrs=True,
        **more,
    )


def _absent(expected: Any) -> Any:
    """The server leaves out what is false, zero or empty."""
    return type(expected)()


def _is_safe(name: str, expected: Any, found: Mapping[str, Any]) -> bool:
    if name in _GROWING:
        now = int(found.get(name, 0))
        return now > 0 and bool(expected <= 0 or expected > now)
    return name in _HARMLESS


async def _find(connection: Client, name: str) -> dict[str, Any] | None:
    try:
        return await _call(connection, f"STREAM.INFO.{name}", {})
    except ApiError as error:
        if error.err_code == NO_SUCH_STREAM:
            return None
        raise


async def _newest(
    connection: Client, definition: StreamDefinition, found: dict[str, Any]
) -> tuple[StreamDefinition, dict[str, Any]]:
    """The trail's newest stream, and what it has to be; every other stream as it is.

    Those before it are sealed, so that nothing is to be changed about them. A rotation that was
    interrupted is its administrator's to end.
    """
    newest = definition, found
    for name in AUDIT_STREAMS[1:] if definition.name == AUDIT else ():
        if not found.get("sealed"):
            break
        there = await _find(connection, name)
        if there is not None:
            found = there
            newest = StreamDefinition(name, {**definition.configuration, "name": name}), found
    return newest


async def _create(connection: Client, definition: StreamDefinition) -> dict[str, Any]:
    try:
        return await _call(connection, f"STREAM.CREATE.{definition.name}", definition.configuration)
    except ApiError as error:
        found = await _find(connection, definition.name) if error.err_code == _NAME_IN_USE else None
        if found is None:
            raise
        return found  # somebody else created it in between


async def _call(connection: Client, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the JetStream API about a stream; returns the stream's configuration."""
    configuration: dict[str, Any] = (await ask_formed(connection, call, body))["config"]
    return configuration
