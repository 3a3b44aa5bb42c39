"""Which collections are secured, and which models they let in, as the client sees it.

The worker's policy holds the same rules and has the last word; what is refused here is refused
before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from mallku_contracts.errors import SecurityViolation

KEY_FIELDS: Final = ("id", "interaction_id", "episode_id", "cluster_id", "consolidation_id")
"""Where a secured model's key is looked for, in this order."""


@runtime_checkable
class SecuredModel(Protocol):
    """Anything that can turn itself into a document whose fields are named by UUIDs."""

    def to_storage_dict(self, registry: Any) -> dict[str, Any]:
        """The document, its fields named by the UUIDs that `registry` has for them."""
        ...


class CollectionSecurityPolicy:
    """What one collection takes.

    Args:
        allowed_model_types: Classes, or names of classes, that are let in.
        requires_security: Take secured models alone, and refuse every direct operation.
        schema_validation: JSON Schema of its documents; the worker's policy checks documents.

    Raises:
        SecurityViolation: the collection has no name.
    """

    def __init__(
        self,
        collection_name: str,
        allowed_model_types: Sequence[type | str] = (),
        requires_security: bool = True,
        schema_validation: Mapping[str, Any] | None = None,
    ) -> None:
        if not collection_name:
            raise SecurityViolation("A security policy needs the name of its collection")
        self.collection_name = collection_name
        self.allowed_model_types = list(allowed_model_types)
        self.requires_security = requires_security
        self.schema_validation = dict(schema_validation or {})

    def __repr__(self) -> str:
        secured = "secured" if self.requires_security else "open"
        return f"<{type(self).__name__} {self.collection_name} {secured}>"

    def validate_model(self, model: Any) -> None:
        """Refuse what is no secured model, or one that is not let in.

        Raises:
            SecurityViolation
        """
        if not self.requires_security:
            return
        if isinstance(model, type) or not isinstance(model, SecuredModel):
            raise SecurityViolation(
                f"Collection {self.collection_name} requires SecuredModel instances. "
                f"Got {type(model).__name__}. Use secured models for data protection."
            )
        self.validate_type(type(model))

    def validate_type(self, kind: type) -> None:
        """Refuse a model's class that is not let in; raises as `validate_model`."""
        if not self.requires_security or any(_is(kind, each) for each in self.allowed_model_types):
            return
        allowed = _names(self.allowed_model_types)
        raise SecurityViolation(
            f"Model type {kind.__name__} not allowed in {self.collection_name}. "
            f"Allowed types: {allowed}"
        )


def name_of(policy: CollectionSecurityPolicy, kind: type) -> str:
    """By which name the worker is told of a model: of the class that the policy lets in."""
    allowed = set(_names(policy.allowed_model_types))
    return next((each.__name__ for each in kind.__mro__ if each.__name__ in allowed), kind.__name__)


def _names(allowed: Sequence[type | str]) -> list[str]:
    return [each if isinstance(each, str) else each.__name__ for each in allowed]


def _is(kind: type, allowed: type | str) -> bool:
    if isinstance(allowed, str):
        return any(each.__name__ == allowed for each in kind.__mro__)
    return issubclass(kind, allowed)


def key_of(model: Any) -> str | None:
    """The key that a secured model brings along, None where one has to be made."""
    for name in KEY_FIELDS:
        value = getattr(model, name, None)
        if value is not None and not callable(value):
            return str(value)
    return None


_WITH_KEY: Final = {
    "type": "object",
    "properties": {"_key": {"type": "string"}},
    "required": ["_key"],
    "additionalProperties": True,
}


def default_policies() -> list[CollectionSecurityPolicy]:
    """What `initialize` registers: both of reciprocity's collections secured, anchors open."""
    secured = ("reciprocity_activities_secured", "reciprocity_balances_secured")
    return [
        *(
            CollectionSecurityPolicy(name, [SecuredModel], schema_validation=_WITH_KEY)
            for name in secured
        ),
        CollectionSecurityPolicy(
            "memory_anchors", [], requires_security=False, schema_validation=_WITH_KEY
        ),
    ]
