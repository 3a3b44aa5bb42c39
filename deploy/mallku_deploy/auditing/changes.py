"""What changed between two versions of a document, field by field: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mallku_contracts.policy.values import FieldPath
from mallku_deploy.auditing.hiding import HIDDEN, is_hidden, veiled

SYSTEM: Final = frozenset({"_key", "_id", "_rev"})
"""Fields that every document has and that say nothing about what changed."""

MAX_DEPTH: Final = 32
"""Maps and lists inside each other that are looked into; what is deeper is compared as a whole."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that was added, removed or changed; positions of lists are decimal steps."""

    what: Literal["added", "removed", "changed"]
    path: FieldPath
    old: Any = None
    new: Any = None


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every difference, in the order of the new version, removed fields last."""
    return list(_maps(_own(old), _own(new), ()))


def conceal(change: Change, hidden: tuple[FieldPath, ...]) -> Change:
    """The change without values of hidden fields: that something changed may be seen."""
    names = tuple(step for step in change.path if not step.isdecimal())
    if is_hidden(names, hidden) or is_hidden(change.path, hidden):
        return replace(change, old=HIDDEN, new=HIDDEN)
    below = tuple(path[len(names) :] for path in hidden if path[: len(names)] == names)
    return replace(change, old=veiled(change.old, below), new=veiled(change.new, below))


def _own(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM}


def _maps(old: Mapping[str, Any], new: Mapping[str, Any], path: FieldPath) -> Iterator[Change]:
    for name, value in new.items():
        if name in old:
            yield from _values(old[name], value, (*path, name))
        else:
            yield Change("added", (*path, name), new=value)
    for name, value in old.items():
        if name not in new:
            yield Change("removed", (*path, name), old=value)


def _lists(old: list[Any], new: list[Any], path: FieldPath) -> Iterator[Change]:
    for place, (before, after) in enumerate(zip(old, new, strict=False)):
        yield from _values(before, after, (*path, str(place)))
    for place, value in enumerate(new[len(old) :], len(old)):
        yield Change("added", (*path, str(place)), new=value)
    for place, value in enumerate(old[len(new) :], len(new)):
        yield Change("removed", (*path, str(place)), old=value)


def _values(old: Any, new: Any, path: FieldPath) -> Iterator[Change]:
    if len(path) <= MAX_DEPTH:
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _maps(old, new, path)
            return
        if isinstance(old, list) and isinstance(new, list):
            yield from _lists(old, new, path)
            return
    if not _same(old, new):
        yield Change("changed", path, old, new)


def _same(old: Any, new: Any) -> bool:
    """Equal as JSON has it: true is not 1, and 1.0 is 1."""
    return old == new and isinstance(old, bool) == isinstance(new, bool)
