"""The broker's lock: the same policy that workers decide by, said in NATS permissions.

It may be wider than the worker's lock where NATS cannot say it, never narrower; where it is wider,
a `Widening` says so. Subjects of NATS know tokens, not globs: a glob becomes `*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
    JOBS,
    SERVER_REPORT,
    TOLD_TO_CALLERS,
    TRAIL_STREAMS,
    Account,
    Permissions,
    User,
    audit_calls,
)
from mallku_broker.advisories import ADVISORY_QUEUE, advisory_subjects
from mallku_broker.jobs import permissions_of_workers
from mallku_broker.streams import (
    DEAD,
    FLAGS,
    KEYS,
    POLICY,
    RATES,
    REDRIVEN,
    RESULTS,
)
from mallku_broker.streams import JOBS as JOB_STREAM
from mallku_contracts.globs import matches
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import Policy, Principal
from mallku_contracts.subjects import (
    CANCEL,
    CANCEL_PATTERN,
    CURSOR,
    FLAGS_CHANGED,
    INBOX_ROOT,
    JOB,
    NEXT,
    NO_COLLECTION,
    ORDERED,
    PREFIX,
    SCHEDULED,
    STORED,
    command_pattern,
    door_inbox,
    inbox_prefix,
)

READ_QUEUE: Final = "mallku.read"
WRITE_QUEUE: Final = "mallku.write"
"""The queue groups of workers, one for each class of operations."""

MAX_COMMAND_SUBJECTS: Final = 2_000
"""Command subjects of one principal; beyond that, names become `*`, collections first."""

WORKER_INBOX_PREFIX: Final = "_INBOX_mallku_worker"
"""Where answers and acknowledgements for workers come, in RECORDS; an instance id follows."""

SERVICE: Final = "mallku-gateway"
"""The name under which workers are discovered (ADR-32)."""

QUERYING: Final = frozenset({"aql", NEXT})
"""The operations that can leave a cursor behind, or go on with one."""

_T = TypeVar("_T")
_ANY: Final = "*"
_VERBS: Final = ("PING", "INFO", "STATS")


class Widening(NamedTuple):
    """A subject where the broker lets more through than the worker will, and why."""

    principal: str
    subject: str
    reason: str


class _Target(NamedTuple):
    """One thing a rule allows, as tokens of a subject."""

    database: str
    collection: str
    operation: str


def compile_policy(policy: Policy) -> tuple[User, ...]:
    """The principals that have an nkey, with permissions, ready for the server's configuration."""
    return tuple(
        User(name, entry.nkey, _ACCOUNTS[entry.kind], principal_permissions(policy, name)[0])
        for name, entry in sorted(policy.principals.items())
        if entry.nkey is not None
    )


def principal_permissions(policy: Policy, name: str) -> tuple[Permissions, list[Widening]]:
    """One principal's permissions, whether it has an nkey or not, and where they are wider."""
    principal = policy.principals[name]
    match principal.kind:
        case "caller":
            return _caller(policy, name, principal)
        case "inspector":
            return _inspector(name), []
        case "auditor":
            return _auditor(name), []
        case "administrator":
            return _administrator(name), []
        case "door":
            return _door(policy, name, principal)


def worker_bus() -> Permissions:
    """A worker in MALLKU: takes commands as a member of its queue groups alone, and replies.

    Replies can only go to inboxes, so that a reply subject of somebody's choice reaches nothing
    else.
    """
    commands = (
        f"{command_pattern(name)} {WRITE_QUEUE if operation.mutates else READ_QUEUE}"
        for name, operation in OPERATIONS.items()
    )
    return Permissions(
        publish=(f"{INBOX_ROOT}.>",),
        subscribe=(*commands, f"{PREFIX}.cur.*.*.*.next", CANCEL_PATTERN, *_discovery()),
    )


def worker_records() -> Permissions:
    """A worker in RECORDS: writes the trail, results and dead jobs, takes jobs, reads settings.

    It hears what the server says of the trail's streams, as a member of a queue group alone.
    """
    read = [
        f"$JS.API.{call}"
        for stream in (*TRAIL_STREAMS, DEAD, *map(_bucket, (POLICY, KEYS, FLAGS, RESULTS)))
        for call in _reading(stream)
    ]
    return Permissions(
        publish=(
            f"{PREFIX}.audit.>",
            f"{PREFIX}.checkpoint.*",
            f"{PREFIX}.rate.*.*",
            f"$KV.{RESULTS}.>",
            SERVER_REPORT,
            *permissions_of_workers(),
            *read,
        ),
        subscribe=(
            f"{WORKER_INBOX_PREFIX}.>",
            *(f"{subject} {ADVISORY_QUEUE}" for subject in advisory_subjects()),
        ),
    )


_ACCOUNTS: Final = {
    "caller": Account.MALLKU,
    "inspector": Account.MALLKU,
    "auditor": Account.AUDITORS,
    "administrator": Account.RECORDS,
    "door": Account.MALLKU,
}


def _caller(policy: Policy, name: str, principal: Principal) -> tuple[Permissions, list[Widening]]:
    exact = set(_targets(policy, principal))
    targets, reason = _collapse(exact)
    databases = {target.database for target in targets if target.operation in QUERYING}
    commands = sorted(target for target in targets if target.operation != NEXT)
    publish: list[str] = [
        *(_subject("cmd", name, target) for target in commands),
        *(subject for target in commands for subject in _job_subjects(name, target)),
        *(_cursors(name, database) for database in sorted(databases)),
        *([f"{PREFIX}.{CANCEL}.{name}.*"] if commands else []),
    ]
    wider = [
        Widening(name, _subject("cmd", name, _tokens(target)), f"{glob!r} is a glob")
        for target in sorted(exact)
        for glob in target[:2]
        if _ANY in glob and glob != _ANY
    ]
    wider += [
        Widening(name, _cursors(name, _ANY), f"{target.database!r} is a glob")
        for target in sorted(exact)
        if target.operation in QUERYING and _ANY in target.database and target.database != _ANY
    ]
    if reason:
        wider.append(Widening(name, f"{PREFIX}.cmd.{name}.>", reason))
        wider.append(Widening(name, _cursors(name, _ANY), reason))
    subscribe = (f"{inbox_prefix(name)}.>", f"{PREFIX}.{STORED}.{name}.>", FLAGS_CHANGED)
    return Permissions(tuple(_unique(publish)), subscribe), list(_unique(wider))


def callers_of(policy: Policy, door: Principal) -> list[str]:
    """The callers that a door acts for."""
    known = sorted(policy.principals.items())
    return [name for name, each in known if each.kind == "caller" and matches(door.acts_for, name)]


def _door(policy: Policy, name: str, door: Principal) -> tuple[Permissions, list[Widening]]:
    """What its callers may publish, and of their inboxes the part that is named after the door."""
    callers = callers_of(policy, door)
    publish: list[str] = []
    wider: list[Widening] = []
    for caller in callers:
        permissions, widenings = _caller(policy, caller, policy.principals[caller])
        publish += permissions.publish
        wider += [Widening(name, each.subject, each.reason) for each in widenings]
        reason = f"NATS sees no proof that {caller!r} asked"
        wider += [Widening(name, subject, reason) for subject in permissions.publish]
    subscribe = (
        f"{inbox_prefix(name)}.>",
        *(f"{door_inbox(caller, name)}.>" for caller in callers),
        *(f"{PREFIX}.{STORED}.{caller}.>" for caller in callers),
    )
    return Permissions(tuple(_unique(publish)), subscribe), list(_unique(wider))


def _cursors(principal: str, database: str) -> str:
    return f"{PREFIX}.{CURSOR}.{principal}.{database}.*.{NEXT}"


def _targets(policy: Policy, principal: Principal) -> Iterator[_Target]:
    """What the rules of every role allow, globs as they stand there."""
    for role in principal.roles:
        for rule in policy.roles[role].rules:
            for operation in rule.allowed:
                for database in rule.databases:
                    if OPERATIONS[operation].scope is Scope.DATABASE:
                        yield _Target(database, NO_COLLECTION, operation)
                        continue
                    for collection in rule.collections:
                        yield _Target(database, collection, operation)


def _tokens(target: _Target) -> _Target:
    """A glob as the token that covers it."""
    return target._replace(
        database=_ANY if _ANY in target.database else target.database,
        collection=_ANY if _ANY in target.collection else target.collection,
    )


def _collapse(exact: Iterable[_Target]) -> tuple[set[_Target], str]:
    """The targets as tokens, widened until they are few enough; and why, if they were."""
    targets = {_tokens(target) for target in exact}
    if len(targets) <= MAX_COMMAND_SUBJECTS:
        return targets, ""
    reason = f"{len(targets)} subjects are more than {MAX_COMMAND_SUBJECTS}"
    targets = {
        target if target.collection == NO_COLLECTION else target._replace(collection=_ANY)
        for target in targets
    }
    if len(targets) <= MAX_COMMAND_SUBJECTS:
        return targets, f"{reason}: every collection"
    widest = {target._replace(database=_ANY) for target in targets}
    return widest, f"{reason}: every database and collection"


def _subject(channel: str, principal: str, target: _Target) -> str:
    return (
        f"{PREFIX}.{channel}.{principal}.{target.database}.{target.collection}.{target.operation}"
    )


def _job_subjects(principal: str, target: _Target) -> Iterator[str]:
    """A durable job; one with a time of its own; one with an ordering key."""
    plain = _subject(JOB, principal, target)
    yield from (plain, f"{plain}.{SCHEDULED}", f"{plain}.{ORDERED}.*")


def _inspector(name: str) -> Permissions:
    """Sees commands and replies, and takes none: a member of a queue group would.

    In its own name it may publish what no worker carries out, and have the server say which way a
    message takes (`nats trace`); the answer comes to its own inbox.
    """
    seen = (
        f"{PREFIX}.cmd.>",
        f"{PREFIX}.cur.>",
        CANCEL_PATTERN,
        JOBS,
        *TOLD_TO_CALLERS,
        f"{INBOX_ROOT}.>",
    )
    return Permissions(
        publish=(
            *_discovery(),
            f"{PREFIX}.cmd.{name}.*.*.*",
            f"{inbox_prefix(name)}.>",
        ),
        subscribe=(*seen, *_discovery()),
        deny_subscribe=("> >",),
    )


def _auditor(name: str) -> Permissions:
    """Reads the trail, through the calls that AUDITORS imports."""
    calls = (f"{AUDITOR_PREFIX}.{call}" for call, _ in audit_calls())
    return Permissions(publish=tuple(calls), subscribe=(f"{inbox_prefix(name)}.>",))


def _administrator(name: str) -> Permissions:
    """Looks after streams and buckets; deletes and purges none, and writes no record."""
    buckets = (POLICY, KEYS, FLAGS, RESULTS)
    streams = (*TRAIL_STREAMS, JOB_STREAM, DEAD, REDRIVEN, RATES, *map(_bucket, buckets))
    calls = [
        f"$JS.API.{call}"
        for stream in streams
        for call in (
            *_reading(stream),
            f"STREAM.CREATE.{stream}",
            f"STREAM.UPDATE.{stream}",
            f"CONSUMER.LIST.{stream}",
            f"CONSUMER.NAMES.{stream}",
            f"CONSUMER.DELETE.{stream}.*",
        )
    ]
    return Permissions(
        publish=(
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            *calls,
            *(f"$KV.{bucket}.>" for bucket in buckets),
        ),
        subscribe=(f"{inbox_prefix(name)}.>",),
    )


def _reading(stream: str) -> tuple[str, ...]:
    """The JetStream API's calls that read a stream."""
    return (
        f"STREAM.INFO.{stream}",
        f"STREAM.MSG.GET.{stream}",
        f"DIRECT.GET.{stream}",
        f"DIRECT.GET.{stream}.>",
        f"CONSUMER.CREATE.{stream}.>",
        f"CONSUMER.INFO.{stream}.*",
        f"CONSUMER.MSG.NEXT.{stream}.*",
    )


def _bucket(name: str) -> str:
    return f"KV_{name}"


def _discovery() -> Iterator[str]:
    """Discovery of one service (ADR-32): all, those of a name, and one by its id."""
    for verb in _VERBS:
        yield f"$SRV.{verb}"
        yield f"$SRV.{verb}.{SERVICE}"
        yield f"$SRV.{verb}.{SERVICE}.*"


def _unique(items: Iterable[_T]) -> Iterable[_T]:
    return dict.fromkeys(items)
