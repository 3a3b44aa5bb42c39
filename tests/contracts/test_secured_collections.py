"""Secured collections: documents travel in the name of a model that the policy lets in."""

from __future__ import annotations

import pytest

from mallku_contracts.arguments import Arguments, read_arguments
from mallku_contracts.errors import InvalidArguments, SecurityViolation
from mallku_contracts.operations import OPERATIONS, Access, Scope
from mallku_contracts.policy.collection import CollectionRules

NAMES_NONE = {"count", "delete", "delete-many", "delete-match", "truncate"}
"""What carries and brings no documents."""

ABOUT_COLLECTIONS = {
    "create-collection",
    "drop-collection",
    "describe-collection",
    "create-index",
    "drop-index",
    "list-indexes",
}
OPEN = CollectionRules()
SECURED = CollectionRules(requires_security=True)
LISTED = CollectionRules(requires_security=True, models=("Balance", "Activity"))


def test_whatever_carries_or_brings_documents_can_name_a_model() -> None:
    """Every operation of collections but those that do neither; a new one has to choose."""
    named = {name for name, known in OPERATIONS.items() if "model" in known.arguments.model_fields}
    of_documents = {
        name
        for name, known in OPERATIONS.items()
        if known.scope is Scope.COLLECTION and name not in ABOUT_COLLECTIONS
    }
    assert named == of_documents - NAMES_NONE
    assert all(OPERATIONS[name].access is not Access.ADMIN for name in named)


@pytest.mark.parametrize("model", [None, "", "anything"])
def test_an_open_collection_asks_for_none(model: str | None) -> None:
    """And lets every name be."""
    OPEN.refuse_direct("c", "insert", model)


def test_a_secured_collection_asks_for_one() -> None:
    """Whichever it is, where the policy lists none."""
    SECURED.refuse_direct("c", "insert", "Anything")
    with pytest.raises(
        SecurityViolation, match="Direct access to insert is not allowed"
    ) as refused:
        SECURED.refuse_direct("c", "insert", None)
    assert refused.value.details == {"collection": "c", "operation": "insert"}
    assert (refused.value.number, refused.value.http_code) == (304, 403)


@pytest.mark.parametrize("model", ["balance", "Balance ", "Other", "Balanc*"])
def test_only_listed_models_are_let_in(model: str) -> None:
    """By their exact names; the refusal lists them."""
    LISTED.refuse_direct("c", "get", "Balance")
    with pytest.raises(SecurityViolation, match="Allowed types: Balance, Activity"):
        LISTED.refuse_direct("c", "get", model)


@pytest.mark.parametrize(
    "kind",
    [known.arguments for known in OPERATIONS.values() if "model" in known.arguments.model_fields],
)
@pytest.mark.parametrize("model", ["", "x" * 65, 1])
def test_a_models_name_is_text_and_short(kind: type[Arguments], model: object) -> None:
    """It is kept in records and shown in refusals."""
    with pytest.raises(InvalidArguments) as refused:
        read_arguments(kind, {"model": model})
    assert "model" in refused.value.details["fields"]
