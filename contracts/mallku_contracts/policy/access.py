"""What somebody may do to a collection by queries of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mallku_contracts.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class QueryAccess:
    """A collection as a raw query may use it: what allows it, and what stands in the way.

    A query shows and changes documents where nobody can hold them to document rules, so whoever has
    such rules for a collection is refused, not trusted.

    Attributes:
        reading: The rule that allows `aql` on the collection.
        writing: The rule behind each write operation that is allowed on it.
        read_rules: Rules on single documents that a read would get past, as `rule: key`.
        write_rules: Those that a write would get past.
    """

    database: str
    collection: str
    policy_version: int
    reading: str | None
    writing: Mapping[str, str]
    read_rules: tuple[str, ...]
    write_rules: tuple[str, ...]

    def refuse_read(self) -> None:
        """Raise `PermissionDenied` unless a raw query may read the collection."""
        if self.reading is None:
            raise self._denied("aql", "no rule allows aql on it")
        if self.read_rules:
            raise self._denied("aql", f"a query cannot be held to {', '.join(self.read_rules)}")

    def refuse_write(self, operation: str) -> None:
        """Raise `PermissionDenied` unless a raw query may do what a write operation does."""
        if self.reading is None:
            raise self._denied("aql", "no rule allows aql on it")
        if operation not in self.writing:
            raise self._denied(operation, f"no rule allows {operation} on it")
        if self.write_rules:
            raise self._denied(
                operation, f"a query cannot be held to {', '.join(self.write_rules)}"
            )

    def _denied(self, operation: str, why: str) -> PermissionDenied:
        target = f"{self.database}/{self.collection}"
        missing = {
            "operation": operation,
            "database": self.database,
            "collection": self.collection,
        }
        return PermissionDenied(
            f"a query of your own may not use {target} (policy version {self.policy_version}):"
            f" {why}",
            details={"missing": missing, "policy_version": self.policy_version},
        )
