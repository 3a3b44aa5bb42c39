"""What a write would touch: done to the end inside a transaction that is then undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mallku_contracts.results import DryRun, FailedPlace
from mallku_workers.stores.base import Done, Effect

MAX_DRY_RUN_DOCUMENTS: Final = 1_000
"""Documents that a dry run names; of more it says only how many, documents."""


def foreseen(result: Any, effects: Sequence[Effect]) -> Done:
    """The answer to a dry run, out of what the write answered and did before it was undone.

    Effects and position are none: nothing was committed.
    """
    named = effects[:MAX_DRY_RUN_DOCUMENTS]
    answer: DryRun = {
        "dry_run": True,
        "count": len(effects),
        "documents": [
            {"_id": f"{each.collection}/{each.key}", "_key": each.key, "_rev": each.old_rev}
            for each in named
        ],
        "more": len(effects) > len(named),
        "errors": _errors(result),
    }
    return Done(answer)


def _errors(result: Any) -> list[FailedPlace]:
    """Of a batch, the documents that would fail."""
    entries = enumerate(result) if isinstance(result, list) else ()
    return [
        {"place": place, "error": entry["error"]}
        for place, entry in entries
        if isinstance(entry, dict) and "error" in entry
    ]
