"""What is asked of a syntax tree of Python, whichever rule asks."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Seen = tuple[ast.AST, str, str]
"""A place, the code of a rule, and what was seen there."""


def scopes(tree: ast.AST) -> Iterator[ast.AST]:
    """The module and every function in it."""
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def within(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in a scope itself, not in the functions inside it."""
    pending = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += ast.iter_child_nodes(node)


def assigned(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Plain names with what is assigned to them in a scope itself."""
    for node in within(scope):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """The nodes that are prose."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, kinds))
    return {body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)}


def constant(node: ast.AST) -> str | None:
    """The text of a string literal."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def last_name(node: ast.expr) -> str:
    """`c` of `a.b.c` and of `c`; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it stands there; empty where something else than names is in it."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join((node.id, *reversed(names))) if isinstance(node, ast.Name) else ""
