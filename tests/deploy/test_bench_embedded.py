"""The benchmark of the embedded store measures what a worker asks of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from mallku_workers.stores.base import Done, Work
from mallku_workers.stores.embedded import EmbeddedStore
from tests.benchmarks import embedded
from tests.benchmarks.embedded import GROUPED, ROUNDS, Loaded, fill, measure

DOCUMENTS = 100


class Watched:
    """A store that remembers what it was asked."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self.asked: list[Work] = []

    async def execute(self, work: Work) -> Done:
        """As the store does."""
        self.asked.append(work)
        return await self._store.execute(work)


async def test_writes_claim_the_ledger_and_every_figure_has_its_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No write is cheaper than a worker's, and no median is of one round."""
    monkeypatch.setattr(embedded, "CALLS", DOCUMENTS)
    store = EmbeddedStore(tmp_path)
    await store.start()
    try:
        watched = Watched(store)
        ask = Loaded(watched)
        await fill(ask, DOCUMENTS)
        await measure(ask, DOCUMENTS)
    finally:
        await store.stop()
    claims = [work.claim for work in watched.asked if work.operation.mutates]
    assert len({claim.key for claim in claims if claim is not None}) == len(claims)
    assert not any(work.claim for work in watched.asked if not work.operation.mutates)
    asked = Counter(work.operation.name for work in watched.asked)
    assert asked["get"] == asked["insert"] == ROUNDS * DOCUMENTS
    queries = [work.query.arguments.query for work in watched.asked if work.query]
    assert queries.count(GROUPED) == ROUNDS
