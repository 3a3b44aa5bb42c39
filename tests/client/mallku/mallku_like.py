"""Models and values in Mallku's style, and the policy of a gateway that Mallku stands behind."""

from __future__ import annotations

from datetime import datetime
from enum import Enum, IntEnum
from itertools import count
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

POLICY = """
version: 1
roles:
  service:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write], grants: [ANONYMOUS_GRAPHS]}
      - {id: shapes, collections: ["*"], operations: [create-collection, create-index]}
      - {id: tidy, collections: ["scratch_*", "*_secured"], operations: [truncate, drop-collection]}
  closed:
    rules:
      - {id: documents, collections: ["*"], operations: [read, write]}
principals:
  mallku: {roles: [service]}
  narrow: {roles: [closed]}
  auditor: {kind: auditor}
  administrator: {kind: administrator}
collections:
  reciprocity_activities_secured: {requires_security: true}
  reciprocity_balances_secured:
    requires_security: true
    models: [Balance]
    schema: {maxProperties: 8}
"""

_numbers = count(1)


def fresh(stem: str) -> str:
    """A collection name that no other test uses."""
    return f"scratch_{stem}_{next(_numbers)}"


class Stored(BaseModel):
    """A secured model as Mallku has them: fields become UUIDs, and come back, by the registry."""

    model_config = ConfigDict(extra="forbid")
    registry: ClassVar[Any] = None

    @classmethod
    def set_registry(cls, registry: Any) -> None:
        """As Mallku's."""
        Stored.registry = registry

    def to_storage_dict(self, registry: Any) -> dict[str, Any]:
        """As Mallku's."""
        fields = self.model_dump()
        return {registry.get_or_create_mapping(name): value for name, value in fields.items()}

    @classmethod
    def from_storage_dict(cls, data: dict[str, Any]) -> Self:
        """As Mallku's."""
        names = {Stored.registry.get_semantic_name(key): value for key, value in data.items()}
        return cls(**names)


class Activity(Stored):
    """A reciprocity activity."""

    interaction_id: str
    kind: str
    weight: float = 1.0
    at: datetime | None = None
    tags: list[str] = []
    details: dict[str, Any] = {}


class Balance(Stored):
    """A reciprocity balance."""

    id: str
    amount: int = 0


class Phase(Enum):
    """An enum of text."""

    WAKING = "waking"


class Level(IntEnum):
    """An enum of numbers."""

    HIGH = 3
