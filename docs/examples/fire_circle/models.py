"""What the service keeps."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What an anchor is about."""

    KHIPU = "khipu"
    FIRE_CIRCLE = "fire_circle"


class Anchor(BaseModel):
    """A memory anchor, with every kind of value that Mallku stores."""

    anchor_id: UUID = Field(default_factory=uuid4)
    kind: Kind = Kind.KHIPU
    text: str
    strength: float = 0.5
    cost: Decimal = Decimal("1.50")
    source: Path = Path("notes/first.md")
    tags: set[str] = Field(default_factory=set)
    place: tuple[float, float] = (0.0, 0.0)
    timestamp: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def to_document(self) -> dict:
        """A document with the caller's own key; its values stay what they are."""
        return {"_key": str(self.anchor_id), **self.model_dump()}


class Balance(BaseModel):
    """What somebody owes; field names do not stand in the database."""

    model_config = ConfigDict(extra="forbid")

    id: str
    participant: str
    amount: float

    def to_storage_dict(self, registry) -> dict:
        """The fields under the names that the registry gives them."""
        values = self.model_dump(mode="json")
        return {registry.get_or_create_mapping(name): value for name, value in values.items()}

    @classmethod
    def from_storage_dict(cls, data: dict, registry) -> "Balance":
        """The model, from fields under the names that the registry gave them."""
        return cls(**{registry.get_semantic_name(name): value for name, value in data.items()})
