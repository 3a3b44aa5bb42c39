"""The two things that results of `mallku_client.mallku` cannot do for code written otherwise.

A missing document is None, which cannot be awaited; true and false that can be awaited are not the
objects `True` and `False`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from mallku_deploy.migrating.syntax import Seen, assigned, dotted, last_name, scopes, within

_OBTAINS: Final = frozenset({"get_database"})
_COLLECTIONS: Final = frozenset({"collection", "create_collection"})
_OF_A_DATABASE: Final = frozenset({"has_collection", "delete_collection"})
_OF_A_COLLECTION: Final = frozenset({"has", "exists"})
"""What answers true or false; the latter names are other things' too."""


def awaited_nothing(tree: ast.AST) -> Iterator[Seen]:
    """`await collection.get(…)` where the database came from a plain `get_database()`."""
    kept = _members(tree)
    outer = dict(assigned(tree))
    for scope in scopes(tree):
        known = kept | outer | dict(assigned(scope))
        for node in within(scope):
            call = node.value if isinstance(node, ast.Await) else None
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "get"
                and _is_plain_collection(call.func.value, known)
            ):
                yield node, "MG110", "await ….get()"


def exactly_true(tree: ast.AST) -> Iterator[Seen]:
    """`… is True` and `… is False` of an answer that nobody awaited."""
    for scope in scopes(tree):
        known = dict(assigned(scope))
        for node in within(scope):
            if isinstance(node, ast.Compare) and _compares_exactly(node):
                left = known.get(node.left.id) if isinstance(node.left, ast.Name) else node.left
                if isinstance(left, ast.Call) and _answers_yes_or_no(left):
                    yield node, "MG111", f".{last_name(left.func)}() is …"


def _members(tree: ast.AST) -> dict[str, ast.expr]:
    """What `self.name` is in a file; what is assigned in two ways is left out."""
    found: dict[str, ast.expr] = {}
    twice: set[str] = set()
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute) and isinstance(node, ast.Assign):
                twice |= {dotted(target)} & found.keys()
                found[dotted(target)] = node.value
    return {name: value for name, value in found.items() if name not in twice}


def _is_plain_collection(node: ast.expr, known: dict[str, ast.expr]) -> bool:
    made = known.get(dotted(node), node)
    return (
        isinstance(made, ast.Call)
        and isinstance(made.func, ast.Attribute)
        and made.func.attr in _COLLECTIONS
        and _is_plain_database(made.func.value, known)
    )


def _is_plain_database(node: ast.expr, known: dict[str, ast.expr]) -> bool:
    made = known.get(dotted(node), node)
    return isinstance(made, ast.Call) and last_name(made.func) in _OBTAINS


def _compares_exactly(node: ast.Compare) -> bool:
    (operator, *more), right = node.ops, node.comparators[0]
    exact = isinstance(operator, ast.Is | ast.IsNot) and not more
    return exact and isinstance(right, ast.Constant) and isinstance(right.value, bool)


def _answers_yes_or_no(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    owner, name = call.func.value, call.func.attr
    of_collection = isinstance(owner, ast.Call) and last_name(owner.func) in _COLLECTIONS
    return name in _OF_A_DATABASE or (name in _OF_A_COLLECTION and of_collection)
