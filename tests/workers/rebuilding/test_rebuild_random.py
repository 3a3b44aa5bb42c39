"""What a trail tells is enough: a random mix of everything is made again, field by field."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from mallku_contracts.operations import OPERATIONS
from mallku_workers.stores.arango import ArangoSettings, ArangoStore
from mallku_workers.stores.base import Store
from mallku_workers.stores.embedded import EmbeddedStore
from tests.support.simulated_arango import SimulatedArango
from tests.workers.rebuilding.world import Job, described, live, started

COMMANDS = 540
SEEDS = range(3)


def _store(kind: str, folder: Path, stack: ExitStack) -> Store:
    if kind == "embedded":
        return EmbeddedStore(folder / "source")
    (folder / "server").mkdir()
    server = SimulatedArango(folder / "server")
    stack.callback(server.close)
    return ArangoStore(ArangoSettings(url=server.url, connections=8))


def _target(kind: str, folder: Path, stack: ExitStack) -> str:
    if kind == "embedded":
        return f"embedded:{folder / 'target'}"
    (folder / "other").mkdir()
    server = SimulatedArango(folder / "other")
    stack.callback(server.close)
    return f"arango:{server.url}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("source", "target"), [("embedded", "embedded"), ("arango", "embedded"), ("embedded", "arango")]
)
async def test_a_random_mix_of_every_operation_is_rebuilt(
    tmp_path: Path, source: str, target: str, seed: int
) -> None:
    """Through the real pipeline, commands meeting each other; then the same documents and keys."""
    with ExitStack() as stack:
        store = _store(source, tmp_path, stack)
        job = Job(tmp_path, _target(target, tmp_path, stack))
        async with started(store) as world:
            await live(world, seed, COMMANDS)
            entries = world.entries()
            done = Counter(
                entry.subject.split(".")[-2] for entry in entries if entry.subject.endswith(".done")
            )
            mutating = {name for name, known in OPERATIONS.items() if known.mutates}
            assert mutating - {"redrive", "report-violation"} <= done.keys()
            rebuilt = await job.run(entries)
            found = await job.compared(store)
        assert rebuilt.whole, (rebuilt.missing, rebuilt.lost)
        assert not rebuilt.gaps, rebuilt.gaps[:3]
        assert not rebuilt.implied
        assert found.same, described(found)
        assert sum(one.documents for one in found.collections)


async def test_the_order_of_outcomes_does_not_matter(tmp_path: Path) -> None:
    """Outcomes may stand in the trail hours behind their commits: positions alone decide."""
    async with started(EmbeddedStore(tmp_path / "source")) as world:
        await live(world, 7, 200)
        entries = world.entries()
        intents = [entry for entry in entries if entry.subject.endswith(".intent")]
        others = [entry for entry in entries if not entry.subject.endswith(".intent")]
        random.Random(1).shuffle(others)
        moved = [
            entry._replace(sequence=at) for at, entry in enumerate([*intents, *others], start=1)
        ]
        job = Job(tmp_path, f"embedded:{tmp_path / 'target'}")
        rebuilt = await job.run(moved)
        found = await job.compared(world.store)
    assert rebuilt.whole
    assert found.same, described(found)
