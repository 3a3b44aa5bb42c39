"""A query of the embedded store sees one state: documents and catalog of the same snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mallku_contracts.errors import CollectionNotFound
from mallku_workers.stores.base import runnable
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.embedded.queries import Queries, _Reading
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from mallku_workers.stores.embedded.store import wall_clock_ms
from tests.stores.asking import make_query
from tests.stores.calling import PATIENCE_MS, Caller, now_ms


async def test_a_catalog_that_another_query_read_is_not_this_ones(tmp_path: Path) -> None:
    """Between its snapshot and its first row a collection is made, and read by somebody else.

    For the older snapshot there is no such collection; with the newer catalog it would look for a
    table that it does not have.
    """
    store = EmbeddedStore(tmp_path / "store")
    await store.start()
    queries = Queries(
        "mallku", tmp_path / "store" / "mallku.sqlite", EmbeddedSettings(), wall_clock_ms
    )
    older, newer = (_Reading(now_ms() + PATIENCE_MS) for _ in range(2))
    work = replace(make_query("FOR d IN later RETURN d"), deadline_ms=now_ms() + PATIENCE_MS)
    try:
        await queries.in_thread(older, int)
        await Caller(store, "later")("create-collection")
        _, answer = await queries.in_thread(newer, queries._first, newer, work, runnable(work))
        assert answer["result"] == []
        with pytest.raises(CollectionNotFound):
            await queries.in_thread(older, queries._first, older, work, runnable(work))
    finally:
        await queries.close(older)
        await queries.close(newer)
        await queries.stop()
        await store.stop()
