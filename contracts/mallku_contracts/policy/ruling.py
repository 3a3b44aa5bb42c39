"""The rules of a policy made ready to be asked, one role at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from mallku_contracts.globs import FirstMatch, any_of, matches
from mallku_contracts.operations import OPERATIONS, Operation, Scope
from mallku_contracts.policy.bound import DocumentRules, DocumentTemplate
from mallku_contracts.policy.collection import CollectionRules
from mallku_contracts.policy.model import Policy, Role, Rule
from mallku_contracts.policy.schema import DocumentSchema
from mallku_contracts.subjects import NO_COLLECTION

_ON_COLLECTIONS = {"aql"} | {o.name for o in OPERATIONS.values() if o.scope is Scope.COLLECTION}


class NamedRule(NamedTuple):
    """A rule and what it is called in grants and refusals, `role/id`."""

    name: str
    rule: Rule

    def why_not(self, database: str, collection: str, operation: Operation) -> str | None:
        """What keeps this rule from allowing a command, None when nothing does."""
        if operation.name not in self.rule.allowed:
            return f"allows {', '.join(self.rule.operations)}, not {operation.name}"
        if not matches(self.rule.databases, database):
            return f"is about databases {', '.join(self.rule.databases)}"
        if (operation.scope is Scope.DATABASE) != (collection == NO_COLLECTION):
            return f"{operation.name} is about the {operation.scope.value} as a whole"
        if operation.scope is Scope.COLLECTION and not matches(self.rule.collections, collection):
            return f"is about collections {', '.join(self.rule.collections)}"
        return None


_Matcher = FirstMatch[NamedRule]


class RoleRules:
    """One role's rules by operation: the first that matches decides."""

    def __init__(self, name: str, role: Role) -> None:
        self.rules = tuple(NamedRule(f"{name}/{rule.id}", rule) for rule in role.rules)
        self._places, self._databases = self._by_operation()
        self._mentioned = _places([r for r in self.rules if r.rule.allowed & _ON_COLLECTIONS])

    def _by_operation(self) -> tuple[dict[str, _Matcher], dict[str, _Matcher]]:
        made: dict[tuple[str, ...], tuple[_Matcher, _Matcher]] = {}
        allowed = [(rule, rule.rule.allowed) for rule in self.rules]
        places: dict[str, _Matcher] = {}
        databases: dict[str, _Matcher] = {}
        for operation in OPERATIONS:
            rules = [rule for rule, names in allowed if operation in names]
            key = tuple(rule.name for rule in rules)
            if key not in made:
                made[key] = (_places(rules), _databases(rules))
            places[operation], databases[operation] = made[key]
        return places, databases

    def first(self, database: str, collection: str, operation: Operation) -> NamedRule | None:
        """The rule that allows a command."""
        if operation.scope is Scope.DATABASE:
            if collection != NO_COLLECTION:
                return None
            return self._databases[operation.name].find(database)
        return self.first_on(database, collection, operation)

    def first_on(self, database: str, collection: str, operation: Operation) -> NamedRule | None:
        """The rule that allows an operation on a collection, also one of the database at large."""
        if collection == NO_COLLECTION:
            return None
        return self._places[operation.name].find(f"{collection}/{database}")

    def querying(self, database: str) -> Iterator[Rule]:
        """The rules that allow queries of one's own, over some collection of a database."""
        for named in self.rules:
            rule = named.rule
            over_some = any(glob != NO_COLLECTION for glob in rule.collections)
            if "aql" in rule.allowed and over_some and matches(rule.databases, database):
                yield rule

    def mentions(self, database: str, collection: str) -> bool:
        """Whether some rule lets its holder do something with the collection."""
        return self._mentioned.find(f"{collection}/{database}") is not None


def _places(rules: Iterable[NamedRule]) -> _Matcher:
    return FirstMatch(
        [(f"{any_of(r.rule.collections)}/{any_of(r.rule.databases)}", r) for r in rules]
    )


def _databases(rules: Iterable[NamedRule]) -> _Matcher:
    return FirstMatch([(any_of(rule.rule.databases), rule) for rule in rules])


class Holding(NamedTuple):
    """What holds for a collection, its schema made ready."""

    name: str
    rules: CollectionRules
    schema: DocumentSchema | None

    @property
    def restricts(self) -> tuple[str, ...]:
        """The keys by which it restricts what may be written."""
        given = {
            "schema": self.rules.document_schema is not None,
            "requires_security": self.rules.requires_security,
            "immutable": self.rules.immutable,
        }
        return tuple(name for name, is_given in given.items() if is_given)


NOTHING_HOLDS = Holding("", CollectionRules(), None)


class Holdings:
    """The rules of collections: a collection's own, else those of the first glob that matches."""

    def __init__(self, policy: Policy) -> None:
        plain = frozenset(
            name for role in policy.roles.values() for rule in role.rules for name in rule.set
        )
        made = [
            Holding(name, rules, _schema(rules, plain))
            for name, rules in policy.collections.items()
        ]
        self._named: Mapping[str, Holding] = {holding.name: holding for holding in made}
        globs = [holding for holding in made if "*" in holding.name]
        self._globs = FirstMatch([(any_of([holding.name]), holding) for holding in globs])

    def of(self, collection: str) -> Holding:
        """What holds for the documents of one collection."""
        if collection == NO_COLLECTION:
            return NOTHING_HOLDS
        return self._named.get(collection) or self._globs.find(collection) or NOTHING_HOLDS


def _schema(rules: CollectionRules, plain: frozenset[str]) -> DocumentSchema | None:
    if rules.document_schema is None and not rules.requires_security:
        return None
    return DocumentSchema(rules.document_schema, plain if rules.requires_security else None)


def make_template(
    named: NamedRule, holding: Holding, operation: Operation
) -> DocumentTemplate | None:
    """What a rule and the collection say about documents; None when they say nothing.

    An operation of the database as a whole has no document in its hands; what it does to
    collections is decided for each of them.
    """
    rule = named.rule
    if operation.scope is Scope.DATABASE:
        if rule.max_affected is None:
            return None
        return DocumentTemplate(DocumentRules(named.name, max_affected=rule.max_affected))
    if not rule.restricts and not holding.restricts:
        return None
    rules = DocumentRules(
        rule=named.name,
        where=rule.where,
        forced=rule.set,
        hidden=rule.hide,
        max_affected=rule.max_affected,
        schema=holding.schema,
        immutable=holding.rules.immutable,
    )
    return DocumentTemplate(rules)
