"""What of the trail is not shown to people: fields that the governing policy hides from readers.

Records hold documents as they are, or nothing could be rebuilt from them. Whatever shows them
leaves out what any rule of the policy hides in that collection, whoever the rule is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mallku_contracts.policy import Policy
from mallku_contracts.policy.globs import matches
from mallku_contracts.policy.values import FieldPath

HIDDEN: Final = "<hidden>"
"""Stands where a value is not shown."""

MAX_REMEMBERED_PLACES: Final = 10_000
"""Collections whose hidden fields are kept ready; beyond that it starts over."""

_WORD: Final = re.compile(
    r"""(?P<name>`(?:[^`\\]|\\.)*`|\xb4(?:[^\xb4\\]|\\.)*\xb4)
    |//[^\n]*|/\*.*?(?:\*/|\Z)
    |"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|["'`\xb4].*\Z
    |(?<![\w@.])\d[\w.]*""",
    re.VERBOSE | re.DOTALL,
)
"""Names in ticks, which stay; comments, strings and numbers. A quote in one of them opens none."""

_COLLECTIONS: Final = "@"
"""Begins the names of bind parameters that name collections."""


class Hiding:
    """Hides fields by the `hide` rules of a policy; without one, nothing."""

    def __init__(self, policy: Policy | None) -> None:
        roles = policy.roles.values() if policy else ()
        self._rules = [rule for role in roles for rule in role.rules if rule.hide]
        self._known: dict[tuple[str, str | None], tuple[FieldPath, ...]] = {}

    def paths(self, database: str, collection: str | None) -> tuple[FieldPath, ...]:
        """The fields of a collection that are hidden from somebody; of all, when it is None."""
        place = database, collection
        if place not in self._known:
            if len(self._known) >= MAX_REMEMBERED_PLACES:
                self._known.clear()
            self._known[place] = self._find(database, collection)
        return self._known[place]

    def _find(self, database: str, collection: str | None) -> tuple[FieldPath, ...]:
        found = dict.fromkeys(
            path
            for rule in self._rules
            if matches(rule.databases, database)
            and (collection is None or matches(rule.collections, collection))
            for path in rule.hide
        )
        return tuple(found)

    def veil(self, value: Any, database: str, collection: str | None) -> Any:
        """A value with hidden fields replaced, in every map in it that could be a document."""
        paths = self.paths(database, collection)
        return veiled(value, paths)

    def veil_query(self, text: str, database: str) -> str:
        """A query's text; where something is hidden there, without its literals and comments."""
        if not self.paths(database, None):
            return text
        return _WORD.sub(lambda word: word["name"] or HIDDEN, text)

    def veil_arguments(
        self, arguments: Any, database: str, collection: str | None, operation: str
    ) -> Any:
        """What a command asked, as a record of its intent may be shown."""
        if not isinstance(arguments, dict):
            return arguments
        if operation == "aql":
            return self._veil_aql(arguments, database)
        if operation == "transaction":
            return self.veil(arguments, database, None)
        return self.veil(arguments, database, collection)

    def _veil_aql(self, arguments: dict[str, Any], database: str) -> dict[str, Any]:
        if not self.paths(database, None):
            return arguments
        bound = arguments.get("bind_vars")
        values = bound if isinstance(bound, dict) else {}
        shown = {
            name: value if str(name).startswith(_COLLECTIONS) else HIDDEN
            for name, value in values.items()
        }
        text = self.veil_query(str(arguments.get("query", "")), database)
        return {**arguments, "query": text, "bind_vars": shown}


def is_hidden(path: FieldPath, hidden: tuple[FieldPath, ...]) -> bool:
    """Whether a field lies in a hidden one, or is one."""
    return any(path[: len(each)] == each for each in hidden)


def veiled(value: Any, paths: tuple[FieldPath, ...]) -> Any:
    """The value with these fields replaced, in every map in it, however deep."""
    if not paths:
        return value
    if isinstance(value, list | tuple):
        return [veiled(item, paths) for item in value]
    if not isinstance(value, Mapping):
        return value
    shown: Any = {name: veiled(item, paths) for name, item in value.items()}
    for path in paths:
        shown = _without(shown, path)
    return shown


def _without(value: Any, path: FieldPath) -> Any:
    """Hide one path, also below arrays, and where a dotted name says it."""
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, Mapping):
        return value
    first, rest = path[0], path[1:]
    shown = {
        name: HIDDEN if "." in name and _overlap(tuple(name.split(".")), path) else item
        for name, item in value.items()
    }
    if first in shown:
        shown[first] = _without(shown[first], rest) if rest else HIDDEN
    return shown


def _overlap(one: FieldPath, other: FieldPath) -> bool:
    common = min(len(one), len(other))
    return one[:common] == other[:common]
