"""What holds for the documents of a collection, whoever the caller is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from mallku_contracts.errors import SecurityViolation
from mallku_contracts.policy.closed import Closed, Name, as_json
from mallku_contracts.policy.problem import field_reader
from mallku_contracts.policy.shape import check_schema

AuditDetail = Literal["full", "digest"]
"""What records hold of a collection's documents: all of it, or its hash."""


def _read_schema(value: object) -> dict[str, Any] | None:
    return None if value is None else check_schema(as_json(value))


class CollectionRules(Closed):
    """The rules of one collection, or of all that a glob matches.

    Attributes:
        document_schema: `schema` in the document: JSON Schema that every new version must meet.
        requires_security: Documents are taken in secured form alone, their fields named by UUIDs,
            and whatever carries or brings documents has to name a secured model.
        models: Names of the secured models that are let in; none named lets all of them in.
        immutable: Documents may be inserted, but never changed or removed.
        audit: What the trail holds of new versions.
    """

    document_schema: Annotated[
        dict[str, Any] | None, PlainValidator(field_reader(_read_schema))
    ] = Field(default=None, alias="schema")
    requires_security: bool = False
    models: tuple[Name, ...] = ()
    immutable: bool = False
    audit: AuditDetail = "full"

    def refuse_direct(self, collection: str, operation: str, model: str | None) -> None:
        """Refuse to carry or bring documents of a secured collection without its secured model.

        Raises:
            SecurityViolation: no model is named, or one that is not let in.
        """
        if not self.requires_security:
            return
        details = {"collection": collection, "operation": operation}
        if model is None:
            raise SecurityViolation(
                f"Direct access to {operation} is not allowed. {collection} takes and gives"
                " documents by secured models alone, and the command names none",
                details=details,
            )
        if self.models and model not in self.models:
            raise SecurityViolation(
                f"Model type {model} not allowed in {collection}. Allowed types:"
                f" {', '.join(self.models)}",
                details={**details, "model": model},
            )
