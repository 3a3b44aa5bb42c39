"""Which commands of the trail another policy would decide otherwise: pure, record by record.

Decided is what a worker's step 5 decides of subject, roles and issuer. What the arguments would run
into, document rules or the text of a query, is not decided again; where the rule that allows a
command restricts documents otherwise, that is said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    AuthorizationError,
    InvalidSubject,
    PermissionDenied,
    ReservedName,
)
from mallku_contracts.operations import OPERATIONS, Operation
from mallku_contracts.policy import CompiledPolicy, Policy
from mallku_contracts.subjects import CommandSubject

MAX_CHANGES: Final = 10_000
"""Different changes that are told apart; the rest are counted together."""

COMPOSED: Final = frozenset({"aql", "transaction"})
"""Operations that are decided again in their arguments, which nobody does here."""

Direction = Literal["allowed", "refused", "restricted"]

_BY_POLICY: Final = frozenset({PermissionDenied.code, ReservedName.code})


class Change(NamedTuple):
    """Commands of one principal that the candidate decides otherwise, for the same reason.

    `now` and `then` are the rule that allows, or why none does.
    """

    direction: Direction
    principal: str
    operation: str
    target: str
    now: str
    then: str


@dataclass(slots=True)
class Comparison:
    """What came of a stretch of the trail.

    Attributes:
        decided: Commands that were decided twice.
        composed: Those of them that are made of more than their subject says.
        undecided: Records without the roles or the operation that a decision needs.
        changes: How many commands each change concerns.
        others: Commands whose change was not told apart any more.
    """

    decided: int = 0
    composed: int = 0
    undecided: int = 0
    changes: Counter[Change] = field(default_factory=Counter[Change])
    others: int = 0

    def __bool__(self) -> bool:
        """Whether some command would newly be allowed or refused."""
        return self.others > 0 or any(each.direction != "restricted" for each in self.changes)


def compare(found: Comparison, record: Record, now: CompiledPolicy, then: CompiledPolicy) -> None:
    """Decide the command of a record again, under the policy now and the candidate.

    Commands are counted once: by their intent, or by a refusal of the policy that had none.
    """
    if record.kind != "intent" and not (record.kind == "denied" and record.code in _BY_POLICY):
        return
    asked = _asked(record)
    if asked is None:
        found.undecided += record.count
        return
    found.decided += record.count
    if asked[1].name in COMPOSED:
        found.composed += record.count
    change = _change(record, *asked, now, then)
    if change is None:
        return
    if change in found.changes or len(found.changes) < MAX_CHANGES:
        found.changes[change] += record.count
    else:
        found.others += record.count


def _asked(record: Record) -> tuple[CommandSubject, Operation] | None:
    try:
        subject = CommandSubject.parse(record.subject)
    except InvalidSubject:
        return None
    operation = OPERATIONS.get(subject.operation)
    if operation is None or not record.kid:
        return None
    return subject, operation


def _change(
    record: Record,
    subject: CommandSubject,
    operation: Operation,
    now: CompiledPolicy,
    then: CompiledPolicy,
) -> Change | None:
    before, after = (_decide(record, subject, operation, policy) for policy in (now, then))
    direction: Direction
    if before.allowed != after.allowed:
        direction = "allowed" if after.allowed else "refused"
    elif before.allowed and before.restricts != after.restricts:
        direction = "restricted"
    else:
        return None
    target = f"{subject.database}/{subject.collection}"
    names = (subject.principal, subject.operation, target)
    return Change(direction, *names, before.reason, after.reason)


class _Decision(NamedTuple):
    allowed: bool
    reason: str
    restricts: object = None


def _decide(
    record: Record, subject: CommandSubject, operation: Operation, policy: CompiledPolicy
) -> _Decision:
    try:
        grant = policy.decide(
            subject, operation, roles=frozenset(record.roles), issuer=_issuer(record, policy)
        )
    except AuthorizationError as error:
        return _Decision(False, _why(error, subject, policy.policy))
    return _Decision(True, grant.rule, _restrictions(policy.policy, grant.rule))


def _issuer(record: Record, policy: CompiledPolicy) -> str:
    """Whose token it was; in records that do not say, somebody whom the policy lets speak."""
    principal = policy.policy.principals.get(record.principal)
    named = principal.issuers if principal else ()
    return record.issuer or (named[0] if named else "")


def _why(error: AuthorizationError, subject: CommandSubject, policy: Policy) -> str:
    if isinstance(error, ReservedName):
        return "a reserved name"
    if subject.principal not in policy.principals:
        return "no such principal"
    missing = (error.details or {}).get("missing")
    return "no rule" if missing and "no rule" in error.message else error.message


def _restrictions(policy: Policy, rule: str) -> object:
    """What a rule says about documents, to be compared."""
    role, _, name = rule.partition("/")
    found = next((each for each in policy.roles[role].rules if each.id == name), None)
    return found and found.model_dump(exclude={"id", "databases", "collections", "operations"})
