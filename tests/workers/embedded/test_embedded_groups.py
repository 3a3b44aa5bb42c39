"""Groups: many works in one commit, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mallku_contracts.errors import (
    MallkuError,
    OutcomeUnknown,
    StoreFailure,
    Unavailable,
)
from mallku_workers.stores.embedded import EmbeddedSettings, EmbeddedStore, writer
from mallku_workers.stores.embedded.document_writes import SINGLE
from mallku_workers.stores.embedded.lane import Job
from mallku_workers.stores.embedded.writer import Writer
from tests.stores.calling import DATABASE, Caller, make_claim, make_work, now_ms
from tests.workers.embedded.works import Clock, insert, outcomes, running


async def test_a_failing_work_harms_no_other_in_its_group(
    people: Caller, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit for all: the good are stored, the bad are refused, each for its own reason."""
    groups: list[int] = []
    serve = Writer.serve

    def counting(self: Writer, jobs: list[Job]) -> list[Job]:
        groups.append(len(jobs))
        return serve(self, jobs)

    await people.on("once")("create-collection")
    await people.on("once")("create-index", fields=["n"], unique=True)
    monkeypatch.setattr(Writer, "serve", counting)
    works = [
        insert("a"),
        insert("b ad"),
        insert("a"),
        make_work("insert", "nobody", {"document": {}}, claim=make_claim()),
        make_work("insert", "once", {"document": {"_key": "x", "n": 1}}, claim=make_claim()),
        make_work("insert", "once", {"document": {"_key": "y", "n": 1}}, claim=make_claim()),
        make_work("update-match", "once", {"filters": {}, "body": {"n": 2}, "limit": 5}),
        make_work("replace-match", "people", {"filters": {}, "body": {"bad": "\ud800"}}),
        make_work("create-collection", "people", {}, claim=make_claim()),
        make_work("create-collection", "made", {}, claim=make_claim()),
        make_work("insert", "made", {"document": {"_key": "m"}}, claim=make_claim()),
        insert("late", deadline_ms=now_ms() - 1),
        make_work("delete", "people", {"document": "none"}, claim=make_claim()),
        insert("z"),
    ]
    assert await outcomes(store, works) == [
        "done",
        "invalid_key",
        "unique_violation",
        "collection_not_found",
        "done",
        "unique_violation",
        "done",
        "invalid_document",
        "collection_exists",
        "done",
        "done",
        "deadline_exceeded",
        "document_not_found",
        "done",
    ]
    assert groups == [len(works)]
    assert [doc["_key"] for doc in (await people("find"))["documents"]] == ["a", "z"]
    assert await people.on("once").document("x") == {"n": 2}
    assert await people.on("made")("count") == 1
    refused = [works[place] for place in (1, 2, 3, 5, 8, 11, 12)]
    for work in works:
        if work.claim is not None:
            entry = await store.recall(DATABASE, work.claim.key)
            assert (entry is None) == (work in refused)


async def test_a_batch_that_fails_half_way_is_undone_in_its_group(directory: Path) -> None:
    """What a late work wrote before its time was over is gone; its neighbours stay."""
    clock = Clock()
    async with running(directory, clock=clock) as people:
        await people("insert", document={"_key": "old", "n": 1})
        documents = [{"_key": "old", "n": 2}, *({"_key": f"k{n}"} for n in range(500))]
        for unique in (False, True):
            if unique:
                await people("create-index", fields=["_key"], unique=True)
            batch = make_work(
                "insert-many",
                "people",
                {"documents": documents, "overwrite_mode": "update"},
                claim=make_claim(),
                deadline_ms=clock.now + 8,
            )
            clock.step = 1
            works = [insert(f"before{unique}"), batch, insert(f"after{unique}")]
            assert await outcomes(people.store, works) == ["done", "deadline_exceeded", "done"]
            clock.step = 0
            assert await people.document("old") == {"n": 1}
            assert await people("exists", document="k0") is False
            assert await people("count") == 3 + 2 * unique
            assert len((await people("find"))["documents"]) == 3 + 2 * unique


async def test_a_surprise_in_one_work_is_its_own(
    people: Caller, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw becomes `store_failure` for one work, not for its group."""

    def surprise(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setitem(SINGLE, "update", surprise)
    update = make_work("update", "people", {"document": {"_key": "a", "n": 1}})
    codes = await outcomes(store, [insert("a"), update, insert("b")])
    assert codes == ["done", "store_failure", "done"]
    with pytest.raises(StoreFailure) as failure:
        await store.execute(update)
    assert "secret" not in str(failure.value)
    assert await people("count") == 2


async def test_a_surprise_after_a_row_was_written_undoes_the_group(directory: Path) -> None:
    """What a unique index made us write at once cannot stay when its ledger entry fails."""
    async with running(directory) as people:
        await people("create-index", fields=["n"], unique=True)
        arguments = {"document": {"_key": "huge", "n": 2**70}, "return_new": True}
        huge = make_work("insert", "people", arguments, claim=make_claim())
        codes = await outcomes(people.store, [insert("a", n=1), huge, insert("b", n=2)])
        assert codes == ["store_failure"] * 3
        assert await people("count") == 0
        assert (await people("find"))["documents"] == []
        assert await outcomes(people.store, [insert("a", n=1), insert("b", n=2)]) == ["done"] * 2


async def test_a_group_ends_when_it_has_enough_bytes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one commit's worth of text is divided; everything is stored."""
    groups: list[int] = []
    serve = Writer.serve

    def counting(self: Writer, jobs: list[Job]) -> list[Job]:
        left = serve(self, jobs)
        groups.append(len(jobs) - len(left))
        return left

    monkeypatch.setattr(Writer, "serve", counting)
    async with running(directory, EmbeddedSettings(group_bytes=10_000)) as people:
        groups.clear()
        works = [insert(str(n), text="x" * 3_000) for n in range(20)]
        assert await outcomes(people.store, works) == ["done"] * 20
        assert groups == [4] * 5
        assert await people("count") == 20


class FailingCommit(sqlite3.Connection):
    """A connection whose next commit meets a failing disk."""

    failing: int | None = None
    before_writing = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """Run a statement; fail instead where it is the commit that has to fail."""
        if sql == "COMMIT" and FailingCommit.failing is not None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = FailingCommit.failing
            FailingCommit.failing = None
            if not self.before_writing:
                super().execute("ROLLBACK")
            raise error
        return super().execute(sql, *parameters)


@pytest.mark.parametrize(
    ("code", "before_writing", "expected"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, False, OutcomeUnknown),
        (sqlite3.SQLITE_FULL, False, Unavailable),
        (sqlite3.SQLITE_BUSY, True, Unavailable),
    ],
)
async def test_a_commit_that_fails_is_told_as_far_as_it_is_known(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    before_writing: bool,
    expected: type[MallkuError],
) -> None:
    """`unavailable` where nothing was written for certain, else `outcome_unknown`."""

    def connect(path: Path, settings: EmbeddedSettings) -> sqlite3.Connection:
        return sqlite3.connect(
            path, factory=FailingCommit, isolation_level=None, check_same_thread=False
        )

    monkeypatch.setattr(writer, "connect", connect)
    monkeypatch.setattr(FailingCommit, "before_writing", before_writing)
    async with running(directory) as people:
        FailingCommit.failing = code
        works = [insert("a"), insert("b")]
        assert await outcomes(people.store, works) == [expected.code] * 2
        assert await people("count") == 0
        assert await outcomes(people.store, works) == ["done"] * 2


async def test_an_entry_that_expired_frees_its_key(directory: Path) -> None:
    """It cannot be recalled, and another command under the same key is a first one."""
    clock = Clock()
    async with running(directory, clock=clock) as people:
        old = make_claim("k", expires_ms=clock.now + 1_000)
        document: dict[str, Any] = {"document": {}}
        await people.store.execute(make_work("insert", "people", document, claim=old))
        assert await people.store.recall(DATABASE, old.key) is not None
        clock.now += 1_001
        assert await people.store.recall(DATABASE, old.key) is None
        assert await people.store.recall(DATABASE, old.key, settled=True) is not None
        assert await people.store.recall_transmission(DATABASE, old.id, old.key[:32]) is None
        new = make_claim("k", fingerprint="other")
        done = await people.store.execute(make_work("insert", "people", document, claim=new))
        assert done.replayed is None
        entry = await people.store.recall(DATABASE, new.key)
        assert entry is not None
        assert entry.id == new.id


async def test_expired_entries_are_removed_in_bounded_steps(directory: Path) -> None:
    """Each commit removes a few; in the end none is left, and what has not expired stays."""
    clock = Clock()
    settings = EmbeddedSettings(ledger_sweep_entries=5, ledger_sweep_after_s=0)
    async with running(directory, settings, clock=clock) as people:
        for _ in range(4):
            claims = [make_claim(expires_ms=clock.now + 1_000) for _ in range(10)]
            works = [
                make_work("insert", "people", {"document": {}}, claim=claim) for claim in claims
            ]
            assert await outcomes(people.store, works) == ["done"] * 10
        connection = sqlite3.connect(directory / "mallku.sqlite")

        def expired() -> int:
            sql = "SELECT count(*) FROM mallku_ledger WHERE expires_ms < ?"
            return int(connection.execute(sql, (clock.now,)).fetchone()[0])

        clock.now += 2_000
        left = [expired()]
        for size in (10, 1, 1, 1):
            works = [insert(f"{len(left)}-{number}") for number in range(size)]
            assert await outcomes(people.store, works) == ["done"] * size
            left.append(expired())
        connection.close()
        # Twice what the commit adds, and five.
        assert left == [40, 15, 8, 1, 0]


async def test_works_of_a_group_see_what_went_before_them(
    people: Caller, store: EmbeddedStore
) -> None:
    """Written, changed, searched, emptied and made again within one commit."""
    await people("insert", document={"_key": "old", "n": 0})
    works = [
        make_work("update", "people", {"document": {"_key": "old", "n": 1}}),
        insert("a", n=1),
        make_work("update-match", "people", {"filters": {"n": 1}, "body": {"m": 1}}),
        make_work("delete", "people", {"document": "a"}),
        insert("a", n=2),
        make_work("upsert", "people", {"filters": {"m": 1}, "insert": {}, "update": {"m": 2}}),
        make_work("truncate", "people", {}),
        insert("old", n=3),
        make_work("delete", "people", {"document": "a", "ignore_missing": True}),
        make_work("drop-collection", "people", {}),
        make_work("create-collection", "people", {}),
        insert("old", n=4),
    ]
    answers = await asyncio.gather(*map(store.execute, works))
    results = [answer.result for answer in answers]
    assert (results[2], results[5]["type"], results[6], results[8]) == (2, "update", 2, False)
    positions = [answer.position or 0 for answer in answers]
    assert positions == sorted(set(positions))
    assert await people.document("old") == {"n": 4}
    assert await people("count") == 1
