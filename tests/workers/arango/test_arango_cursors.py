"""What a query holds in ArangoDB is given back, whatever becomes of whoever asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from mallku_contracts.errors import ResourceLimit, ResultTooLarge
from mallku_workers.stores.base import Store
from tests.stores.asking import make_query
from tests.stores.calling import Caller, now_ms
from tests.support.nats import until
from tests.support.simulated_arango import Answer, Asked, SimulatedArango
from tests.workers.arango.watching import path_is

PAGED = "FOR p IN people RETURN p.n"


@pytest.fixture
async def crowd(people: Caller) -> Store:
    """A store with ten people."""
    await people("insert-many", documents=[{"n": n} for n in range(10)])
    return people.store


class Gate:
    """Holds matching requests before they are answered."""

    def __init__(self, matches: Callable[[Asked], bool]) -> None:
        self._matches = matches
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, asked: Asked, answer: Answer) -> Answer:
        """Let an answer wait for the gate to open."""
        if self._matches(asked):
            self.reached.set()
            self.opened.wait(10)
        return answer


async def test_rows_opened_for_somebody_who_has_gone_are_given_back(
    crowd: Store, server: SimulatedArango
) -> None:
    """Cut off while ArangoDB opens the cursor: the answer comes to nobody, and is forgotten."""
    server.after = gate = Gate(path_is("POST", "/_api/cursor"))
    asking = asyncio.ensure_future(crowd.execute(make_query(PAGED, batch_size=2)))
    await asyncio.to_thread(gate.reached.wait, 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(server.cursors) == 1
    gate.opened.set()
    await until(lambda: not server.cursors)


async def test_a_page_cut_off_holds_up_nobody(crowd: Store, server: SimulatedArango) -> None:
    """Closing returns at once; the rows are given back behind the step that is under way."""
    done = await crowd.execute(make_query(PAGED, batch_size=2))
    assert done.cursor is not None
    await done.cursor.fetch(now_ms() + 30_000)
    server.after = gate = Gate(path_is("POST", "/_api/cursor/"))
    fetching = asyncio.ensure_future(done.cursor.fetch(now_ms() + 30_000))
    await asyncio.to_thread(gate.reached.wait, 10)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    async with asyncio.timeout(5):
        await done.cursor.close()
    assert not gate.opened.is_set()
    assert len(server.cursors) == 1
    gate.opened.set()
    await until(lambda: not server.cursors)


async def test_a_stop_waits_for_what_is_given_back(crowd: Store, server: SimulatedArango) -> None:
    """Nothing is left open in ArangoDB by a worker that stops."""
    server.after = gate = Gate(path_is("POST", "/_api/cursor"))
    asking = asyncio.ensure_future(crowd.execute(make_query(PAGED, batch_size=2)))
    await asyncio.to_thread(gate.reached.wait, 10)
    asking.cancel()
    stopping = asyncio.ensure_future(crowd.stop())
    gate.opened.set()
    await stopping
    assert not server.cursors


async def test_a_first_page_that_is_refused_leaves_nothing_open(
    crowd: Store, server: SimulatedArango
) -> None:
    """Also where it is the number of rows, or of documents that were changed, that is too large."""
    with pytest.raises(ResourceLimit):
        await crowd.execute(make_query(PAGED, max_rows=1, batch_size=2))
    assert not server.cursors
    many = "FOR n IN 1..20000 INSERT {n} INTO people"
    with pytest.raises((ResourceLimit, ResultTooLarge)):
        await crowd.execute(make_query(many))
    assert not server.cursors
