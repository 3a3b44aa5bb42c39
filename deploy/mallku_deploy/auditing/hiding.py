"""What of the trail is not shown to people: fields that the governing policy hides from readers.

Records hold documents as they are, or nothing could be rebuilt from them. Whatever shows them
leaves out what any rule of the policy hides in that collection, whoever the rule is for.
"""

from __future__ import annotations

from typing import Any, Final

from mallku_contracts.globs import matches
from mallku_contracts.policy import Policy
from mallku_contracts.policy.values import FieldPath
from mallku_deploy.decoding.veil import HIDDEN, is_hidden, veiled, veiled_query, veiled_text

__all__ = ["HIDDEN", "MAX_REMEMBERED_PLACES", "Hiding", "is_hidden", "veiled"]

MAX_REMEMBERED_PLACES: Final = 10_000
"""Collections whose hidden fields are kept ready; beyond that it starts over."""


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
        return veiled_text(text)

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
        return veiled_query(arguments)
