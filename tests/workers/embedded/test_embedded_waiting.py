"""Waiting: for a place in the queue, for another process, for the end; never without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import (
    DeadlineExceeded,
    Unavailable,
)
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore, matching, matchwrites
from mallku_workers.stores.embedded.turn import Turn
from tests.stores.calling import Caller, now_ms
from tests.workers.embedded.works import Clock, insert, locked, outcomes, running


async def test_a_full_queue_answers_at_once(directory: Path) -> None:
    """Whoever does not fit is told when to come back; the others are served."""
    async with running(directory, EmbeddedSettings(queue_works=4)) as people:
        works = [insert(str(n)) for n in range(10)]
        codes = await outcomes(people.store, works)
        assert codes == ["done"] * 4 + ["unavailable"] * 6
        with locked(directory):
            tasks = [asyncio.ensure_future(people.store.execute(insert(f"w{n}"))) for n in range(4)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable) as refusal:
                await people.store.execute(insert("more"))
            assert refusal.value.retry_after is not None
            assert await people("count") == 4
        await asyncio.gather(*tasks)


async def test_another_writer_is_waited_for_no_longer_than_allowed(directory: Path) -> None:
    """Then it is `unavailable` with advice, and nothing was done; readers are not disturbed."""
    async with running(directory, EmbeddedSettings(busy_timeout_ms=50)) as people:
        await people("insert", document={"_key": "a"})
        with locked(directory):
            with pytest.raises(Unavailable) as refusal:
                await people.store.execute(insert("b"))
            assert refusal.value.retry_after is not None
            assert await people("exists", document="a")
            assert await people("count") == 1
        await people.store.execute(insert("b"))
        assert await people("count") == 2


async def test_a_deadline_ends_the_waiting_for_another_writer(directory: Path) -> None:
    """The one whose time is over is refused, the one that can wait is served."""
    async with running(directory, EmbeddedSettings(busy_timeout_ms=60_000)) as people:
        with locked(directory):
            short = asyncio.ensure_future(people.store.execute(insert("a", now_ms() + 50)))
            long = asyncio.ensure_future(people.store.execute(insert("b")))
            with pytest.raises(Unavailable):
                await short
            assert not long.done()
        await long
        assert await people("exists", document="a") is False


async def test_a_deadline_is_judged_inside_the_transaction(directory: Path) -> None:
    """Time that passed while another process was writing counts."""
    clock = Clock()
    async with running(directory, clock=clock) as people:
        work = insert("a", clock.now + 100)
        with locked(directory):
            task = asyncio.ensure_future(people.store.execute(work))
            await asyncio.sleep(0)
            clock.now += 101
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await task
        assert await people("exists", document="a") is False


async def test_a_cancelled_work_that_did_not_begin_never_happens(directory: Path) -> None:
    """Whoever goes away while waiting is passed over."""
    async with running(directory) as people:
        with locked(directory):
            blocker = asyncio.ensure_future(people.store.execute(insert("first")))
            await asyncio.sleep(0.01)
            task = asyncio.ensure_future(people.store.execute(insert("cancelled")))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await blocker
        assert await people("count") == 1


async def test_stopping_finishes_what_was_accepted(directory: Path) -> None:
    """Every work that was taken is answered and stored; later ones are refused; no thread stays."""
    async with running(directory) as people:
        tasks = [asyncio.ensure_future(people.store.execute(insert(str(n)))) for n in range(500)]
        await asyncio.sleep(0)
        await people.store.stop()
        assert all(task.done() for task in tasks)
        assert {task.result().result["_key"] for task in tasks} == {str(n) for n in range(500)}
        with pytest.raises(Unavailable):
            await people.store.execute(insert("late"))
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("store-")]
    async with contextlib.AsyncExitStack() as stack:
        store = EmbeddedStore(directory)
        await store.start()
        stack.push_async_callback(store.stop)
        assert await Caller(store)("count") == 500


def test_the_turn_belongs_to_one_writer(tmp_path: Path) -> None:
    """A second one gets it only after it was given back, or its holder went away."""
    one, other = Turn(tmp_path / "a.sqlite"), Turn(tmp_path / "a.sqlite")
    assert one.try_take()
    assert not other.try_take()
    one.give_back()
    assert other.try_take()
    assert not one.try_take()
    other.close()
    assert one.try_take()
    one.close()


async def test_writers_that_always_have_work_take_turns(directory: Path) -> None:
    """Two busy stores on one file: neither is refused, and neither waits for the other's end."""
    settings = EmbeddedSettings(busy_timeout_ms=10_000)
    async with running(directory, settings) as people:
        other = EmbeddedStore(directory, settings=settings)
        await other.start()
        finished: list[EmbeddedStore] = []

        async def keep_busy(store: EmbeddedStore, lane: int) -> None:
            for number in range(20):
                await store.execute(insert(f"{id(store)}-{lane}-{number}"))
                finished.append(store)

        stores: list[Any] = [people.store, other]
        await asyncio.gather(*(keep_busy(store, n) for store in stores for n in range(20)))
        await other.stop()
        changes = sum(before is not after for before, after in pairwise(finished))
        assert len(finished) == 800
        assert changes >= 6


async def test_a_change_by_filters_ends_with_its_callers_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is looked at with every chunk of the search: nobody holds the write lock longer."""
    clock, search = Clock(), matching.search

    def late(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, row in enumerate(search(*arguments, **options)):
            clock.now += 3_600_000 if number == 1 else 0
            yield row

    async with running(directory, clock=clock) as people:
        documents = [{"_key": f"k{n:03}"} | ({"kind": "y"} if n > 1 else {}) for n in range(600)]
        await people("insert-many", documents=documents)
        monkeypatch.setattr(matchwrites, "search", late)
        with pytest.raises(DeadlineExceeded):
            await people("update-match", filters={"kind": None}, body={"z": 1})
        clock.now -= 3_600_000
        assert await people("count", filters={"z": 1}) == 0
