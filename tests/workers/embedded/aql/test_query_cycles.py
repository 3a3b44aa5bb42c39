"""What a query was made of is gone with it: a worker's collector looks for cycles seldom."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import MallkuError
from mallku_workers.stores.base import Work
from mallku_workers.stores.embedded import EmbeddedStore
from mallku_workers.stores.embedded.aql.evaluate import Execution
from mallku_workers.stores.embedded.aql.expressions import Expressions
from mallku_workers.stores.embedded.aql.run import Memory, Run
from mallku_workers.stores.embedded.aql.scope import Scope
from mallku_workers.stores.embedded.aql.statements import Statements
from mallku_workers.stores.embedded.paging import Rows
from mallku_workers.stores.embedded.queries import EmbeddedCursor, _Reading
from tests.stores.asking import make_query
from tests.stores.calling import Caller, now_ms
from tests.support.nats import until
from tests.workers.embedded.aql.golden import ROWS, World

OF_A_QUERY = (
    Run, Memory, Execution, Statements, Expressions, Scope, Rows, Work, _Reading, EmbeddedCursor,
)  # fmt: skip


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> Counter[str]:
    """What is there that queries are made of; the collector has not run."""
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OF_A_QUERY))


@pytest.mark.usefixtures("_no_collector")
def test_nothing_is_left_of_any_query(tmp_path: Path) -> None:
    """Of everything that the language has, answered or refused."""
    world = World(tmp_path / "golden.sqlite")
    before, leaving = left(), list[str]()
    for number, row in enumerate(ROWS):
        world.run(row["query"], row["bind_vars"], row.get("options", {}))
        if number % 20 == 0 or row is ROWS[-1]:
            now = left()
            if more := now - before:
                leaving.append(f"up to {row['id']}: {more}")
            before = now
    world.close()
    assert leaving == []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """A store with fifty people."""
    running = EmbeddedStore(tmp_path / "store")
    await running.start()
    people = Caller(running, "people")
    await people("create-collection")
    await people("insert-many", documents=[{"_key": f"k{n}", "n": n} for n in range(50)])
    yield running
    await running.stop()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("FOR p IN people FILTER p.n > 9 SORT p.n LET q = (FOR i IN 1..2 RETURN i) RETURN q", {}),
        ("FOR p IN people RETURN p", {"batch_size": 7}),
        ("FOR p IN people RETURN p", {"count": True, "profile": True}),
        ("FOR p IN people RETURN p", {"explain": True}),
        ("FOR p IN people RETURN p", {"max_rows": 3}),
        ("FOR p IN nowhere RETURN p", {}),
        ("RETURN missing", {}),
        ("RETURN FAIL('so be it')", {}),
        ("FOR i IN 1..1000000000 FILTER i < 0 RETURN i", {"patience_ms": 50}),
        ("FOR p IN people UPDATE p WITH {m: 1} IN people RETURN NEW", {}),
        ("INSERT {_key: 'k1'} INTO people", {}),
        ("INSERT {_key: 'a/b'} INTO people", {}),
    ],
)
async def test_nothing_is_left_of_a_query_of_the_store(
    store: EmbeddedStore, text: str, options: dict[str, Any]
) -> None:
    """Answered in one page or in several, refused, too late, or changing documents."""
    before = left()
    await _ask(store, text, **options)
    await until(lambda: not left() - before)


async def _ask(store: EmbeddedStore, text: str, patience_ms: int = 0, **options: Any) -> None:
    """Ask, and read to the end."""
    try:
        work = make_query(text, **options)
        if patience_ms:
            work = replace(work, deadline_ms=now_ms() + patience_ms)
        cursor = (await store.execute(work)).cursor
        while cursor is not None and (await cursor.fetch(work.deadline_ms)).more:
            pass
        if cursor is not None:
            await cursor.close()
    except MallkuError as error:
        error.__traceback__ = error.__context__ = None  # its frames hold what they worked on


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_is_left_of_a_query_that_is_cut_off(store: EmbeddedStore) -> None:
    """Its caller gives up, or closes the cursor before its end."""
    before = left()
    task = asyncio.ensure_future(
        _ask(store, "FOR i IN 1..1000000000 FILTER i < 0 RETURN i", batch_size=2)
    )
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task
    cursor = (await store.execute(make_query("FOR p IN people RETURN p", batch_size=2))).cursor
    assert cursor is not None
    await cursor.close()
    del cursor
    await until(lambda: not left() - before)
