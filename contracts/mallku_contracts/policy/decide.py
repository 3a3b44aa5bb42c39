"""The decision: a grant with the rule that allowed it, or a refusal that says what was missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mallku_contracts.errors import PermissionDenied, ReservedName
from mallku_contracts.operations import Operation, Scope
from mallku_contracts.policy.model import Limits, Policy, Principal, Rule, is_reserved
from mallku_contracts.subjects import NO_COLLECTION, CommandSubject

MAX_REMEMBERED_GRANTS: Final = 10_000
"""Grants one compiled policy keeps in memory; beyond that it starts over."""

_GrantKey = tuple[CommandSubject, frozenset[str], str]


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission: the rule (`role/id`), the policy version it stands in, and the limits."""

    rule: str
    policy_version: int
    limits: Limits


class CompiledPolicy:
    """A policy made ready to answer; immutable, so that one command sees one version."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.version = policy.version
        self._rules = {
            name: [_CompiledRule(f"{name}/{rule.id}", rule) for rule in role.rules]
            for name, role in policy.roles.items()
        }
        self._revoked = frozenset(policy.revoked)
        self._widest = {
            name: self._limits(principal.roles) for name, principal in policy.principals.items()
        }
        self._grants: dict[_GrantKey, Grant] = {}

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

    def is_revoked(self, name: str) -> bool:
        """Whether this principal or key id is refused whatever its token says."""
        return name in self._revoked

    def limits(self, principal: str) -> Limits | None:
        """The widest limits of all roles the principal may have; None when it is unknown."""
        return self._widest.get(principal)

    def _decide(
        self, subject: CommandSubject, operation: Operation, roles: frozenset[str], issuer: str
    ) -> Grant:
        principal = self._known_principal(subject, issuer)
        _refuse_reserved(subject)
        effective = [role for role in principal.roles if role in roles]
        for rule in self._rules_of(effective):
            if rule.allows(subject, operation):
                return Grant(rule.name, self.version, self._limits(effective))
        raise self._missing_rule(subject, effective)

    def _known_principal(self, subject: CommandSubject, issuer: str) -> Principal:
        principal = self.policy.principals.get(subject.principal)
        if principal is None or principal.kind != "caller":
            raise self._denied(f"the policy knows no caller {subject.principal!r}", subject)
        if principal.issuers and issuer not in principal.issuers:
            raise self._denied(
                f"the issuer {issuer!r} does not speak for {subject.principal!r}", subject
            )
        return principal

    def _rules_of(self, roles: Iterable[str]) -> Iterator[_CompiledRule]:
        return (rule for role in roles for rule in self._rules[role])

    def _limits(self, roles: Iterable[str]) -> Limits:
        all_limits = [self.policy.roles[role].limits for role in roles]
        if not all_limits:
            return Limits(rate_per_s=1, burst=1, in_flight=1)
        return Limits(
            rate_per_s=max(limits.rate_per_s for limits in all_limits),
            burst=max(limits.burst for limits in all_limits),
            in_flight=max(limits.in_flight for limits in all_limits),
        )

    def _missing_rule(self, subject: CommandSubject, roles: list[str]) -> PermissionDenied:
        target = f"{subject.operation} on {subject.database}/{subject.collection}"
        held = ", ".join(roles) if roles else "none"
        return self._denied(
            f"no rule allows {subject.principal!r} to {target} (effective roles: {held})", subject
        )

    def _denied(self, message: str, subject: CommandSubject) -> PermissionDenied:
        details = {
            "missing": {
                "operation": subject.operation,
                "database": subject.database,
                "collection": subject.collection,
            },
            "policy_version": self.version,
        }
        return PermissionDenied(message, details=details)


class _CompiledRule:
    """A rule with its globs as patterns and its classes spelled out."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self._operations = rule.allowed
        self._databases = _pattern(rule.databases)
        self._collections = _pattern(rule.collections)

    def allows(self, subject: CommandSubject, operation: Operation) -> bool:
        if operation.name not in self._operations:
            return False
        if not self._databases.fullmatch(subject.database):
            return False
        if operation.scope is Scope.DATABASE:
            return subject.collection == NO_COLLECTION
        if subject.collection == NO_COLLECTION:
            return False
        return self._collections.fullmatch(subject.collection) is not None


def _pattern(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_glob_pattern, globs)))


def _glob_pattern(glob: str) -> str:
    """A glob as a pattern that never goes back over what it matched, however many stars it has."""
    first, *parts = map(re.escape, glob.split("*"))
    if not parts:
        return first
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + ".*" + parts[-1]


def _refuse_reserved(subject: CommandSubject) -> None:
    for what, name in (("database", subject.database), ("collection", subject.collection)):
        if is_reserved(name):
            raise ReservedName(
                f"{what} {name!r}: names that begin with _ or mallku_ belong to the gateway",
                details={"field": what},
            )
