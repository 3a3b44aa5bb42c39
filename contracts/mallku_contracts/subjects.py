"""The grammar of every subject, and the one place where subjects are built and read.

A name is `[A-Za-z0-9_-]{1,64}`; `@` stands where an operation has no collection. Anything else is
refused when the subject is built, never cleaned up.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeGuard

from mallku_contracts.errors import InvalidSubject
from mallku_contracts.limits import MAX_NAME_CHARS

PREFIX: Final = "mallku.v1"
NO_COLLECTION: Final = "@"
"""Stands for the collection where an operation has none."""

CURSOR: Final = "cur"
"""The channel on which one worker alone is asked for pages of its cursors."""

NEXT: Final = "next"
"""The operation of that channel."""

CANCEL: Final = "cancel"
"""The channel on which a caller says that a command need not be begun; its id follows."""

JOB: Final = "job"
"""The channel of durable jobs, which a stream keeps."""

SCHEDULED: Final = "at"
"""Follows the operation of a job that is to be done at a time of its own."""

ORDERED: Final = "key"
"""Follows the operation of a job that is to be done in order; the token of its key follows."""

PARTITIONS: Final = 8
"""Lines in which ordered jobs wait; those of one principal with one key stand in the same."""

STORED: Final = "stored"
"""Stands for `job` where the server says that a job is kept: to whom its subject names, alone."""

FLAGS_CHANGED: Final = f"{PREFIX}.flags"
"""Where the server says, without content, that other flags were put into their bucket."""

OUTCOMES: Final = ("intent", "done", "failed", "denied", "resolved")
"""The last token of an audit subject."""

INBOX_ROOT: Final = "_INBOX_mallku"
"""What every caller's inbox begins with; a dot, the principal, and more tokens follow."""

MAX_REMEMBERED_SUBJECTS: Final = 4_096
"""Subjects of commands that are not read a second time."""

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}")
_INBOX_REST = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern}){{0,3}}")
_PREFIX_DOT: Final = PREFIX + "."
_CHANNELS: Final = ("cmd", JOB, CURSOR)
_COMMAND_TOKENS: Final = 7
_LINE = re.compile(rf"|{SCHEDULED}|{ORDERED}\.[0-9a-f]{{32}}")
"""What may follow the operation of a job: nothing, that it has its time, or its place in a line."""
_KEY_DIGITS: Final = 32


def is_name(value: object) -> TypeGuard[str]:
    """Whether `value` can be one token of a subject: a principal, a database, and so on."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def check_name(value: object, what: str) -> str:
    """Return `value` when it is a name, else raise `InvalidSubject` naming `what`."""
    if is_name(value):
        return value
    shown = "an empty name" if value == "" else repr(value)[: MAX_NAME_CHARS + 8]
    raise InvalidSubject(
        f"{what}: {shown} is not a name; use 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9 _ -",
        details={"field": what},
    )


@dataclass(frozen=True, slots=True)
class CommandSubject:
    """Where a command is published: who asks, for which database, collection and operation.

    In the channel `cur` the token of the collection names the worker that holds a cursor, and the
    operation is `next`. In the channel `job` a `line` may follow the operation: `at`, or `key` and
    the token of an ordering key (`job_line`). There is no subject with a token outside the grammar:
    `InvalidSubject` says which one was refused.
    """

    principal: str
    database: str
    collection: str
    operation: str
    channel: str = "cmd"
    worker: str = ""
    line: str = ""

    def __post_init__(self) -> None:
        check_name(self.principal, "principal")
        check_name(self.database, "database")
        if self.collection != NO_COLLECTION:
            check_name(self.collection, "collection")
        check_name(self.operation, "operation")
        if self.channel not in _CHANNELS:
            raise InvalidSubject("channel: use cmd, job or cur", details={"field": "channel"})
        if self.channel == CURSOR:
            check_name(self.worker, "worker")
            if self.operation != NEXT:
                raise InvalidSubject(f"a worker's cursors are asked for {NEXT}, and nothing else")
        if self.line and (self.channel != JOB or not _LINE.fullmatch(self.line)):
            raise InvalidSubject("what follows the operation is not what may follow that of a job")

    def __str__(self) -> str:
        return (
            f"{PREFIX}.{self.channel}.{self.principal}"
            f".{self.database}.{self.worker or self.collection}.{self.operation}"
            f"{'.' if self.line else ''}{self.line}"
        )

    @classmethod
    def build(
        cls, principal: str, database: str, collection: str | None, operation: str
    ) -> CommandSubject:
        """Make a subject of names; `collection` is None where the operation has none."""
        where = NO_COLLECTION if collection is None else check_name(collection, "collection")
        return cls(principal, database, where, operation)

    @classmethod
    def of_cursor(cls, principal: str, database: str, worker: str) -> CommandSubject:
        """Where the pages of a cursor are asked for that a worker holds."""
        return cls(principal, database, NO_COLLECTION, NEXT, CURSOR, worker)

    @classmethod
    def parse(cls, subject: str) -> CommandSubject:
        """Read a command's or a job's subject; `InvalidSubject` when it is not one."""
        return _parse(subject)


@lru_cache(MAX_REMEMBERED_SUBJECTS)
def _parse(subject: str) -> CommandSubject:
    tokens = subject.split(".", _COMMAND_TOKENS)
    if len(tokens) < _COMMAND_TOKENS or not subject.startswith(_PREFIX_DOT):
        raise InvalidSubject(f"{subject[:120]!r} is not the subject of a command")
    _, _, channel, principal, database, place, operation, *line = tokens
    if line and (channel != JOB or not line[0]):
        raise InvalidSubject(f"{subject[:120]!r} is not the subject of a command")
    if channel == CURSOR and operation == NEXT:
        return CommandSubject.of_cursor(principal, database, place)
    return CommandSubject(principal, database, place, operation, channel, line="".join(line))


def job_line(*, scheduled: bool, ordering_key: str) -> str:
    """What follows the operation of a job; an ordering key is any text, and its hash a token."""
    if ordering_key:
        digest = hashlib.sha256(ordering_key.encode()).hexdigest()
        return f"{ORDERED}.{digest[:_KEY_DIGITS]}"
    return SCHEDULED if scheduled else ""


def command_pattern(operation: str) -> str:
    """What a worker subscribes to for one operation of every principal."""
    return f"{PREFIX}.cmd.*.*.*.{check_name(operation, 'operation')}"


def cursor_pattern(worker: str) -> str:
    """What the worker subscribes to for the pages of its cursors; no other one does."""
    return f"{PREFIX}.{CURSOR}.*.*.{check_name(worker, 'worker')}.{NEXT}"


def cancel_subject(principal: str, command_id: str) -> str:
    """Where a caller says that its transmission `command_id` need not be begun any more."""
    return f"{PREFIX}.{CANCEL}.{check_name(principal, 'principal')}.{check_name(command_id, 'id')}"


CANCEL_PATTERN: Final = f"{PREFIX}.{CANCEL}.*.*"
"""What every worker subscribes to, in no queue group: whoever holds the command is meant."""


def read_cancel_subject(subject: str) -> tuple[str, str] | None:
    """Principal and id in the subject of a cancellation; None where it is none."""
    head, _, rest = subject.partition(f"{PREFIX}.{CANCEL}.")
    principal, dot, command_id = rest.partition(".")
    well = not head and dot and is_name(principal) and is_name(command_id)
    return (principal, command_id) if well else None


def audit_subject(command: CommandSubject, outcome: str) -> str:
    """Where the record of this command's `outcome` (one of `OUTCOMES`) is published."""
    if outcome not in OUTCOMES:
        raise InvalidSubject(f"outcome: {outcome!r} is not one of {', '.join(OUTCOMES)}")
    return (
        f"{PREFIX}.audit.{command.principal}.{command.database}"
        f".{command.collection}.{command.operation}.{outcome}"
    )


def inbox_prefix(principal: str) -> str:
    """The only place where replies for `principal` may go; a dot and a token follow."""
    return f"{INBOX_ROOT}.{check_name(principal, 'principal')}"


def door_inbox(principal: str, door: str) -> str:
    """Where replies for `principal` go that a door fetches; a dot and a token follow."""
    return f"{inbox_prefix(principal)}.{check_name(door, 'door')}"


def is_own_inbox(reply: str, principal: str) -> bool:
    """Whether `reply` lies below the principal's own inbox prefix and is a plain subject."""
    rest = reply.removeprefix(f"{INBOX_ROOT}.{principal}.")
    return rest != reply and _INBOX_REST.fullmatch(rest) is not None
