"""A model that may go into a secured collection: its field names do not stand in the database."""

from pydantic import BaseModel, ConfigDict


class Balance(BaseModel):
    """What somebody owes."""

    model_config = ConfigDict(extra="forbid")

    id: str
    participant: str
    amount: float

    def to_storage_dict(self, registry):
        """The fields under the names that the registry gives them."""
        values = self.model_dump(mode="json")
        return {registry.get_or_create_mapping(name): value for name, value in values.items()}

    @classmethod
    def from_storage_dict(cls, data, registry):
        """The model, from fields under the names that the registry gave them."""
        return cls(**{registry.get_semantic_name(name): value for name, value in data.items()})
