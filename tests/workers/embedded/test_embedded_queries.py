"""Reading queries of the embedded store: how many may be open, and what is left of one cut off."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import Busy, DeadlineExceeded
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.embedded.settings import EmbeddedSettings
from tests.stores.asking import Asker, make_query
from tests.stores.calling import PATIENCE_MS, Caller, now_ms
from tests.support.nats import until

MOST = 3
LONG = "FOR i IN 1..100000000 FILTER i < 0 RETURN i"
LIFE_MS = 300


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """A store for few queries at once, with fifty people in it."""
    settings = EmbeddedSettings(max_cursors=MOST, query_threads=2)
    running = EmbeddedStore(tmp_path / "store", settings=settings)
    await running.start()
    people = Caller(running, "people")
    await people("create-collection")
    await people("insert-many", documents=[{"n": n} for n in range(50)])
    yield running
    await running.stop()


def open_queries(store: EmbeddedStore) -> int:
    """How many queries hold, or are about to give back, what they need."""
    return sum(len(database.queries._open) for database in store._databases.values())


async def test_so_many_cursors_and_no_more(store: EmbeddedStore) -> None:
    """`Busy`, which says when to come back; a cursor that is closed makes room."""
    ask = Asker(store)
    open_ones = [await ask.done("FOR i IN 1..9 RETURN i", batch_size=1) for _ in range(MOST)]
    with pytest.raises(Busy) as refused:
        await ask.done("RETURN 1")
    assert refused.value.retry_after
    first = open_ones[0].cursor
    assert first is not None
    await first.close()
    assert await ask("RETURN 1") == [1]
    for done in open_ones:
        assert done.cursor is not None
        await done.cursor.close()


def owned(owner: str, text: str, **options: Any) -> Work:
    """A query of somebody's."""
    return replace(make_query(text, **options), owner=owner)


async def test_nobody_has_more_open_than_are_free(store: EmbeddedStore) -> None:
    """However often one asks, there is one for the next."""
    one = [
        await store.execute(owned("one", "FOR i IN 1..9 RETURN i", batch_size=1)) for _ in range(2)
    ]
    with pytest.raises(Busy, match="2 of them yours"):
        await store.execute(owned("one", "RETURN 1"))
    assert (await store.execute(owned("other", "RETURN 1"))).result["result"] == [1]
    for done in one:
        assert done.cursor is not None
        await done.cursor.close()
    assert (await store.execute(owned("one", "RETURN 1"))).result["result"] == [1]


async def test_somebody_elses_long_queries_leave_a_thread(store: EmbeddedStore) -> None:
    """One of two; queries of the same owner wait for each other, and no longer than they may."""
    long = asyncio.ensure_future(store.execute(owned("one", LONG)))
    await until(lambda: open_queries(store) == 1)
    late = replace(owned("one", "RETURN 1"), deadline_ms=now_ms() + LIFE_MS)
    with pytest.raises(DeadlineExceeded, match="thread"):
        await store.execute(late)
    assert (await store.execute(owned("other", "RETURN 1"))).result["result"] == [1]
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    await until(lambda: not open_queries(store))


async def test_a_stop_ends_what_nobody_closed(tmp_path: Path) -> None:
    """A cursor that is left open keeps no connection to the file."""
    store = EmbeddedStore(tmp_path / "other")
    await store.start()
    done = await Asker(store).done("FOR i IN 1..9 RETURN i", batch_size=1)
    assert done.cursor is not None
    [reading] = [one for base in store._databases.values() for one in base.queries._open.values()]
    await store.stop()
    assert reading.connection is not None
    with pytest.raises(sqlite3.ProgrammingError):
        reading.connection.execute("SELECT 1")


async def test_a_query_that_is_cut_off_gives_everything_back(store: EmbeddedStore) -> None:
    """Nobody gets its connection before its thread is done with it, and then it is used again."""
    for _ in range(2 * MOST):
        work = replace(make_query(LONG), deadline_ms=now_ms() + LIFE_MS)
        cut_off = asyncio.ensure_future(store.execute(work))
        await asyncio.sleep(0)
        cut_off.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut_off
        await until(lambda: not open_queries(store))
    ask = Asker(store)
    rows = await asyncio.gather(*(ask("FOR p IN people SORT p.n RETURN p.n") for _ in range(MOST)))
    assert rows == [list(range(50))] * MOST


async def test_nobody_waits_for_a_query_that_is_cut_off(store: EmbeddedStore) -> None:
    """Whoever gave up goes on at once, and the query ends long before its time would be over."""
    work = replace(make_query(LONG), deadline_ms=now_ms() + 100 * PATIENCE_MS)
    cut_off = asyncio.ensure_future(store.execute(work))
    await asyncio.sleep(0)
    cut_off.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await cut_off
    assert time.monotonic() - began < PATIENCE_MS / 1_000
    await until(lambda: not open_queries(store))


def test_cursors_that_wait_for_their_next_page_keep_no_page_cache(tmp_path: Path) -> None:
    """Many of them, each behind a scan of more than its cache holds, take less than half of it."""
    cursors = 16
    command = [sys.executable, "-m", "tests.workers.embedded.many_cursors", str(tmp_path)]
    command.append(str(cursors))
    grown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert int(grown.stdout) < cursors * EmbeddedSettings().cache_bytes / 2


async def test_a_page_is_held_to_the_time_of_whoever_asks_for_it(store: EmbeddedStore) -> None:
    """However much the first page's caller had."""
    text = "FOR i IN 1..@n FILTER i < 4 OR i == @n RETURN i"
    done = await Asker(store).done(text, {"n": 100_000_000}, batch_size=1)
    assert done.cursor is not None
    assert (await done.cursor.fetch(now_ms() + PATIENCE_MS)).rows == [2]
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await done.cursor.fetch(now_ms() + LIFE_MS)
    assert time.monotonic() - began < PATIENCE_MS / 1_000
    await done.cursor.close()
