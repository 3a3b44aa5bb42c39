"""What the rule that allowed a command says about single documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mallku_contracts.errors import PermissionDenied
from mallku_contracts.policy.condition import Condition
from mallku_contracts.policy.schema import DocumentSchema
from mallku_contracts.policy.values import Caller, FieldPath, Variable, resolve, varies

MAX_REMEMBERED_CALLERS: Final = 10_000
"""Principals for whom one rule keeps its values put in; beyond that it starts over."""


@dataclass(frozen=True, slots=True)
class DocumentRules:
    """Restrictions on the documents of one command; whoever reads or writes one applies them.

    Attributes:
        rule: The rule they come from, `role/id`.
        where: Must hold for a document that is read or removed, and for the old and the new version
            of one that is changed; None restricts nothing.
        forced: Top-level fields that every new version gets, whatever the caller said.
        hidden: Fields that no result shows and no filter, sort or projection may name.
        max_affected: Documents that one command may change or remove.
        schema: What every new version must be.
        immutable: Documents may be inserted, but never changed or removed.
    """

    rule: str
    where: Condition | None = None
    forced: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[FieldPath, ...] = ()
    max_affected: int | None = None
    schema: DocumentSchema | None = None
    immutable: bool = False

    def conceal(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document without its hidden fields; the argument itself is left as it is.

        A path goes through the objects inside arrays too: `voices.token` hides the token of each.
        """
        shown = dict(document)
        for path in self.hidden:
            shown = _without(shown, path)
        return shown

    def refuse_hidden(self, paths: Iterable[FieldPath | str]) -> None:
        """Refuse a field that is hidden, that lies inside a hidden one, or that holds one.

        Raises:
            PermissionDenied: naming the field as the caller did, and the rule.
        """
        if not self.hidden:
            return
        for path in paths:
            steps = tuple(path.split(".")) if isinstance(path, str) else path
            if any(_overlap(steps, hidden) for hidden in self.hidden):
                name = ".".join(steps)[:512]
                raise PermissionDenied(
                    f"the field {name!r} cannot be filtered, sorted or asked for: {self.rule} hides"
                    " it or something in it",
                    details={"rule": self.rule, "field": name},
                )

    def with_values(self, caller: Caller) -> DocumentRules:
        """The same rules with the caller's values in the place of variables."""
        where = None if self.where is None else self.where.bind(caller)
        return replace(self, where=where, forced=resolve(self.forced, caller))


class DocumentTemplate:
    """Document rules before the caller is known; what does not depend on them is made once."""

    def __init__(self, rules: DocumentRules) -> None:
        self._rules = rules
        conditions = frozenset[Variable]() if rules.where is None else rules.where.variables
        self._variables = conditions | varies(rules.forced)
        self._bound: dict[str, DocumentRules] = {}

    def bind(self, principal: str, now_ms: int) -> DocumentRules:
        """The rules for one command, `now_ms` in Unix milliseconds."""
        if not self._variables:
            return self._rules
        if Variable.NOW in self._variables:
            return self._rules.with_values(Caller(principal, now_ms))
        bound = self._bound.get(principal)
        if bound is None:
            if len(self._bound) >= MAX_REMEMBERED_CALLERS:
                self._bound.clear()
            bound = self._bound[principal] = self._rules.with_values(Caller(principal, now_ms))
        return bound


def _overlap(one: FieldPath, other: FieldPath) -> bool:
    common = min(len(one), len(other))
    return one[:common] == other[:common]


def _without(value: Any, path: FieldPath) -> Any:
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    first, rest = path[0], path[1:]
    if not isinstance(value, Mapping) or first not in value:
        return value
    if rest:
        return {**value, first: _without(value[first], rest)}
    return {name: item for name, item in value.items() if name != first}
