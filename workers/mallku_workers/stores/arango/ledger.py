"""Entries of the ledger as documents of `mallku_ledger`, and commit positions.

A document is `{_key, fingerprint, id, expires_ms, expires, result, touched}`: fingerprint in
hexadecimal, `expires` in seconds for the TTL index, `touched` as `stores.base.touched_by` lists it,
null where the list would be too large. One with `begun` stands for an administrative operation that
was begun and not finished, and counts as absent for everybody but the same command.

**Commit positions** are the number in the revision of the ledger entry. Revisions are hybrid
logical clocks of one server (the leader, in a OneShard database), and an entry is written while its
transaction holds the documents it changed: of two commits that touch the same document, the later
one has the greater number. Commits that touch nothing in common may stand either way round, but for
changes of the catalog (`catalog`), beside which no write commits.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any, Final

from mallku_workers.stores.base import Effect, LedgerClaim, LedgerEntry, Touched, touched_by
from mallku_workers.stores.documents import to_text, without_bodies

_DIGITS: Final = {
    digit: value
    for value, digit in enumerate(
        "-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    )
}
_MS_PER_S: Final = 1_000
_UNCLAIMED_BYTES: Final = 16


def position(revision: str) -> int:
    """The number in a revision: 64 of ArangoDB's digits, the highest first."""
    number = 0
    for digit in revision:
        number = number * len(_DIGITS) + _DIGITS[digit]
    return number


def claimed(claim: LedgerClaim | None, now_ms: int) -> LedgerClaim:
    """The claim, or one that nobody will ever make again for a mutation without any.

    Every mutation has an entry, for its position.
    """
    if claim is not None:
        return claim
    return LedgerClaim(f"unclaimed-{secrets.token_hex(_UNCLAIMED_BYTES)}", b"", "", now_ms)


def frame(claim: LedgerClaim) -> dict[str, Any]:
    """An entry without its result."""
    return {
        "_key": claim.key,
        "fingerprint": claim.fingerprint.hex(),
        "id": claim.id,
        "expires_ms": claim.expires_ms,
        "expires": math.ceil(claim.expires_ms / _MS_PER_S),
    }


def entry(
    claim: LedgerClaim, result: Any, body_bytes: int, effects: Sequence[Effect] = ()
) -> dict[str, Any]:
    """A whole entry.

    Args:
        body_bytes: A result that is larger is kept without document bodies; a list of touched
            documents that is larger is not kept.
    """
    kept = result if len(to_text(result)) <= body_bytes else without_bodies(result)
    touched = touched_by(effects)
    fits = len(to_text(touched)) <= body_bytes
    return {**frame(claim), "result": kept, "touched": touched if fits else None}


def opened(document: dict[str, Any]) -> LedgerEntry:
    """The entry that a document of the ledger holds."""
    fingerprint = bytes.fromhex(document["fingerprint"])
    begun = bool(document.get("begun"))
    listed = [] if begun else document.get("touched")
    return LedgerEntry(
        document["_key"],
        fingerprint,
        document["id"],
        document.get("result"),
        position(document["_rev"]),
        None if listed is None else tuple(Touched(*each) for each in listed),
        begun=begun,
    )
