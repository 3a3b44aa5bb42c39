"""What a signed document says, once its signature held: the body into values, checked."""

from __future__ import annotations

from mallku_contracts.governed import Document, DocumentError
from mallku_contracts.policy import Policy, PolicyError, read_policy
from mallku_contracts.revocation import RevocationError, RevocationList


def read_policy_document(document: Document) -> Policy:
    """The policy in a document.

    Raises:
        DocumentError: it does not validate, or says another version than what was signed.
    """
    try:
        policy = read_policy(document.text, f"policy {document.version}")
    except PolicyError as error:
        raise DocumentError(str(error)) from None
    if policy.version != document.version:
        raise DocumentError(
            f"the text says version {policy.version}, what was signed says {document.version}"
        )
    return policy


def read_revocations(document: Document) -> RevocationList:
    """The revocation list in a document; `DocumentError` when it is none."""
    try:
        return RevocationList.from_text(document.text)
    except RevocationError as error:
        raise DocumentError(str(error)) from None
