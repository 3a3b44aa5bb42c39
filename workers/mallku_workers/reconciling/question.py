"""What one intent asked for, read out of its own record: all that a decision needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mallku_contracts import codec
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.aql.parsing import parse
from mallku_contracts.arguments import Aql, Arguments, NoArguments, read_arguments
from mallku_contracts.audit import Record
from mallku_contracts.envelope import CommandHeader, fingerprint
from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS, Access, Operation
from mallku_contracts.subjects import CommandSubject
from mallku_workers.ledger import entry_end_ms, ledger_key

_UNLEDGERED: Final = frozenset({"redrive", "report-violation"})
"""Has no entry in the ledger: done again it does no harm, and whether it was done nobody knows."""


class NotAnIntent(ValueError):
    """The record does not say what was asked for; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What became of this command?

    Attributes:
        mutates: It could have an effect.
        exp_ms: The end of its validity, as its caller signed it, Unix milliseconds; of a durable
            job the end of this attempt.
        expires_ms: At this time at the earliest its ledger entry may be forgotten.
        key: Where the ledger keeps its entry, if it committed.
        fingerprint: Which command that entry is about; empty where the body is not recorded.
        hidden: Records of it hold keyed hashes in the place of values.
    """

    subject: CommandSubject
    operation: Operation
    arguments: Arguments
    id: str
    mutates: bool
    exp_ms: int
    expires_ms: int
    key: str
    fingerprint: bytes
    hidden: bool = False

    @property
    def administers(self) -> bool:
        """Whether it changes collections, indexes or graphs."""
        return self.operation.access is Access.ADMIN


def read_question(record: Record, *, skew_ms: int) -> Question:
    """The question that an intent leaves open.

    Args:
        skew_ms: How far the caller's clock may be ahead of the worker's.

    Raises:
        NotAnIntent: it holds no command, or none that this version of the gateway knows.
    """
    if record.kind != "intent" or record.command is None:
        raise NotAnIntent(f"a {record.kind} without a command")
    protected, body, _, _ = record.command
    hidden = record.bound.get("audit") == "digest"
    try:
        header = CommandHeader.read(protected)
        subject = CommandSubject.parse(record.subject)
        operation = OPERATIONS[subject.operation]
        if hidden:
            arguments: Arguments = NoArguments()
            mutates = record.bound.get("mutates") is True
        else:
            arguments = read_arguments(operation.arguments, _body(body))
            mutates = operation.name not in _UNLEDGERED and (
                operation.mutates or _modifies(arguments)
            )
    except (MallkuError, KeyError, codec.CodecError) as error:
        raise NotAnIntent(f"its command cannot be read: {error}") from None
    return Question(
        subject,
        operation,
        arguments,
        header.id,
        mutates,
        record.time + header.budget if header.is_job else header.exp,
        entry_end_ms(header, header.iat - skew_ms),
        ledger_key(subject.principal, header.idem),
        b"" if hidden else fingerprint(subject, body),
        hidden,
    )


def _body(data: bytes) -> dict[str, Any]:
    values = codec.unpack(data)
    if not isinstance(values, dict):
        raise codec.CodecError("the body is not a map")
    return values


def _modifies(arguments: Arguments) -> bool:
    """Whether a query changes documents, which its text alone tells."""
    return (
        isinstance(arguments, Aql)
        and not arguments.explain
        and analyse(parse(arguments.query)).modifies
    )
