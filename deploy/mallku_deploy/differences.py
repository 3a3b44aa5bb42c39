"""Which commands of the trail another policy would decide otherwise: pure, record by record.

Decided is what a worker's step 5 decides, by its own code: subject, roles and issuer, and of what
the intent holds also the arguments, each step of a transaction, the text of a query. What only the
store knows is not: which collections a graph reaches, and which documents a condition meets; where
the rule that allows a command restricts documents otherwise, that is said.

Records without arguments, refusals and those of collections with `audit: digest`, are decided by
their subject alone, and counted.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple

from mallku_contracts import codec
from mallku_contracts.aql.analysis import analyse
from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    AuthorizationError,
    InvalidSubject,
    MallkuError,
    PermissionDenied,
    ReservedName,
)
from mallku_contracts.keys import PUBLIC_KEY_BYTES, PublicKey
from mallku_contracts.operations import OPERATIONS, Operation
from mallku_contracts.policy import CompiledPolicy, Policy
from mallku_contracts.subjects import CommandSubject
from mallku_contracts.tokens import COMMAND_AUDIENCE, Identity
from mallku_contracts.trail.digests import KEY_BYTES, Digests
from mallku_workers.authorization import Authorizer
from mallku_workers.message import Case, Message
from mallku_workers.queries.authorize import QueryAuthorizer
from mallku_workers.stores.base import QueryCollections, RunnableQuery

MAX_CHANGES: Final = 10_000
"""Different changes that are told apart; the rest are counted together."""

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
        partly: Those of them whose arguments are not known: decided by their subject.
        undecided: Records without the roles or the operation that a decision needs.
        changes: How many commands each change concerns.
        others: Commands whose change was not told apart any more.
    """

    decided: int = 0
    partly: int = 0
    undecided: int = 0
    changes: Counter[Change] = field(default_factory=Counter[Change])
    others: int = 0

    def __bool__(self) -> bool:
        """Whether some command would newly be allowed or refused."""
        return self.others > 0 or any(each.direction != "restricted" for each in self.changes)


async def compare(
    found: Comparison, record: Record, now: CompiledPolicy, then: CompiledPolicy
) -> None:
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
    if asked.body is None:
        found.partly += record.count
    change = await _change(asked, now, then)
    if change is None:
        return
    if change in found.changes or len(found.changes) < MAX_CHANGES:
        found.changes[change] += record.count
    else:
        found.others += record.count


class _Asked(NamedTuple):
    """A command as its record tells it; `body` is None where the record does not hold it."""

    subject: CommandSubject
    operation: Operation
    identity: Identity
    time: int
    body: dict[str, Any] | None


def _asked(record: Record) -> _Asked | None:
    try:
        subject = CommandSubject.parse(record.subject)
    except InvalidSubject:
        return None
    operation = OPERATIONS.get(subject.operation)
    if operation is None or not record.kid:
        return None
    key = PublicKey(record.command[3] if record.command else bytes(PUBLIC_KEY_BYTES))
    roles = frozenset(record.roles)
    identity = Identity(record.issuer, COMMAND_AUDIENCE, record.principal, roles, 0, 0, "", key)
    return _Asked(subject, operation, identity, record.time, _body(record))


def _body(record: Record) -> dict[str, Any] | None:
    """What was asked, where the record holds it."""
    if record.command is None or not record.command[1]:
        return None
    try:
        body = codec.unpack(record.command[1])
    except codec.CodecError:
        return None
    return body if isinstance(body, dict) else None


async def _change(asked: _Asked, now: CompiledPolicy, then: CompiledPolicy) -> Change | None:
    before, after = await _decide(asked, now), await _decide(asked, then)
    direction: Direction
    if before.allowed != after.allowed:
        direction = "allowed" if after.allowed else "refused"
    elif before.allowed and before.restricts != after.restricts:
        direction = "restricted"
    else:
        return None
    subject = asked.subject
    target = f"{subject.database}/{subject.collection}"
    names = (subject.principal, subject.operation, target)
    return Change(direction, *names, before.reason, after.reason)


class _Decision(NamedTuple):
    allowed: bool
    reason: str
    restricts: object = None


async def _decide(asked: _Asked, policy: CompiledPolicy) -> _Decision:
    subject, identity = asked.subject, asked.identity
    issuer = _issuer(identity, policy)
    try:
        grant = policy.decide(subject, asked.operation, roles=identity.roles, issuer=issuer)
    except AuthorizationError as error:
        return _Decision(False, _why(error, subject, policy.policy))
    if asked.body is not None:
        case = Case(Message(str(subject), "", b"", asked.time, 0.0))
        speaking = replace(identity, issuer=issuer)
        try:
            await _AUTHORIZER.authorize(case, policy, subject, speaking, asked.body)
        except MallkuError as error:
            return _Decision(False, f"{grant.rule}: {error.message}")
    return _Decision(True, grant.rule, _restrictions(policy.policy, grant.rule))


async def _named(_database: str, query: RunnableQuery) -> QueryCollections:
    """The collections that stand in a query; a store would tell those of its graphs besides."""
    analysis = analyse(query.tree)
    return QueryCollections(analysis.read_names(query.binds), analysis.write_names(query.binds))


_AUTHORIZER: Final = Authorizer(QueryAuthorizer(_named), Digests(secrets.token_bytes(KEY_BYTES)))
"""As a worker's; the hashes that it could make go nowhere."""


def _issuer(identity: Identity, policy: CompiledPolicy) -> str:
    """Whose token it was; in records that do not say, somebody whom the policy lets speak."""
    principal = policy.policy.principals.get(identity.principal)
    named = principal.issuers if principal else ()
    return identity.issuer or (named[0] if named else "")


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
