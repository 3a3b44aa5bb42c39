"""Walking a tree: each node once, in the order of the text, without recursion."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, replace
from functools import cache
from typing import Any, TypeVar, cast

from mallku_contracts.aql.tree import Node

NodeT = TypeVar("NodeT", bound=Node)


@cache
def _names_of(kind: Hashable) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cast("type[Node]", kind)) if each.name != "at")


def _field_names(node: Node) -> tuple[str, ...]:
    return _names_of(cast("Hashable", type(node)))


def children(node: Node) -> list[Node]:
    """The nodes directly below `node`, in the order of its fields."""
    found: list[Node] = []
    for name in _field_names(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(each for each in value if isinstance(each, Node))
    return found


def walk(node: Node) -> Iterator[Node]:
    """`node` and everything below it, parents before their children."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(reversed(children(here)))


def map_children(node: NodeT, change: Callable[[Any], Node]) -> NodeT:
    """`node` with each direct child replaced by `change(child)`; itself when nothing changed."""
    changes: dict[str, Any] = {}
    for name in _field_names(node):
        value = getattr(node, name)
        if isinstance(value, Node):
            new: object = change(value)
        elif isinstance(value, tuple):
            new = _map_each(value, change)
        else:
            continue
        if new is not value:
            changes[name] = new
    return replace(node, **changes) if changes else node


def _map_each(values: tuple[object, ...], change: Callable[[Any], Node]) -> tuple[object, ...]:
    new: list[object] = []
    for each in values:
        new.append(change(each) if isinstance(each, Node) else each)  # noqa: PERF401 - a frame less
    if all(left is right for left, right in zip(values, new, strict=True)):
        return values
    return tuple(new)
