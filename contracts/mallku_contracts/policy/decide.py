"""The decision: a grant with the rule that allowed it, or a refusal that says what was missing.

The rules of the principal's effective roles are asked in the order in which the policy lists roles
and rules; the first that matches decides, and its restrictions hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mallku_contracts.aql.allow import GRANTED_KINDS
from mallku_contracts.errors import AuthorizationError, PermissionDenied, ReservedName
from mallku_contracts.globs import matches
from mallku_contracts.operations import OPERATIONS, Access, Operation, Scope
from mallku_contracts.policy.access import QueryAccess
from mallku_contracts.policy.bound import DocumentRules, DocumentTemplate
from mallku_contracts.policy.closed import is_reserved
from mallku_contracts.policy.collection import AuditDetail
from mallku_contracts.policy.explain import Considered, Explanation
from mallku_contracts.policy.limiting import Limits, widest
from mallku_contracts.policy.model import ANONYMOUS_GRAPHS, WHOLE_COLLECTION, Policy, Principal
from mallku_contracts.policy.query import NamedQuery
from mallku_contracts.policy.ruling import Holding, Holdings, NamedRule, RoleRules, make_template
from mallku_contracts.subjects import NEXT, CommandSubject

MAX_REMEMBERED_GRANTS: Final = 10_000
"""Grants one compiled policy keeps in memory; beyond that it starts over."""

_CHANGING: Final = WHOLE_COLLECTION | {
    name
    for name, operation in OPERATIONS.items()
    if operation.access is Access.WRITE and name.startswith(("update", "replace", "delete"))
}
_ON_COLLECTIONS: Final = [o for o in OPERATIONS.values() if o.scope is Scope.COLLECTION]
ANONYMOUS_KINDS: Final = frozenset(GRANTED_KINDS)
"""The nodes of AQL that `ANONYMOUS_GRAPHS` grants."""

_READING: Final = ("where", "hide")

_GrantKey = tuple[CommandSubject, frozenset[str], str]


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission: the rule (`role/id`), the policy version it stands in, and the limits.

    Attributes:
        audit: Whether records hold the collection's documents or their hashes.
    """

    rule: str
    policy_version: int
    limits: Limits
    audit: AuditDetail = "full"
    documents: DocumentTemplate | None = field(default=None, repr=False, compare=False)

    def bind(self, principal: str, now_ms: int) -> DocumentRules | None:
        """What holds for the documents of this command; None when nothing restricts them.

        `now_ms` is the time of authorization, Unix milliseconds.
        """
        return None if self.documents is None else self.documents.bind(principal, now_ms)


class CompiledPolicy:
    """A policy made ready to answer; immutable, so that one command sees one version."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.version = policy.version
        self._rules = {name: RoleRules(name, role) for name, role in policy.roles.items()}
        self._holdings = Holdings(policy)
        self._queries = {query.digest: query for query in policy.queries.values()}
        self._revoked = frozenset(policy.revoked)
        self._grants: dict[_GrantKey, Grant] = {}
        self._combined: dict[tuple[str, ...], Limits] = {}
        self._widest = {
            name: self._limits(principal.roles) for name, principal in policy.principals.items()
        }

    def decide(
        self, subject: CommandSubject, operation: Operation, *, roles: frozenset[str], issuer: str
    ) -> Grant:
        """Grant what a rule allows to the principal in the roles that token and policy share.

        Raises:
            ReservedName: for the gateway's own names.
            PermissionDenied: naming the rule that was missing.
        """
        if operation.name != subject.operation:
            raise self._denied(f"{operation.name!r} is not what the subject names", subject)
        key = (subject, roles, issuer)
        grant = self._grants.get(key)
        if grant is None:
            grant = self._decide(subject, operation, roles, issuer)
            if len(self._grants) >= MAX_REMEMBERED_GRANTS:
                self._grants.clear()
            self._grants[key] = grant
        return grant

    def refuse_door(self, door: str, issuer: str, subject: CommandSubject, origin: str) -> None:
        """Refuse a door that may not carry commands of the subject's principal from `origin`.

        Raises:
            PermissionDenied
        """
        entry = self.policy.principals.get(door)
        if entry is None or entry.kind != "door":
            raise self._denied(f"the policy knows no door {door!r}", subject)
        if entry.issuers and issuer not in entry.issuers:
            raise self._denied(f"the issuer {issuer!r} does not speak for {door!r}", subject)
        if not entry.acts_for or not matches(entry.acts_for, subject.principal):
            raise self._denied(f"{door!r} does not act for {subject.principal!r}", subject)
        if entry.origins.get(origin) != subject.database:
            raise self._denied(
                f"{door!r} is not at {origin[:80]!r} with {subject.database!r} behind it", subject
            )

    def refuse_beyond_door(
        self, door: str, roles: frozenset[str], subject: CommandSubject, operation: Operation
    ) -> None:
        """Refuse what a door may not carry, whoever asks for it.

        Raises:
            PermissionDenied
        """
        effective = self._effective(door, roles)
        asked = (operation, OPERATIONS["aql"]) if operation.name == NEXT else (operation,)
        for wanted in asked:
            for role in effective:
                if self._rules[role].first(subject.database, subject.collection, wanted):
                    return
        target = f"{subject.operation} on {subject.database}/{subject.collection}"
        raise self._denied(f"no rule lets the door {door!r} carry {target}", subject)

    def explain(
        self, subject: CommandSubject, operation: Operation, *, roles: frozenset[str], issuer: str
    ) -> Explanation:
        """What `decide` says, with every rule that was looked at and what kept it from allowing."""
        granted, refusal = None, None
        try:
            granted = self.decide(subject, operation, roles=roles, issuer=issuer).rule
        except AuthorizationError as error:
            refusal = error.message
        considered: list[Considered] = []
        restricted: tuple[str, ...] = ()
        for named in self._rules_of(self._effective(subject.principal, roles)):
            why_not = named.why_not(subject.database, subject.collection, operation)
            considered.append(Considered(named.name, why_not))
            if why_not is None:
                if granted is not None:
                    restricted = self._restrictions(named, subject.collection)
                break
        return Explanation(granted, self.version, restricted, refusal, tuple(considered))

    def is_revoked(self, name: str) -> bool:
        """Whether this principal or key id is refused whatever its token says."""
        return name in self._revoked

    def limits(self, principal: str) -> Limits | None:
        """The widest limits of all roles the principal may have; None when it is unknown."""
        return self._widest.get(principal)

    def mentions(
        self, principal: str, database: str, collection: str, *, roles: frozenset[str]
    ) -> bool:
        """Whether the principal may do anything with a collection, and so may know its name."""
        if is_reserved(collection):
            return False
        effective = self._effective(principal, roles)
        return any(self._rules[role].mentions(database, collection) for role in effective)

    def holding(self, collection: str) -> Holding:
        """What the policy says about the documents of a collection, whoever the caller is."""
        return self._holdings.of(collection)

    def query(self, name: str, *, principal: str, roles: frozenset[str]) -> NamedQuery:
        """An approved query, by its name or by the SHA-256 of its text (hexadecimal).

        Raises:
            PermissionDenied: there is none, or none for the principal's effective roles.
        """
        query = self.policy.queries.get(name) or self._queries.get(name)
        effective = self._effective(principal, roles)
        if query is None or not set(query.roles).intersection(effective):
            raise PermissionDenied(
                f"no query {name[:64]!r} is approved for {principal!r} (effective roles:"
                f" {_listed(effective)}; policy version {self.version})",
                details={"missing": {"query": name[:64]}, "policy_version": self.version},
            )
        return query

    def query_parts(
        self, principal: str, database: str, *, roles: frozenset[str]
    ) -> frozenset[str] | None:
        """The parts of AQL granted by name to queries of the principal's own; None: no queries."""
        names = (self._rules[role] for role in self._effective(principal, roles))
        found = [rule for role in names for rule in role.querying(database)]
        if not found:
            return None
        granted = frozenset(part for rule in found for part in rule.grants)
        return granted | ANONYMOUS_KINDS if ANONYMOUS_GRAPHS in granted else granted

    def query_access(
        self, principal: str, database: str, collection: str, *, roles: frozenset[str]
    ) -> QueryAccess:
        """What raw queries of the principal may do to a collection.

        Raises:
            ReservedName: for the gateway's own names.
        """
        _refuse_reserved(database, collection, self.version)
        effective = self._effective(principal, roles)
        found = {
            operation.name: named
            for operation in _ON_COLLECTIONS
            if (named := self._first_on(effective, database, collection, operation)) is not None
        }
        aql = self._first_on(effective, database, collection, OPERATIONS["aql"])
        deciding = [*found.values(), *([] if aql is None else [aql])]
        rules = list({named.name: named for named in deciding}.values())
        return QueryAccess(
            database=database,
            collection=collection,
            policy_version=self.version,
            reading=None if aql is None else aql.name,
            writing={name: rule.name for name, rule in found.items() if OPERATIONS[name].mutates},
            read_rules=_document_rules(rules, _READING),
            write_rules=self._write_rules(rules, collection),
        )

    def _decide(
        self, subject: CommandSubject, operation: Operation, roles: frozenset[str], issuer: str
    ) -> Grant:
        self._refuse_unknown(subject, issuer)
        _refuse_reserved(subject.database, subject.collection, self.version)
        effective = self._effective(subject.principal, roles)
        # Whoever may ask a query may have the rest of its rows.
        asked = (operation, OPERATIONS["aql"]) if operation.name == NEXT else (operation,)
        for wanted in asked:
            for role in effective:
                named = self._rules[role].first(subject.database, subject.collection, wanted)
                if named is not None:
                    return self._grant(named, subject, operation, effective)
        raise self._missing_rule(subject, effective)

    def _grant(
        self,
        named: NamedRule,
        subject: CommandSubject,
        operation: Operation,
        roles: tuple[str, ...],
    ) -> Grant:
        holding = self._holdings.of(subject.collection)
        if holding.rules.immutable and operation.name in _CHANGING:
            raise self._denied(
                f"{subject.collection!r} is immutable: documents are inserted and stay as they are",
                subject,
                immutable=True,
            )
        documents = make_template(named, holding, operation)
        return Grant(named.name, self.version, self._limits(roles), holding.rules.audit, documents)

    def _refuse_unknown(self, subject: CommandSubject, issuer: str) -> None:
        principal: Principal | None = self.policy.principals.get(subject.principal)
        if principal is None or principal.kind != "caller":
            raise self._denied(f"the policy knows no caller {subject.principal!r}", subject)
        if principal.issuers and issuer not in principal.issuers:
            raise self._denied(
                f"the issuer {issuer!r} does not speak for {subject.principal!r}", subject
            )

    def _effective(self, principal: str, roles: frozenset[str]) -> tuple[str, ...]:
        """The roles that token and policy share, in the order of the policy."""
        entry = self.policy.principals.get(principal)
        return () if entry is None else tuple(role for role in entry.roles if role in roles)

    def _rules_of(self, roles: Sequence[str]) -> list[NamedRule]:
        return [named for role in roles for named in self._rules[role].rules]

    def _first_on(
        self, roles: Sequence[str], database: str, collection: str, operation: Operation
    ) -> NamedRule | None:
        found = (self._rules[role].first_on(database, collection, operation) for role in roles)
        return next((named for named in found if named is not None), None)

    def _restrictions(self, named: NamedRule, collection: str) -> tuple[str, ...]:
        return (*named.rule.restricts, *self._holdings.of(collection).restricts)

    def _write_rules(self, rules: Sequence[NamedRule], collection: str) -> tuple[str, ...]:
        holding = self._holdings.of(collection)
        own = (f"{holding.name}: {key}" for key in holding.restricts)
        return (*_document_rules(rules), *own)

    def _limits(self, roles: tuple[str, ...]) -> Limits:
        limits = self._combined.get(roles)
        if limits is None:
            if len(self._combined) >= MAX_REMEMBERED_GRANTS:
                self._combined.clear()
            limits = widest([self.policy.roles[role].limits for role in roles])
            self._combined[roles] = limits
        return limits

    def _missing_rule(self, subject: CommandSubject, roles: Sequence[str]) -> PermissionDenied:
        target = f"{subject.operation} on {subject.database}/{subject.collection}"
        return self._denied(
            f"no rule allows {subject.principal!r} to {target} (effective roles: {_listed(roles)})",
            subject,
        )

    def _denied(self, message: str, subject: CommandSubject, **more: Any) -> PermissionDenied:
        details = {
            "missing": {
                "operation": subject.operation,
                "database": subject.database,
                "collection": subject.collection,
            },
            "policy_version": self.version,
            **more,
        }
        return PermissionDenied(message, details=details)


def _document_rules(rules: Sequence[NamedRule], keys: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(
        f"{named.name}: {key}"
        for named in rules
        for key in named.rule.restricts
        if not keys or key in keys
    )


def _listed(roles: Sequence[str]) -> str:
    return ", ".join(roles) if roles else "none"


def _refuse_reserved(database: str, collection: str, version: int) -> None:
    for what, name in (("database", database), ("collection", collection)):
        if is_reserved(name):
            raise ReservedName(
                f"{what} {name!r}: names that begin with _ or mallku_ belong to the gateway",
                details={"field": what, "policy_version": version},
            )
