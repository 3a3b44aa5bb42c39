"""A rebuild that is interrupted, at any point, goes on where it was."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    ConfigurationError,
    Unavailable,
)
from mallku_workers.rebuilding import Gathering, Identity, Rebuilt, WorkFile
from mallku_workers.stores import asking
from mallku_workers.stores.base import Done, Work
from mallku_workers.stores.copying import Side
from mallku_workers.stores.embedded import EmbeddedStore
from tests.workers.rebuilding.losing import altered, counted, is_repeatable
from tests.workers.rebuilding.world import DATABASE, Job, World, described, live, started


@dataclass
class Failing:
    """A store that fails at one work, before or after it did it."""

    side: Side
    left: int
    late: bool

    async def execute(self, work: Work) -> Done:
        """Do it, as long as there is something left."""
        self.left -= 1
        if not self.left and not self.late:
            raise Unavailable("the power is gone")
        done = await self.side.store.execute(work)
        if not self.left:
            raise Unavailable("the power is gone")
        return done


def _failing(left: int, late: bool, side: Side) -> Side:
    return Side(Failing(side, left, late), side.database, side.name)


@pytest.mark.parametrize("late", [False, True])
async def test_an_interrupted_rebuild_goes_on_where_it_was(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """However often, in the middle of anything: every commit takes effect as if it were once."""
    monkeypatch.setattr(asking, "TRIES", 1)

    def alter(intent: Record, record: Record) -> Record:
        is_lost = record.effects and is_repeatable(intent) and record.number % 3 == 0
        return counted(intent, record) if is_lost else record

    async with started(EmbeddedStore(tmp_path / "source")) as world:
        await live(world, 21, 240)
        entries = altered(world.entries(), alter)
        failures = 0
        rebuilt: Rebuilt | None = None
        for limit in itertools.count(3):
            try:
                rebuilt = await job.run(entries, through=partial(_failing, limit, late))
            except Unavailable:
                failures += 1
                continue
            break
        found = await job.compared(world.store)
    assert failures > 5
    assert rebuilt is not None
    assert rebuilt.whole
    assert not rebuilt.gaps
    assert found.same, described(found)


async def test_reading_that_was_interrupted_goes_on(world: World, job: Job) -> None:
    """What was read and not written down is read again, what was is passed over."""
    for number in range(30):
        await world.call("insert", "people", document={"_key": f"k{number}"})
    entries = world.entries()
    with job.file() as file:
        gathering = Gathering(file, job.wanted)
        for number, entry in enumerate(entries[:40]):
            gathering.take(entry)
            if number == 25:
                gathering.save()
    rebuilt = await job.run(entries)
    assert rebuilt.whole
    assert rebuilt.steps == 31
    assert (await job.compared(world.store)).same


def test_a_work_file_belongs_to_one_rebuild(tmp_path: Path) -> None:
    """Another trail, target or part of it is refused, and so is a second process."""
    path, mine = tmp_path / "folder" / "work.sqlite", Identity("MALLKU_AUDIT", DATABASE, "there")
    with WorkFile(path, mine), pytest.raises(ConfigurationError, match="elsewhere"):
        WorkFile(path, mine).__enter__()
    with pytest.raises(ConfigurationError, match="another rebuild"):
        WorkFile(path, replace(mine, target="elsewhere")).__enter__()
    path.write_text("no database")
    with pytest.raises(ConfigurationError, match="not the file of a rebuild"):
        WorkFile(path, mine).__enter__()
    assert path.parent.stat().st_mode & 0o777 == 0o700
