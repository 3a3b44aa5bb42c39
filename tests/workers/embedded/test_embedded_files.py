"""Files: closed to others, checked before use, and coded errors when something is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from mallku_contracts.durability import Durability
from mallku_contracts.errors import (
    ConfigurationError,
    ExecutionError,
    InvalidSubject,
    StoreFailure,
    Unavailable,
)
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore
from tests.stores.calling import Caller


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def modes(directory: Path) -> dict[str, int]:
    """The permission bits of each file in a directory."""
    return {path.name: mode(path) for path in sorted(directory.iterdir())}


def remove_all(directory: Path) -> None:
    """Remove the files of a directory."""
    for name in modes(directory):
        (directory / name).unlink()


def move_all(source: Path, target: Path) -> None:
    """Move the files of a database to another directory."""
    for path in source.glob("mallku.*"):
        path.replace(target / path.name)


async def test_nobody_else_may_read_the_files(people: Caller, directory: Path) -> None:
    """The directory is 0700, every file in it 0600, the write-ahead log too."""
    await people("insert", document={})
    assert mode(directory) == 0o700
    found = modes(directory)
    names = ["mallku.sqlite", "mallku.sqlite-shm", "mallku.sqlite-wal", "mallku.turn"]
    assert found == dict.fromkeys(names, 0o600)


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    """File permissions are the wall, so an open door is an error and not a warning."""
    tmp_path.chmod(0o750)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        asyncio.run(EmbeddedStore(tmp_path).start())


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in its place is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"):
        asyncio.run(EmbeddedStore(tmp_path / "file").start())


def test_a_file_that_is_no_database_is_refused(directory: Path) -> None:
    """Foreign bytes are a store failure and stay as they are."""
    directory.mkdir(mode=0o700)
    (directory / "mallku.sqlite").write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreFailure):
        asyncio.run(EmbeddedStore(directory).start())
    assert (directory / "mallku.sqlite").read_bytes().startswith(b"not a database")


async def test_a_file_of_a_later_format_is_refused(directory: Path) -> None:
    """What a newer version wrote is not touched."""
    store = EmbeddedStore(directory)
    await store.start()
    await store.stop()
    connection = sqlite3.connect(directory / "mallku.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="99"):
        await EmbeddedStore(directory).start()


@pytest.mark.parametrize("name", ["../escape", "", "a/b", "a.b", "x" * 65])
def test_a_databases_name_cannot_leave_the_directory(directory: Path, name: str) -> None:
    """Names are checked before a path is made of them."""
    with pytest.raises(InvalidSubject):
        EmbeddedStore(directory, databases=(name,))


async def test_databases_are_separate_files(directory: Path) -> None:
    """Each has its own collections; one that was not named does not appear."""
    store = EmbeddedStore(directory, databases=("one", "two"))
    await store.start()
    await store.stop()
    assert list(modes(directory)) == ["one.sqlite", "one.turn", "two.sqlite", "two.turn"]


@pytest.mark.parametrize(
    ("synchronous", "expected"), [("NORMAL", Durability.FLUSH), ("FULL", Durability.FSYNC)]
)
async def test_durability_is_what_the_database_says(
    directory: Path, synchronous: str, expected: Durability
) -> None:
    """NORMAL survives killed processes, FULL a loss of power; before the start nobody knows."""
    store = EmbeddedStore(
        directory, settings=EmbeddedSettings.model_validate({"synchronous": synchronous})
    )
    with pytest.raises(ConfigurationError):
        _ = store.durability
    await store.start()
    assert store.durability is expected
    await store.stop()


async def test_what_was_stored_is_there_after_a_restart(directory: Path) -> None:
    """Documents, collections, indexes and the tick outlive the process."""
    first = EmbeddedStore(directory)
    await first.start()
    people = Caller(first)
    await people("create-collection")
    await people("create-index", fields=["n"], unique=True)
    meta = await people("insert", document={"n": 1})
    await first.stop()
    second = EmbeddedStore(directory)
    await second.start()
    people = Caller(second)
    assert await people("get", document=meta["_key"]) == {**meta, "n": 1}
    assert len(await people("list-indexes")) == 2
    assert int((await people("insert", document={"n": 2}))["_key"]) > int(meta["_key"])
    await second.stop()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_vanished_swallows_no_write(
    people: Caller, directory: Path, replaced: bool
) -> None:
    """A removed or replaced file is noticed before anything is acknowledged."""
    await people("insert", document={})
    move_all(directory, directory.parent)
    if replaced:
        sqlite3.connect(directory / "mallku.sqlite").close()
    with pytest.raises(ExecutionError):
        await people("insert", document={})
    remove_all(directory)
    move_all(directory.parent, directory)
    await people("insert", document={})
    assert await people("count") == 2


async def test_a_full_disk_is_unavailable_and_then_over(
    people: Caller, store: EmbeddedStore
) -> None:
    """Nothing was done, nothing is broken, and once there is room it goes on."""
    connection = store._databases["mallku"].writes._server._connection  # type: ignore[attr-defined]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    documents = [{"text": "x" * 5_000} for _ in range(50)]
    with pytest.raises(Unavailable) as refusal:
        await people("insert-many", documents=documents)
    assert refusal.value.retry_after is not None
    assert await people("count") == 0
    # The limit belonged to the connection, which was given up.
    assert len(await people("insert-many", documents=documents)) == 50


async def test_a_document_may_not_outgrow_its_limit(directory: Path) -> None:
    """Merging cannot make a document that no reply could carry."""
    store = EmbeddedStore(directory, settings=EmbeddedSettings(max_document_bytes=10_000))
    await store.start()
    people = Caller(store)
    await people("create-collection")
    await people("insert", document={"_key": "a", "x": "x" * 6_000})
    results = await people("update-many", documents=[{"_key": "a", "y": "y" * 6_000}])
    assert results[0]["error"]["code"] == "invalid_document"
    assert await people.document("a") == {"x": "x" * 6_000}
    await store.stop()
