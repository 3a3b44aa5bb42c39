"""The condition that a record's `where` stands for: the way back from `Condition.to_aql`.

An intent holds a rule's `where` as AQL over `document`, with its bind values. What carries the
command out once more, holds it to the same condition again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mallku_contracts.aql import tree as t
from mallku_contracts.aql.parsing import parse
from mallku_contracts.errors import InvalidQuery
from mallku_contracts.policy.condition import OPERATORS, All, AnyOf, Comparison, Condition
from mallku_contracts.policy.values import FieldPath

_ELEMENT_FIRST: Final[Mapping[str, str]] = {"IN": "has", "NOT IN": "has_not"}
_FIELD_FIRST: Final[Mapping[str, str]] = {
    "==": "==",
    "!=": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "IN": "in",
    "NOT IN": "not_in",
}


def read_recorded(text: str, values: Mapping[str, Any]) -> Condition:
    """The condition with this text and these bind values.

    Raises:
        ValueError: it is none that `to_aql` writes.
    """
    try:
        [statement] = parse(f"RETURN {text}").statements
    except InvalidQuery as error:
        raise ValueError(error.message) from None
    if not isinstance(statement, t.Return):
        raise _strange(text)
    return _condition(statement.value, values)


def _condition(node: t.Node, values: Mapping[str, Any]) -> Condition:
    match node:
        case t.Binary(operator="AND", left=t.Call(name="IS_STRING"), right=t.Call() as call):
            return _begins(call, values)
        case t.Binary(operator="AND" | "OR" as word, left=left, right=right):
            parts = (_condition(left, values), _condition(right, values))
            return All(parts) if word == "AND" else AnyOf(parts)
        case t.Unary(operator="!", operand=operand):
            return _condition(operand, values).opposite()
        case t.Binary(operator=operator, left=t.BindParameter(name=name), right=field):
            return _comparison(field, _ELEMENT_FIRST.get(operator), name, values)
        case t.Binary(operator=operator, left=field, right=t.BindParameter(name=name)):
            return _comparison(field, _FIELD_FIRST.get(operator), name, values)
        case _:
            raise _strange(type(node).__name__)


def _begins(call: t.Call, values: Mapping[str, Any]) -> Condition:
    match call:
        case t.Call(name="STARTS_WITH", arguments=(field, t.BindParameter(name=name))):
            return _comparison(field, "prefix", name, values)
        case _:
            raise _strange(call.name)


def _comparison(
    field: t.Node, operator: str | None, name: str, values: Mapping[str, Any]
) -> Condition:
    if operator is None or operator not in OPERATORS or name not in values:
        raise _strange(f"@{name}")
    return Comparison(_path(field), operator, values[name])


def _path(node: t.Node) -> FieldPath:
    steps: list[str] = []
    while isinstance(node, t.Attribute) and isinstance(node.name, str):
        steps.append(node.name)
        node = node.subject
    if not steps or not isinstance(node, t.Collection | t.Variable) or node.name != "document":
        raise _strange(type(node).__name__)
    return tuple(reversed(steps))


def _strange(what: str) -> ValueError:
    return ValueError(f"not a condition that the gateway records: {what[:80]}")
