"""Step 7, remember: what a mutation claims in the ledger, and what an earlier attempt left there.

The entry itself is written by the store, in the same commit as the effect.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from mallku_contracts.arguments import Outcome, is_dry_run
from mallku_contracts.envelope import CommandHeader, fingerprint
from mallku_contracts.identifiers import is_uuid7
from mallku_contracts.limits import JOB_MEMORY_MS
from mallku_contracts.subjects import CommandSubject
from mallku_workers.request import Request
from mallku_workers.stores.base import Done, LedgerClaim, Store

MADE_KEY_LIFE_MS: Final = 15 * 60 * 1_000
"""How long an entry is kept whose key the client library made (a UUIDv7), milliseconds."""

NAMED_KEY_LIFE_MS: Final = 24 * 3_600 * 1_000
"""How long an entry is kept whose key the caller named, milliseconds."""

MAX_REMEMBERED_OWNERS: Final = 1_024
"""Principals whose half of a ledger key is not worked out again."""

_HALF: Final = 32
"""Hexadecimal digits of either half of a ledger key: 128 bits."""


def ledger_key(principal: str, idempotency_key: str) -> str:
    """Where the ledger keeps this principal's entry: keys of different principals never meet.

    Half of it is the hash of the principal alone, so that an entry shows whose it is.
    """
    return _owner(principal) + hashlib.sha256(idempotency_key.encode()).hexdigest()[:_HALF]


@lru_cache(MAX_REMEMBERED_OWNERS)
def _owner(principal: str) -> str:
    return hashlib.sha256(principal.encode()).hexdigest()[:_HALF]


def entry_life_ms(idempotency_key: str) -> int:
    """How long the entry under a key is kept from the receipt of its command, milliseconds."""
    return MADE_KEY_LIFE_MS if is_uuid7(idempotency_key) else NAMED_KEY_LIFE_MS


def entry_end_ms(header: CommandHeader, received_ms: int) -> int:
    """Until when the entry of a command is kept, Unix milliseconds.

    Of a durable job it is longer than anybody may give the job another try.
    """
    if header.is_job:
        return header.exp + JOB_MEMORY_MS
    return received_ms + entry_life_ms(header.idem)


def make_claim(request: Request, header: CommandHeader, body: bytes) -> LedgerClaim | None:
    """The claim of a mutation; reads and dry runs claim nothing."""
    if not request.mutates or is_dry_run(request.arguments):
        return None
    subject = request.subject
    return LedgerClaim(
        key=ledger_key(subject.principal, header.idem),
        fingerprint=fingerprint(subject, body),
        id=header.id,
        expires_ms=entry_end_ms(header, request.now_ms),
    )


async def remember(store: Store, database: str, claim: LedgerClaim) -> Done | None:
    """What an earlier attempt of the command already did; None when it is not known.

    Raises:
        IdempotencyConflict: the key was used for another command.
    """
    entry = await store.recall(database, claim.key)
    return None if entry is None else entry.answer(claim)


async def outcome(store: Store, subject: CommandSubject, arguments: Outcome) -> Done:
    """What became of one of the principal's own commands, as far as the ledger remembers."""
    if arguments.idempotency_key is not None:
        entry = await store.recall(
            subject.database, ledger_key(subject.principal, arguments.idempotency_key)
        )
    else:
        entry = await store.recall_transmission(
            subject.database, arguments.id or "", _owner(subject.principal)
        )
    if entry is None:
        return Done({"state": "unknown", "id": None, "result": None})
    return Done({"state": "done", "id": entry.id, "result": entry.result})
