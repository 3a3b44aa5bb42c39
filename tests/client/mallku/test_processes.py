"""Threads, loops, forks and the end of the process; calls that are made at the same moment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mallku_client import portal
from mallku_client.mallku import SecuredDatabaseInterface, close_database, get_database
from mallku_client.mallku.combining import Combiner
from mallku_contracts.errors import (
    CollectionNotFound,
    InvalidArguments,
    MallkuError,
    PermissionDenied,
)
from tests.client.mallku.mallku_like import fresh

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROUNDS = 200
"""Of a hundred inserts each; `tests/benchmarks/mallku.py` does ten thousand."""

HERE = Path(__file__).resolve().parents[3]


async def test_many_threads(db: SecuredDatabaseInterface) -> None:
    """A hundred inserts from ten threads, again and again, and all are there."""
    name = fresh("threads")
    notes = db.collection(name)
    notes.insert({"_key": "first"})

    def insert(number: int) -> None:
        get_database().collection(name).insert({"_key": str(number)})

    with ThreadPoolExecutor(10) as pool:
        for part in range(0, ROUNDS, 100):
            await asyncio.get_running_loop().run_in_executor(
                None,
                lambda part=part: list(pool.map(insert, range(part, part + 100))),  # type: ignore[misc]  # bound now
            )
    assert notes.count() == ROUNDS + 1


async def test_many_loops(db: SecuredDatabaseInterface) -> None:
    """Several loops in several threads, each awaiting the same database; plain calls in between."""
    name = fresh("loops")
    db.collection(name).insert({"_key": "0"})

    async def one(number: int) -> list[str]:
        awaited = await get_database()
        notes = awaited.collection(name)
        await asyncio.gather(*(notes.insert({"_key": f"{number}-{n}"}) for n in range(20)))
        assert db.collection(name).get(f"{number}-0")["_key"] == f"{number}-0"
        found = await asyncio.gather(*(notes.get(f"{number}-{n}") for n in range(20)))
        return [document["_key"] for document in found]

    with ThreadPoolExecutor(5) as pool:
        runs = [
            asyncio.get_running_loop().run_in_executor(pool, lambda n=n: asyncio.run(one(n)))  # type: ignore[misc]  # as above
            for n in range(5)
        ]
        for number, found in enumerate(await asyncio.gather(*runs)):
            assert found == [f"{number}-{n}" for n in range(20)]
    assert db.collection(name).count() == 101


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
async def test_before_and_after_a_fork(db: SecuredDatabaseInterface) -> None:
    """The child has a connection of its own, and the parent goes on with its own."""
    notes = db.collection(fresh("forked"))
    notes.insert({"_key": "parent"})
    rows = notes.all()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert get_database() is db
            notes.insert({"_key": "child"})
            assert notes.get("parent")["_key"] == "parent"
            asyncio.run(_in_child(notes.name))
            close_database()
            code = 0
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    notes.insert({"_key": "after"})
    assert [row["_key"] for row in rows] == ["parent"]
    assert sorted(row["_key"] for row in notes.all()) == ["after", "awaited", "child", "parent"]


async def _in_child(name: str) -> None:
    awaited = await get_database()
    await awaited.collection(name).insert({"_key": "awaited"})


SCRIPT = """
import asyncio, sys
from mallku_client.mallku import get_database
db = get_database()
async def main():
    db.collection(sys.argv[1]).insert({"_key": "blocking"})
    awaited = await get_database()
    await awaited.collection(sys.argv[1]).insert({"_key": "awaited"})
    awaited.collection(sys.argv[1]).insert({"_key": "forgotten"})["_key"]
asyncio.run(main())
print(sorted(row["_key"] for row in db.collection(sys.argv[1]).all()))
"""


async def test_a_process_ends_by_itself(db: SecuredDatabaseInterface) -> None:
    """Nothing has to be closed: the connection goes with the process, and nothing is printed."""
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", SCRIPT, fresh("process")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=HERE,
    )
    assert run.stdout.strip() == "['awaited', 'blocking', 'forgotten']"
    assert run.stderr == ""
    assert db is not None


async def test_importing_does_nothing() -> None:
    """No thread, no connection, no driver."""
    code = (
        "import sys, threading; import mallku_client.mallku as m; "
        "assert threading.active_count() == 1; m.SecuredDatabaseInterface(object()); "
        "assert threading.active_count() == 1; assert 'nats' not in sys.modules; "
        "assert 'mallku_workers' not in sys.modules"
    )
    arguments = [sys.executable, "-c", code]
    await asyncio.to_thread(subprocess.run, arguments, check=True, timeout=30, cwd=HERE)


class Shelf:
    """A reader of documents that counts how it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.many: MallkuError | None = None
        self.one: MallkuError | None = None

    async def get(self, collection: str, key: str, model: str | None) -> dict[str, Any] | None:
        """One document, none for `missing`."""
        del collection, model
        self.asked.append([key])
        if self.one is not None:
            raise self.one
        return None if key == "missing" else {"_key": key}

    async def get_many(
        self, collection: str, keys: list[str], model: str | None
    ) -> list[dict[str, Any]]:
        """Several."""
        del collection, model
        self.asked.append(list(keys))
        if self.many is not None:
            raise self.many
        return [{"_key": key, "deep": []} for key in keys if key != "missing"]


async def combined(combiner: Combiner, keys: list[str]) -> list[Any]:
    """All keys, asked for at the same moment."""
    futures = [combiner.ask("c", key, None, True) for key in keys]
    return await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)


async def test_gets_of_the_same_moment_are_one_command() -> None:
    """Each key once; everybody gets a document of their own, None where there is none."""
    shelf = Shelf()
    found = await combined(Combiner(shelf), ["a", "b", "a", "missing"])
    assert shelf.asked == [["a", "b", "missing"]]
    assert [each and each["_key"] for each in found] == ["a", "b", "a", None]
    found[0]["deep"].append(1)
    assert found[2]["deep"] == []


async def test_a_single_get_stays_single() -> None:
    """And those of another moment are another command."""
    shelf = Shelf()
    combiner = Combiner(shelf)
    assert await combined(combiner, ["a"]) == [{"_key": "a"}]
    await combined(combiner, ["b"])
    assert shelf.asked == [["a"], ["b"]]


async def test_who_may_not_have_many_has_them_singly() -> None:
    """A policy without `get-many` costs speed, nothing else."""
    shelf = Shelf()
    shelf.many = PermissionDenied("get-many")
    found = await combined(Combiner(shelf), ["a", "missing"])
    assert found == [{"_key": "a"}, None]
    assert sorted(shelf.asked) == [["a"], ["a", "missing"], ["missing"]]


async def test_a_failure_is_everybodys_who_asked() -> None:
    """Nobody waits for ever; a missing collection has no documents."""
    shelf = Shelf()
    shelf.many = InvalidArguments("no")
    assert await combined(Combiner(shelf), ["a", "b"]) == [shelf.many, shelf.many]
    shelf.many = CollectionNotFound("none")
    assert await combined(Combiner(shelf), ["a", "b"]) == [None, None]
    shelf.many = shelf.one = PermissionDenied("no get either")
    assert await combined(Combiner(shelf), ["a", "b"]) == [shelf.one, shelf.one]


async def test_who_stopped_waiting_harms_nobody() -> None:
    """A get that was cancelled leaves the others theirs."""
    combiner = Combiner(Shelf())
    futures = [combiner.ask("c", key, None, True) for key in "ab"]
    futures[0].cancel()
    assert await asyncio.wrap_future(futures[1]) == {"_key": "b", "deep": []}


async def test_cancelling_cancels_the_call(db: SecuredDatabaseInterface) -> None:
    """A task that is cancelled while it awaits ends, and the database goes on."""
    awaited = await db
    notes = awaited.collection(fresh("cancelled"))
    await notes.insert({"_key": "a"})
    task = asyncio.create_task(notes.insert({"_key": "b"}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await notes.get("a"))["_key"] == "a"


async def test_a_blocking_call_on_our_own_loop_is_refused(db: SecuredDatabaseInterface) -> None:
    """It would wait for itself for ever."""

    async def inside() -> None:
        db.collection("memory_anchors").count()

    with pytest.raises(RuntimeError, match="waits for itself"):
        await asyncio.wrap_future(portal.current().submit(inside()))
