"""Revisions as entity tags (RFC 9110, section 8.8): `_rev` between quotes, always strong."""

from __future__ import annotations

import re
from typing import Any, Final

from mallku_contracts.errors import InvalidArguments, RevisionMismatch

ANY: Final = "*"
_TAG: Final = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')


def entity_tag(document: dict[str, Any]) -> dict[str, str]:
    """The header `ETag` of a document or of what a write says of one; none without a revision."""
    revision = document.get("_rev")
    return {"ETag": f'"{revision}"'} if isinstance(revision, str) else {}


def expected_revision(if_match: str | None) -> str | None:
    """The one revision that `If-Match` expects; None where it expects none, or any.

    Raises:
        InvalidArguments: it names several, a weak or an empty one, which never match here.
    """
    if if_match is None or if_match.strip() == ANY:
        return None
    found = _TAG.fullmatch(if_match)
    if found is None or found.group(1) or not found.group(2):  # an empty one would expect nothing
        raise InvalidArguments('If-Match: expected one strong entity tag, "REVISION", or *')
    return found.group(2)


def refuse_other(if_match: str | None, document: dict[str, Any]) -> None:
    """Refuse to show a document in another revision than `If-Match` expects.

    Raises:
        RevisionMismatch
        InvalidArguments: as `expected_revision`.
    """
    expected = expected_revision(if_match)
    if expected is not None and expected != document.get("_rev"):
        raise RevisionMismatch("If-Match: the document is there in another revision")


def is_known(if_none_match: str | None, document: dict[str, Any]) -> bool:
    """Whether the caller has this revision already (RFC 9110: weak comparison)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == ANY:
        return True
    tags = (_TAG.fullmatch(part) for part in if_none_match.split(","))
    return document.get("_rev") in {tag.group(2) for tag in tags if tag is not None}
