"""What a signed document says, once its signature held: the body into values, checked."""

from __future__ import annotations

from mallku_contracts.flags import Flags, FlagsError, read_flags
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
    _refuse_other_version(policy.version, document)
    return policy


def read_flags_document(document: Document) -> Flags:
    """The flags in a document; raises as `read_policy_document`."""
    try:
        flags = read_flags(document.text, f"flags {document.version}")
    except FlagsError as error:
        raise DocumentError(str(error)) from None
    _refuse_other_version(flags.version, document)
    return flags


def read_revocations(document: Document) -> RevocationList:
    """The revocation list in a document; `DocumentError` when it is none."""
    try:
        return RevocationList.from_text(document.text)
    except RevocationError as error:
        raise DocumentError(str(error)) from None


def _refuse_other_version(written: int, document: Document) -> None:
    if written != document.version:
        raise DocumentError(
            f"the text says version {written}, what was signed says {document.version}"
        )
