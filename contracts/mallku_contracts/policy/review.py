"""What is allowed in a policy but hardly meant, found before anybody relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from mallku_contracts.globs import covers, overlap
from mallku_contracts.operations import OPERATIONS, Access, Scope
from mallku_contracts.policy.condition import All, AnyOf, Condition
from mallku_contracts.policy.contradiction import is_idle, is_impossible
from mallku_contracts.policy.model import NEW_VERSIONS, Policy, Role, Rule
from mallku_contracts.policy.problem import Place
from mallku_contracts.policy.shadow import Shadow, cast_shadows
from mallku_contracts.subjects import NO_COLLECTION

_DOCUMENTS: Final = frozenset(
    name
    for name, operation in OPERATIONS.items()
    if operation.scope is Scope.COLLECTION and operation.access is not Access.ADMIN
)
_WRITES: Final = frozenset(
    name for name, operation in OPERATIONS.items() if operation.access is Access.WRITE
)
_NEEDED: Final = {
    "where": _DOCUMENTS,
    "hide": _DOCUMENTS,
    "set": NEW_VERSIONS,
    "max_affected": _WRITES,
}


class Finding(NamedTuple):
    """Something odd, and where in the document it stands."""

    place: Place
    message: str


def review(policy: Policy) -> list[Finding]:
    """Everything in a valid policy that has no effect, or another one than it seems to."""
    found = [finding for check in _CHECKS for finding in check(policy)]
    return sorted(set(found), key=lambda finding: (tuple(map(str, finding.place)), finding.message))


def _roles(policy: Policy) -> Iterator[Finding]:
    held = {role for entry in policy.principals.values() for role in entry.roles}
    for name, role in policy.roles.items():
        if not role.rules:
            yield Finding(("roles", name), "the role has no rules and allows nothing")
        if name not in held:
            yield Finding(("roles", name), "nobody has this role")


def _principals(policy: Policy) -> Iterator[Finding]:
    for name, entry in policy.principals.items():
        if entry.kind == "caller" and not entry.roles:
            yield Finding(("principals", name), "a caller without roles may do nothing")
        if entry.kind not in {"caller", "door"} and entry.roles:
            place: Place = ("principals", name, "roles")
            yield Finding(place, f"roles mean nothing to an {entry.kind}: only callers use them")
        if entry.kind == "door" and not (entry.roles and entry.acts_for and entry.origins):
            text = "a door without roles, acts_for and origins carries nothing"
            yield Finding(("principals", name), text)


def _rules(policy: Policy) -> Iterator[Finding]:
    for name, role in policy.roles.items():
        for at, rule in enumerate(role.rules):
            place: Place = ("roles", name, "rules", at)
            for finding in (*_globs(rule), *_operations(rule), *_idle_keys(rule), *_where(rule)):
                yield Finding((*place, *finding.place), finding.message)


def _globs(rule: Rule) -> Iterator[Finding]:
    for key, globs in (("databases", rule.databases), ("collections", rule.collections)):
        for at, glob in enumerate(globs):
            if glob == NO_COLLECTION and (key == "databases" or not _has_database_scope(rule)):
                yield Finding((key, at), f"{glob!r} matches nothing that this rule is about")
            for other in _covering(glob, at, globs):
                yield Finding((key, at), f"{glob!r} is covered by {other!r} beside it")


def _has_database_scope(rule: Rule) -> bool:
    return any(OPERATIONS[name].scope is Scope.DATABASE for name in rule.allowed)


def _covering(glob: str, at: int, globs: Sequence[str]) -> Iterator[str]:
    for other_at, other in enumerate(globs):
        equal = covers(glob, other)
        if other_at != at and covers(other, glob) and (not equal or other_at < at):
            yield other
            return


def _operations(rule: Rule) -> Iterator[Finding]:
    for at, name in enumerate(rule.operations):
        operation = OPERATIONS.get(name)
        if operation is not None and operation.access in rule.operations:
            message = f"{name} is part of {operation.access.value} beside it"
            yield Finding(("operations", at), message)


def _idle_keys(rule: Rule) -> Iterator[Finding]:
    for key in rule.restricts:
        if not rule.allowed & _NEEDED[key]:
            yield Finding((key,), f"{key} has no effect on the operations of this rule")


def _where(rule: Rule) -> Iterator[Finding]:
    if rule.where is None:
        return
    if is_idle(rule.where):
        yield Finding(("where",), "every document meets this condition")
    for part in _dead_parts(rule.where):
        fields = ", ".join(sorted(".".join(path) for path in part.fields))
        yield Finding(("where",), f"one of the alternatives can never hold (about {fields})")


def _dead_parts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, AnyOf):
        yield from (part for part in condition.parts if is_impossible(part))
    if isinstance(condition, All | AnyOf):
        for part in condition.parts:
            yield from _dead_parts(part)


def _shadowed(policy: Policy) -> Iterator[Finding]:
    for name, role in policy.roles.items():
        for shadow in cast_shadows(_named(name, role), []):
            place: Place = ("roles", name, "rules", shadow.at)
            if shadow.is_whole:
                message = f"the rule never decides: {shadow.before} before it allows all of it"
                yield Finding(place, message)
            elif shadow.restricts:
                yield Finding(place, _lost(shadow))


def _shadowed_between_roles(policy: Policy) -> Iterator[Finding]:
    for name, entry in policy.principals.items():
        before: list[tuple[str, Rule]] = []
        for role in entry.roles:
            rules = _named(role, policy.roles[role])
            for shadow in cast_shadows(rules, before):
                if shadow.restricts:
                    yield Finding(("principals", name, "roles"), _lost(shadow))
            before += rules


def _every_rule(policy: Policy) -> Iterator[tuple[str, Rule]]:
    return ((name, rule) for name, role in policy.roles.items() for rule in role.rules)


def _named(name: str, role: Role) -> list[tuple[str, Rule]]:
    return [(f"{name}/{rule.id}", rule) for rule in role.rules]


def _lost(shadow: Shadow) -> str:
    return (
        f"{', '.join(shadow.restricts)} of {shadow.rule} does not hold for"
        f" {', '.join(sorted(shadow.documents))}: {shadow.before} allows them before"
    )


def _collections(policy: Policy) -> Iterator[Finding]:
    globs: list[str] = []
    granted = {glob for _, rule in _every_rule(policy) for glob in rule.collections}
    for name, rules in policy.collections.items():
        place: Place = ("collections", name)
        if name == NO_COLLECTION:
            yield Finding(place, "'@' is no collection")
        elif not any(overlap(name, glob) for glob in granted):
            yield Finding(place, "no rule allows anything on a collection that this matches")
        if rules.models and not rules.requires_security:
            message = "models are looked at only where requires_security is true"
            yield Finding((*place, "models"), message)
        wider = [glob for glob in globs if "*" in name and covers(glob, name)]
        if wider:
            yield Finding(place, f"never used: {wider[0]!r} before it matches the same names")
        globs += [name] if "*" in name else []


def _queries(policy: Policy) -> Iterator[Finding]:
    for name, query in policy.queries.items():
        for at, role in enumerate(query.roles):
            if not any("aql" in rule.allowed for rule in policy.roles[role].rules):
                message = f"no rule of {role!r} allows aql, so its callers cannot ask for queries"
                yield Finding(("queries", name, "roles", at), message)


_CHECKS: Final[Iterable[Callable[[Policy], Iterator[Finding]]]] = (
    _roles,
    _principals,
    _rules,
    _shadowed,
    _shadowed_between_roles,
    _collections,
    _queries,
)
