"""Promise 6, no open ends: what became of intents whose worker did not live to say it."""

from __future__ import annotations

from mallku_workers.reconciling.decide import DecisionLimits
from mallku_workers.reconciling.keeping import CountedTurns, Schedule, keep_reconciled
from mallku_workers.reconciling.looking import Looking
from mallku_workers.reconciling.reconciler import Reconciler, ReconcilerLimits, Report

__all__ = [
    "CountedTurns",
    "DecisionLimits",
    "Looking",
    "Reconciler",
    "ReconcilerLimits",
    "Report",
    "Schedule",
    "keep_reconciled",
]
