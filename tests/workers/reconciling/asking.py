"""Questions as intents leave them open."""

from __future__ import annotations

from typing import Any

from mallku_contracts.audit import Record
from mallku_workers.reconciling.decide import DecisionLimits
from mallku_workers.reconciling.question import Question, read_question
from mallku_workers.stores.base import LedgerClaim
from tests.support.simulated_caller import SimulatedCaller, now_ms

SKEW_MS, RUNTIME_MS = 30_000, 60_000
LIMITS = DecisionLimits(SKEW_MS, RUNTIME_MS)
CALLER = SimulatedCaller.of("mallku", "service")
INSERT = {"document": {"_key": "k"}}


def question(operation: str = "insert", arguments: Any = None, **header: Any) -> Question:
    """The question that an intent of this command leaves open."""
    return read_question(intent(operation, arguments, **header), skew_ms=SKEW_MS)


def intent(operation: str = "insert", arguments: Any = None, **header: Any) -> Record:
    """The record of the intent."""
    scope = None if operation in ("aql", "create-graph", "transaction") else "people"
    given = INSERT if arguments is None and operation == "insert" else arguments or {}
    sent = CALLER.seal(operation, given, scope, **header)
    envelope = sent.envelope
    parts = (envelope.protected, envelope.body, envelope.signature, CALLER.key.public.raw)
    return Record(
        kind="intent",
        worker="w",
        number=1,
        time=sent.header.iat,
        id=sent.header.id,
        principal="mallku",
        subject=str(sent.subject),
        command=parts,
    )


def claim_of(of: Question) -> LedgerClaim:
    """The claim with which this command is carried out."""
    return LedgerClaim(of.key, of.fingerprint, of.id, now_ms() + 900_000)
