"""The grammar of every subject, and the one place where subjects are built and read.

A name is `[A-Za-z0-9_-]{1,64}`; `@` stands where an operation has no collection. Anything else is
refused when the subject is built, never cleaned up.
"""

from __future__ import annotations

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

JOB: Final = "job"
"""The channel of durable jobs, which a stream keeps."""

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
    operation is `next`. There is no subject with a token outside the grammar: `InvalidSubject` says
    which one was refused.
    """

    principal: str
    database: str
    collection: str
    operation: str
    channel: str = "cmd"
    worker: str = ""

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

    def __str__(self) -> str:
        return (
            f"{PREFIX}.{self.channel}.{self.principal}"
            f".{self.database}.{self.worker or self.collection}.{self.operation}"
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
    if len(tokens) != _COMMAND_TOKENS or not subject.startswith(_PREFIX_DOT):
        raise InvalidSubject(f"{subject[:120]!r} is not the subject of a command")
    _, _, channel, principal, database, place, operation = tokens
    if channel == CURSOR and operation == NEXT:
        return CommandSubject.of_cursor(principal, database, place)
    return CommandSubject(principal, database, place, operation, channel)


def command_pattern(operation: str) -> str:
    """What a worker subscribes to for one operation of every principal."""
    return f"{PREFIX}.cmd.*.*.*.{check_name(operation, 'operation')}"


def cursor_pattern(worker: str) -> str:
    """What the worker subscribes to for the pages of its cursors; no other one does."""
    return f"{PREFIX}.{CURSOR}.*.*.{check_name(worker, 'worker')}.{NEXT}"


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


def is_own_inbox(reply: str, principal: str) -> bool:
    """Whether `reply` lies below the principal's own inbox prefix and is a plain subject."""
    rest = reply.removeprefix(f"{INBOX_ROOT}.{principal}.")
    return rest != reply and _INBOX_REST.fullmatch(rest) is not None
