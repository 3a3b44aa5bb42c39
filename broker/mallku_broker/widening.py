"""Every place where the broker's lock is wider than the worker's, and why: pure.

Never narrower is a promise; wider cannot be avoided, because NATS knows subjects and nothing else.
What is listed here is refused by the worker alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mallku_broker.permissions import Widening, callers_of, principal_permissions
from mallku_contracts.operations import OPERATIONS, Scope
from mallku_contracts.policy import Policy, Principal, Rule
from mallku_contracts.subjects import NO_COLLECTION, PREFIX

_ANY: Final = "*"
_DATABASE: Final = 4
_COLLECTION: Final = 5


def widenings(policy: Policy) -> list[Widening]:
    """What the broker lets through and a worker does not, principal by principal."""
    found: dict[Widening, None] = {}
    for name, principal in sorted(policy.principals.items()):
        found |= dict.fromkeys(principal_permissions(policy, name)[1])
        if principal.kind == "caller":
            found |= dict.fromkeys(_of_caller(policy, name, principal))
        for caller in callers_of(policy, principal):
            others = _of_caller(policy, caller, policy.principals[caller])
            found |= dict.fromkeys(each._replace(principal=name) for each in others)
    return list(found)


def _of_caller(policy: Policy, name: str, principal: Principal) -> Iterator[Widening]:
    everything = f"{PREFIX}.cmd.{name}.>"
    if name in policy.revoked:
        yield Widening(name, everything, "revoked: workers refuse it with a code and a record")
    if principal.issuers:
        yield Widening(name, everything, "NATS does not see who issued the token")
    if len(principal.roles) > 1:
        yield Widening(name, everything, "a token may hold fewer roles than the policy gives")
    for role in principal.roles:
        for rule in policy.roles[role].rules:
            yield from _of_rule(policy, name, f"{role}/{rule.id}", rule)
    yield Widening(
        name, f"{PREFIX}.cur.{name}.*.*.next", "NATS does not see whose cursor is asked for"
    )


def _of_rule(policy: Policy, principal: str, label: str, rule: Rule) -> Iterator[Widening]:
    subjects = list(_subjects(principal, rule))
    for subject in (*subjects, *_of_databases(principal, rule)):
        if _ANY in subject.split(".")[_DATABASE : _COLLECTION + 1]:
            yield Widening(principal, subject, "* matches names that begin with _ or mallku_ too")
    for key in rule.restricts:
        for subject in subjects:
            yield Widening(principal, subject, f"NATS sees no documents: {key} of {label}")
    if "aql" in rule.allowed:
        for database in rule.databases:
            subject = _subject(principal, database, NO_COLLECTION, "aql")
            yield Widening(principal, subject, "NATS sees no query: its collections, its text")
    yield from _of_collections(policy, principal, rule, subjects)


def _of_collections(
    policy: Policy, principal: str, rule: Rule, subjects: list[str]
) -> Iterator[Widening]:
    """Rules of collections hold for writes, whichever rule allowed them."""
    if not any(OPERATIONS[name].mutates for name in rule.allowed):
        return
    for glob, rules in policy.collections.items():
        for key in rules.model_fields_set - {"audit"}:
            for subject in subjects:
                if _may_meet(subject.split(".")[_COLLECTION], glob):
                    yield Widening(principal, subject, f"NATS sees no documents: {key} of {glob}")


def _may_meet(token: str, glob: str) -> bool:
    return token == glob or _ANY in token or _ANY in glob


def _subjects(principal: str, rule: Rule) -> Iterator[str]:
    """The collections of a rule with all of its operations together, `*` where names are globs."""
    if _has(rule, Scope.COLLECTION):
        for database in rule.databases:
            for collection in rule.collections:
                yield _subject(principal, database, collection, _ANY)


def _of_databases(principal: str, rule: Rule) -> Iterator[str]:
    if _has(rule, Scope.DATABASE):
        for database in rule.databases:
            yield _subject(principal, database, NO_COLLECTION, _ANY)


def _has(rule: Rule, scope: Scope) -> bool:
    return any(OPERATIONS[name].scope is scope for name in rule.allowed)


def _subject(principal: str, database: str, collection: str, operation: str) -> str:
    tokens = (_ANY if _ANY in name else name for name in (database, collection))
    return f"{PREFIX}.cmd.{principal}.{'.'.join(tokens)}.{operation}"
