"""Asks a store what became of a command: the ledger under the write lock, between two clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from mallku_contracts.audit import Resolution
from mallku_contracts.errors import DatabaseNotFound
from mallku_contracts.trail.digests import Digests
from mallku_workers.reconciling.decide import DecisionLimits, Evidence, Verdict, decide
from mallku_workers.reconciling.effects import UNNAMED, effects_of
from mallku_workers.reconciling.question import Question
from mallku_workers.reconciling.state import is_as_asked
from mallku_workers.stores.base import LedgerEntry, Store

READ_MS: Final = 5_000
"""How long the store may take to show a document or the catalog, milliseconds."""


@dataclass(frozen=True, slots=True)
class Looking:
    """A store, and when a command cannot have an effect any more; `clock` is Unix milliseconds.

    Attributes:
        digests: Hashes what records must not hold; without it they name no document there.
    """

    store: Store
    limits: DecisionLimits
    clock: Callable[[], int]
    digests: Digests | None = None

    async def look(self, question: Question) -> Verdict | None:
        """What can be said now; None when it is too early.

        Raises:
            MallkuError: the store does not answer.
        """
        database = question.subject.database
        try:
            before = await self.store.clock(database)
            if not question.mutates:
                return decide(question, Evidence(before.now_ms), self.limits)
            entry = await self.store.recall(database, question.key, settled=True)
            after = await self.store.clock(database)
        except DatabaseNotFound:
            # Another worker may serve it; when its ledger has forgotten, nobody will ever know.
            late = self.clock() > question.expires_ms
            return Verdict(Resolution.PENDING, f"no database {database} here", final=late)
        evidence = Evidence(before.now_ms, entry, after.remembers_ms)
        if entry is not None and entry.begun:
            as_asked = await is_as_asked(self.store, question, self._deadline_ms())
            evidence = replace(evidence, as_asked=as_asked)
        return decide(question, evidence, self.limits)

    async def came_of(self, question: Question, entry: LedgerEntry) -> dict[str, Any]:
        """The fields of a record that say what a committed mutation did."""
        database = question.subject.database
        effects = await effects_of(self.store, database, entry, self._deadline_ms())
        if question.hidden:
            effects = (UNNAMED,) if self.digests is None else self.digests.effects(effects)
        # Of an entry that was only begun the number is that of the beginning: early enough for what
        # was made, of which nothing is used before, and too early for what was removed.
        placed = not entry.begun or question.operation.name.startswith("create-")
        return {"effects": effects, "position": entry.position if placed else None}

    def _deadline_ms(self) -> int:
        return self.clock() + READ_MS
