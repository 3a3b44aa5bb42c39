"""From a tree back to text: one line, one way to write each thing.

`parse(to_text(query))` is equal to `query` for every tree that `parse` can give.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from mallku_contracts.aql import precedence, tree
from mallku_contracts.aql.lexer import is_keyword

_NAME: Final = re.compile(r"\$?[a-zA-Z][_a-zA-Z0-9]*|_+[a-zA-Z][_a-zA-Z0-9]*")
_OVERFLOW: Final = "1e999"

_HELD: Final = 99
"""The pull of what is held together by itself: more than any operator has."""

_Operation: TypeAlias = tree.Binary | tree.Quantified | tree.Range | tree.Ternary
_OPERATIONS: Final = (tree.Binary, tree.Quantified, tree.Range, tree.Ternary)
_NEEDS_PARENTHESES: Final = (*_OPERATIONS, tree.Unary, tree.Literal, tree.Expansion)


def to_text(node: tree.Node) -> str:
    """The text of a query, a statement or an expression."""
    return _PRINTERS[type(node)](node)


def name_text(name: str) -> str:
    """A name as it stands in a query: in backticks where it needs them."""
    if _NAME.fullmatch(name) and not is_keyword(name):
        return name
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


# --- expressions ---


def _literal(node: tree.Literal) -> str:
    if node.overflow:
        return _OVERFLOW
    if isinstance(node.value, float) and math.isinf(node.value):
        return _OVERFLOW
    return json.dumps(node.value, ensure_ascii=False)


def _array(node: tree.ArrayLiteral) -> str:
    return f"[{_listed(node.items)}]"


def _object(node: tree.ObjectLiteral) -> str:
    return "{" + _listed(node.members) + "}"


def _member(node: tree.Member) -> str:
    if not isinstance(node.name, str):
        name = to_text(node.name)
        shown = name if isinstance(node.name, tree.BindParameter) else f"[{name}]"
        return f"{shown}: {to_text(node.value)}"
    if node.shorthand:
        return name_text(node.name)
    quoted = name_text(node.name)
    shown = quoted if quoted == node.name else json.dumps(node.name, ensure_ascii=False)
    return f"{shown}: {to_text(node.value)}"


def _named(node: tree.Variable | tree.Collection) -> str:
    return name_text(node.name)


def _bind(node: tree.BindParameter) -> str:
    return f"@{node.name}"


def _collection_bind(node: tree.CollectionBind) -> str:
    return f"@{node.key}"


def _subject(node: tree.Expression) -> str:
    text = to_text(node)
    return f"({text})" if isinstance(node, _NEEDS_PARENTHESES) else text


def _attribute(node: tree.Attribute) -> str:
    name = node.name
    shown = name_text(name) if isinstance(name, str) else to_text(name)
    return f"{_subject(node.subject)}{'?.' if node.optional else '.'}{shown}"


def _index(node: tree.Index) -> str:
    return f"{_subject(node.subject)}{'?.' if node.optional else ''}[{to_text(node.index)}]"


def _unary(node: tree.Unary) -> str:
    text = to_text(node.operand)
    return node.operator + (f"({text})" if isinstance(node.operand, _OPERATIONS) else text)


def _sign(node: _Operation) -> tuple[precedence.Pull, tree.Expression, str, tree.Expression]:
    """An operation's pull, its left side, what stands between, and its right side."""
    if isinstance(node, tree.Range):
        return precedence.BINARY[".."], node.low, "..", node.high
    if isinstance(node, tree.Ternary):
        sign = " ?: " if node.then is None else f" ? {to_text(node.then)} : "
        return precedence.TERNARY, node.condition, sign, node.otherwise
    if isinstance(node, tree.Quantified):
        pull = precedence.quantified(node.quantifier, node.operator)
        count = f" ({to_text(node.count)})" if node.count is not None else ""
        return pull, node.left, f" {node.quantifier}{count} {node.operator} ", node.right
    negated = node.operator == "NOT LIKE"
    pull = precedence.negated("LIKE") if negated else precedence.BINARY[node.operator]
    return pull, node.left, f" {node.operator} ", node.right


def _flat(node: tree.Expression) -> tuple[str, int, int]:
    """The text with no more parentheses than needed, and how weakly its two ends pull.

    The first number is the least `left` of the operators that stand open at its left end, the
    second the least `right` of those at its right end: a neighbour must not pull harder.
    """
    if not isinstance(node, _OPERATIONS):
        return to_text(node), _HELD, _HELD
    pull, low, sign, high = _sign(node)
    left, left_end, inner = _flat(low)
    if inner <= pull.left:
        left, left_end = f"({left})", _HELD
    right, inner, right_end = _flat(high)
    if inner < pull.right:
        right, right_end = f"({right})", _HELD
    return left + sign + right, min(pull.left, left_end), min(pull.right, right_end)


def _operation(node: _Operation) -> str:
    return _flat(node)[0]


def _call(node: tree.Call) -> str:
    name = "::".join(map(name_text, node.name.split("::"))) if node.name != "LIKE" else "LIKE"
    return f"{name}({', '.join(map(_argument, node.arguments))})"


def _argument(node: tree.Expression) -> str:
    """A subquery needs no parentheses of its own there."""
    return _block(node.statements) if isinstance(node, tree.Subquery) else to_text(node)


def _subquery(node: tree.Subquery) -> str:
    return f"({_block(node.statements)})"


def _item(_node: tree.Item) -> str:
    return ""


def _expansion(node: tree.Expansion) -> str:
    inside = "*" * node.levels
    if node.condition is not None:
        inside += f" FILTER {to_text(node.condition)}"
    if node.count is not None:
        offset = f"{to_text(node.offset)}, " if node.offset is not None else ""
        inside += f" LIMIT {offset}{to_text(node.count)}"
    if node.projection is not None:
        inside += f" RETURN {to_text(node.projection)}"
    closes = node.levels > 1 and isinstance(node.subject, tree.Expansion)
    subject = to_text(node.subject) if closes else _subject(node.subject)
    return f"{subject}[{inside}]{to_text(node.tail)}"


def _array_match(node: tree.ArrayMatch) -> str:
    inside = "?"
    if node.quantifier is not None:
        inside += f" {node.quantifier}"
    if node.count is not None:
        count = to_text(node.count)
        inside += f" ({count})" if node.quantifier is not None else f" {count}"
    if node.condition is not None:
        inside += f" FILTER {to_text(node.condition)}"
    return f"{_subject(node.subject)}[{inside}]"


# --- statements ---


def _listed(nodes: tuple[tree.Node, ...]) -> str:
    return ", ".join(map(to_text, nodes))


def _block(statements: tuple[tree.Node, ...]) -> str:
    return " ".join(map(to_text, statements))


def _options(options: tree.ObjectLiteral | None) -> str:
    return f" OPTIONS {to_text(options)}" if options is not None else ""


def _names(*names: str | None) -> str:
    return ", ".join(name_text(name) for name in names if name is not None)


def _for(node: tree.For) -> str:
    return f"FOR {_names(node.variable)} IN {to_text(node.source)}{_options(node.options)}"


def _steps(node: tree.Traversal | tree.Paths) -> str:
    if node.minimum is None:
        return node.direction
    if node.maximum is None:
        return f"{to_text(node.minimum)} {node.direction}"
    return f"{_operation(tree.Range(node.minimum, node.maximum))} {node.direction}"


def _traversal(node: tree.Traversal) -> str:
    text = f"FOR {_names(node.vertex, node.edge, node.path)} IN {_steps(node)}"
    text += f" {to_text(node.start)} {to_text(node.graph)}"
    if node.prune is not None:
        text += f" {to_text(node.prune)}"
    return text + _options(node.options)


def _prune(node: tree.Prune) -> str:
    variable = "" if node.variable is None else f"{name_text(node.variable)} = "
    return f"PRUNE {variable}{to_text(node.condition)}"


def _ends(node: tree.ShortestPath | tree.Paths) -> str:
    ends = f"{to_text(node.start)} TO {to_text(node.target)} {to_text(node.graph)}"
    return ends + _options(node.options)


def _shortest_path(node: tree.ShortestPath) -> str:
    names = _names(node.vertex, node.edge)
    return f"FOR {names} IN {node.direction} SHORTEST_PATH {_ends(node)}"


def _paths(node: tree.Paths) -> str:
    return f"FOR {_names(node.path)} IN {_steps(node)} {node.kind} {_ends(node)}"


def _graph(node: tree.NamedGraph) -> str:
    return f"GRAPH {to_text(node.name)}"


def _edges(node: tree.EdgeCollections) -> str:
    return _listed(node.collections)


def _edge(node: tree.EdgeCollection) -> str:
    direction = f"{node.direction} " if node.direction is not None else ""
    return direction + to_text(node.collection)


def _filter(node: tree.Filter) -> str:
    return f"FILTER {to_text(node.condition)}"


def _sort(node: tree.Sort) -> str:
    return f"SORT {_listed(node.keys)}"


def _sort_key(node: tree.SortKey) -> str:
    if isinstance(node.direction, str):
        return to_text(node.value) + (" DESC" if node.direction == "DESC" else "")
    return f"{to_text(node.value)} {to_text(node.direction)}"


def _limit(node: tree.Limit) -> str:
    offset = f"{to_text(node.offset)}, " if node.offset is not None else ""
    return f"LIMIT {offset}{to_text(node.count)}"


def _let(node: tree.Let) -> str:
    return f"LET {name_text(node.variable)} = {to_text(node.value)}"


def _group(node: tree.Group) -> str:
    return f"{name_text(node.variable)} = {to_text(node.value)}"


def _aggregate(node: tree.Aggregate) -> str:
    return f"{name_text(node.variable)} = {to_text(node.call)}"


def _collect(node: tree.Collect) -> str:
    text = "COLLECT"
    if node.groups:
        text += f" {_listed(node.groups)}"
    if node.aggregates:
        text += f" AGGREGATE {_listed(node.aggregates)}"
    if node.into is not None:
        value = f" = {to_text(node.projection)}" if node.projection is not None else ""
        text += f" INTO {name_text(node.into)}{value}"
    if node.keep is not None:
        text += f" KEEP {_names(*node.keep)}"
    if node.count is not None:
        text += f" WITH COUNT INTO {name_text(node.count)}"
    return text + _options(node.options)


def _window(node: tree.Window) -> str:
    value = f" {to_text(node.value)} WITH" if node.value is not None else ""
    return f"WINDOW{value} {to_text(node.bounds)} AGGREGATE {_listed(node.aggregates)}"


def _return(node: tree.Return) -> str:
    return f"RETURN {'DISTINCT ' if node.distinct else ''}{to_text(node.value)}"


def _target(node: tree.Modification) -> str:
    return f"INTO {to_text(node.collection)}{_options(node.options)}"


def _insert(node: tree.Insert) -> str:
    return f"INSERT {to_text(node.document)} {_target(node)}"


def _remove(node: tree.Remove) -> str:
    return f"REMOVE {to_text(node.key)} {_target(node)}"


def _change(word: str, key: Any, document: tree.Expression, node: tree.Modification) -> str:
    found = f"{to_text(key)} WITH " if key is not None else ""
    return f"{word} {found}{to_text(document)} {_target(node)}"


def _update(node: tree.Update) -> str:
    return _change("UPDATE", node.key, node.patch, node)


def _replace(node: tree.Replace) -> str:
    return _change("REPLACE", node.key, node.document, node)


def _upsert(node: tree.Upsert) -> str:
    word = "REPLACE" if node.replace else "UPDATE"
    text = f"UPSERT {to_text(node.search)} INSERT {to_text(node.insert)}"
    return f"{text} {word} {to_text(node.change)} {_target(node)}"


def _query(node: tree.Query) -> str:
    before = f"WITH {_listed(node.collections)} " if node.collections else ""
    return before + _block(node.statements)


_PRINTERS: Final[dict[type, Callable[[Any], str]]] = {
    tree.Literal: _literal,
    tree.ArrayLiteral: _array,
    tree.ObjectLiteral: _object,
    tree.Member: _member,
    tree.Variable: _named,
    tree.Collection: _named,
    tree.BindParameter: _bind,
    tree.CollectionBind: _collection_bind,
    tree.Attribute: _attribute,
    tree.Index: _index,
    tree.Unary: _unary,
    tree.Binary: _operation,
    tree.Quantified: _operation,
    tree.Range: _operation,
    tree.Ternary: _operation,
    tree.Call: _call,
    tree.Subquery: _subquery,
    tree.Item: _item,
    tree.Expansion: _expansion,
    tree.ArrayMatch: _array_match,
    tree.For: _for,
    tree.Traversal: _traversal,
    tree.ShortestPath: _shortest_path,
    tree.Paths: _paths,
    tree.NamedGraph: _graph,
    tree.EdgeCollections: _edges,
    tree.EdgeCollection: _edge,
    tree.Prune: _prune,
    tree.Filter: _filter,
    tree.Sort: _sort,
    tree.SortKey: _sort_key,
    tree.Limit: _limit,
    tree.Let: _let,
    tree.Collect: _collect,
    tree.Group: _group,
    tree.Aggregate: _aggregate,
    tree.Window: _window,
    tree.Return: _return,
    tree.Insert: _insert,
    tree.Update: _update,
    tree.Replace: _replace,
    tree.Remove: _remove,
    tree.Upsert: _upsert,
    tree.Query: _query,
}
