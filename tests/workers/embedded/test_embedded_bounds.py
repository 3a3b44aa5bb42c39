"""What a write keeps of the documents that it changes is bounded, however many these are."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mallku_contracts.errors import ResultTooLarge
from mallku_contracts.limits import MIB
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from tests.stores.asking import Asker
from tests.stores.calling import Caller

pytestmark = pytest.mark.timeout(180)

SIZE = MIB
COUNT = 24
MOST = EmbeddedSettings().max_match_bytes
MAX_GROWTH = 12 * MIB
"""Far less than all of the documents take, with room for a few at a time."""


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[Caller]:
    """A collection of large documents, together beyond what a work by filters keeps."""
    assert COUNT * SIZE > MOST
    store = EmbeddedStore(tmp_path / "store")
    await store.start()
    people = Caller(store)
    await people("create-collection")
    for n in range(COUNT):
        await people("insert", document={"_key": f"k{n:02}", "text": "x" * SIZE}, silent=True)
    yield people
    await store.stop()


async def test_matches_that_are_too_large_together_are_refused(people: Caller) -> None:
    """With the write lock held nobody gathers gigabytes; with a limit it is done."""
    for operation in ("update-match", "replace-match"):
        for dry_run in (True, False):
            with pytest.raises(ResultTooLarge, match=f"{MOST} bytes; set a limit"):
                await people(operation, filters={}, body={"text": "y"}, dry_run=dry_run)
    assert await people("count", filters={"text": "y"}) == 0
    assert await people("replace-match", filters={}, body={"text": "y"}, limit=10) == 10


async def test_what_is_to_be_removed_is_not_kept(people: Caller) -> None:
    """Removing by filters, or trying to, takes the memory of a few documents."""
    tracemalloc.start()
    try:
        tried = await people("delete-match", filters={}, dry_run=True)
        assert tried["count"] == COUNT
        assert await people("count") == COUNT
        assert len((await people("get", document="k00"))["text"]) == SIZE
        assert await people("delete-match", filters={}) == COUNT
        assert tracemalloc.get_traced_memory()[1] < MAX_GROWTH
    finally:
        tracemalloc.stop()
    assert await people("count") == 0


async def test_a_transaction_keeps_few_of_the_documents_that_it_removes(people: Caller) -> None:
    """Step after step, or in one batch: old versions are given back as soon as they are gone."""
    steps = [("delete", "people", {"document": f"k{n:02}"}) for n in range(COUNT // 2)]
    rest = [f"k{n:02}" for n in range(COUNT // 2, COUNT)]
    tracemalloc.start()
    try:
        await Asker(people.store).transaction(
            *steps, ("delete-many", "people", {"documents": rest})
        )
        assert tracemalloc.get_traced_memory()[1] < MAX_GROWTH
    finally:
        tracemalloc.stop()
    assert await people("count") == 0
