"""Faults under load, and nothing lost, nothing twice, nothing in secret, nothing out of order.

A minute of faults altogether, in three gateways. What is drawn follows from the seed; a failure
names the command that has the same round again.
"""

from __future__ import annotations

import itertools
import random
import signal
from pathlib import Path

import pytest

from mallku_deploy.events import WorkerLost
from mallku_workers.stores.copying import Credentials, open_target, read_spec
from tests.chaos.arenas import COLLECTION, arena_in
from tests.chaos.faults import Tormentor
from tests.chaos.losses import Losses
from tests.chaos.round import judge, play
from tests.chaos.schedule import GAPS_S, KINDS, STEPS, Kind, plan

SEED = 20_240_229
SECONDS = 20.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_anomaly(tmp_path: Path, kind: Kind) -> None:
    """Whatever is killed, hung, cut off or lost: the check finds nothing, and judges everything."""
    played = await play(tmp_path / "round", kind, SEED, SECONDS)
    found = [str(finding) for finding in played.verdict.findings] + played.surprises
    assert not found, f"{played.reproduction}\n" + "\n".join(map(str, [*played.faults, *found]))
    assert played.told["done"] > 50
    assert played.verdict.commits > 20
    assert played.verdict.compared > 20
    assert played.kills["worker"] > 0
    assert played.struck


async def test_a_document_that_no_command_made_is_found(tmp_path: Path) -> None:
    """Nobody knows the key of what an insert left that was done twice; all keys are looked at."""
    histories = tmp_path / "histories"
    histories.mkdir()
    async with arena_in(tmp_path / "round", "single") as arena:
        async with arena.world.client(history_file=histories / "client.jsonl") as db:
            await db.collection(COLLECTION).insert({"n": 1})
        store = read_spec(f"embedded:{arena.world.house.store}")
        async with open_target(store, Credentials()) as side:
            doubled = await side.ask("insert", COLLECTION, document={"n": 1})
        verdict = await judge(arena, histories, set())
    [finding] = verdict.findings
    assert (finding.kind, finding.about) == ("store-differs", doubled["_id"])


async def test_a_worker_that_ends_by_itself_is_no_planned_kill(tmp_path: Path) -> None:
    """A segmentation fault is a surprise in a round, and so is an end with an exit code."""
    async with arena_in(tmp_path, "single") as arena:
        tormentor, losses = Tormentor(arena, random.Random(SEED)), Losses()
        async with losses.watching(tormentor):
            for number in (signal.SIGKILL, signal.SIGSEGV):
                await arena.world.replaced(await arena.world.kill("worker-1", number))
    [surprise] = losses.surprises
    assert "SIGSEGV" in surprise
    assert losses.killed == 1


@pytest.mark.parametrize("outside", [True, False])
def test_what_ends_while_broker_or_store_are_away_is_excused(outside: bool) -> None:
    """Then a worker may not be able to go on; its words are kept."""
    losses = Losses()
    for reason in ("ended with 1", "was killed by SIGABRT", "was silent for 5 s"):
        losses.add(WorkerLost("worker-1", 7, reason, 0.1), outside=outside)
    assert losses.killed == 1
    assert losses.excused.total() == (2 if outside else 0)
    assert len(losses.surprises) == (0 if outside else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_follows_from_its_seed(kind: Kind) -> None:
    """The same seed gives the same faults, another one gives others."""
    assert plan(kind, 60, 1) == plan(kind, 60, 1)
    assert plan(kind, 60, 1) != plan(kind, 60, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_half_an_hour_strikes_at_every_step(kind: Kind) -> None:
    """No step is left out, and faults keep coming."""
    faults = plan(kind, 600, 1)
    assert {fault.of for fault in faults if fault.name in ("strike", "hang")} >= set(STEPS)
    gaps = [later.at_s - former.at_s for former, later in itertools.pairwise(faults)]
    assert max(gaps) <= GAPS_S[kind][1]
