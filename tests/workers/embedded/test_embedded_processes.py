"""Several processes on the same files, and what is left when one of them is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from mallku_workers.stores.embedded import EmbeddedStore
from tests.stores.calling import DATABASE, Caller, make_claim

ROOT = Path(__file__).parents[3]


async def spawn(directory: Path, *arguments: object) -> asyncio.subprocess.Process:
    """A child on the store's files."""
    command = ["-m", "tests.workers.embedded.child", str(directory), *map(str, arguments)]
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize("fresh", [False, True])
async def test_one_key_has_one_effect_among_processes(
    people: Caller, directory: Path, fresh: bool
) -> None:
    """Three processes race for the same ledger keys: each key's document is there exactly once."""
    keys, processes = 300, 3
    if fresh:
        await people("drop-collection")
        await people("create-collection")
    children = [await spawn(directory, "race", keys, 16) for _ in range(processes)]
    answers = [json.loads((await child.communicate())[0]) for child in children]
    committed = sorted(number for answer in answers for number in answer["committed"])
    assert committed == list(range(keys))
    assert sum(len(answer["replayed"]) for answer in answers) == keys * (processes - 1)
    page = await people("find")
    assert sorted(doc["number"] for doc in page["documents"]) == list(range(keys))
    assert await people("count") == keys
    assert len({doc["_rev"] for doc in page["documents"]}) == keys


async def test_nothing_acknowledged_is_lost_when_a_process_is_killed(
    people: Caller, directory: Path
) -> None:
    """SIGKILL in the middle of writing: every acknowledged document and its entry are there."""
    acknowledged: list[str] = []
    for round_number in range(3):
        child = await spawn(directory, "flood", round_number * 1_000_000, 32)
        assert child.stdout is not None
        first = [await child.stdout.readline() for _ in range(400)]
        acknowledged += [line.decode().strip() for line in first]
        child.send_signal(signal.SIGKILL)
        rest = (await child.stdout.read()).decode().splitlines(keepends=True)
        acknowledged += [line.strip() for line in rest if line.endswith("\n")]
        assert await child.wait() == -signal.SIGKILL
    found = await people("get-many", documents=acknowledged)
    assert [doc["_key"] for doc in found] == acknowledged
    for key in acknowledged[::50]:
        entry = await people.store.recall(DATABASE, make_claim(key).key)
        assert entry is not None
        assert entry.result["_key"] == key
    connection = sqlite3.connect(directory / "mallku.sqlite")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    counted = connection.execute("SELECT documents FROM mallku_collections").fetchone()
    entries = connection.execute("SELECT count(*) FROM mallku_ledger").fetchone()
    connection.close()
    # One entry for each document and one for the collection itself: effect and entry go together.
    assert entries == (counted[0] + 1,)


async def test_processes_may_start_at_the_same_moment_on_nothing(directory: Path) -> None:
    """Whoever comes first makes the file; nobody fails."""
    for number in range(20):
        fresh = [EmbeddedStore(directory.with_name(f"fresh{number}")) for _ in range(6)]
        await asyncio.gather(*(store.start() for store in fresh))
        await asyncio.gather(*(store.stop() for store in fresh))
    stores = [EmbeddedStore(directory) for _ in range(6)]
    await asyncio.gather(*(store.start() for store in stores))
    await Caller(stores[0])("create-collection")
    for store in stores:
        await Caller(store)("insert", document={})
    assert await Caller(stores[0])("count") == 6
    await asyncio.gather(*(store.stop() for store in stores))


async def test_a_process_that_forgot_to_stop_its_store_ends_all_the_same(directory: Path) -> None:
    """Threads are no daemons, but they notice that the main thread is gone."""
    child = await spawn(directory, "forget")
    try:
        assert await asyncio.wait_for(child.wait(), 30) == 0
    finally:
        if child.returncode is None:
            child.kill()


async def test_what_one_process_changes_the_others_see(people: Caller, directory: Path) -> None:
    """Collections and indexes made, removed and made again elsewhere are seen at once."""
    other_store = EmbeddedStore(directory)
    await other_store.start()
    other = Caller(other_store)
    await people("insert", document={"_key": "a", "n": 1})
    assert await other.document("a") == {"n": 1}
    await other("create-index", fields=["n"], unique=True)
    results = await people("insert-many", documents=[{"n": 1}, {"n": 2}])
    assert ["error" in entry for entry in results] == [True, False]
    assert len(await people("list-indexes")) == 2
    await other("drop-collection")
    assert await people.on("people")("list-collections") == []
    await other("create-collection")
    assert await people("get", document="a") is None
    await people("insert", document={"_key": "b", "n": 1})
    assert await other.document("b") == {"n": 1}
    made = (await people("insert", document={"_key": "5000"}))["_key"]
    assert await other("exists", document=made)
    await other_store.stop()
