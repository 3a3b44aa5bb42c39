"""No open ends: real workers are killed at every step, and others find out what became of it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mallku_broker.jetstream import ask
from mallku_broker.reconciliation import read_former
from mallku_broker.streams import RATES
from mallku_broker.trust import load_trust
from mallku_client.trail import AuditReader
from mallku_contracts.audit import Resolution
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable
from mallku_contracts.governed import GATEWAY
from mallku_contracts.subjects import PREFIX
from mallku_contracts.trail.findings import Kind
from mallku_deploy.auditing.reconcile import ask_to_reconcile
from mallku_deploy.auditing.verify import Order, verify_trail
from mallku_deploy.demo.trail import Trail
from mallku_deploy.server import connect_as
from tests.integration.stage import (
    RUNTIME_MS,
    SKEW_MS,
    Stage,
    eventually,
    of,
    open_ends,
    resolutions,
    stage_in,
)
from tests.integration.world import World, exchange, until
from tests.support.failpoints import AFTER_COMMIT, AFTER_INTENT, AFTER_OUTCOME, BEFORE_INTENT
from tests.support.simulated_caller import Sent, now_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A gateway with two workers that reconcile every moment."""
    async with stage_in(tmp_path, monkeypatch) as stage:
        yield stage


async def agree(stage: Stage, sent: dict[str, Sent]) -> Trail:
    """Trail and store agree about each command, and the trail says it once; the trail."""
    trail = await stage.settled(lambda trail: not open_ends(trail))
    for name, each in sent.items():
        intents, outcomes = of(trail, each, "intent"), of(trail, each, "done", "failed")
        resolved, there = resolutions(trail, each), await stage.has(name)
        assert len(outcomes) + len(resolved) == len(intents), name
        assert there == (name in (*AFTER_COMMIT, *AFTER_OUTCOME)), name
        if name in BEFORE_INTENT:
            assert intents == [], name
        elif resolved:
            assert resolved == ["committed" if there else "not-applied"], name
    assert (await stage.world.verify()).findings.accusations == []
    return trail


@pytest.mark.timeout(180)
async def test_a_worker_killed_at_any_step_leaves_no_open_end(stage: Stage) -> None:
    """Kill -9 at every step: trail and store agree about each command, and say it once.

    Without an intent nothing was done. With one there is its outcome, or one resolution: committed
    where the document is there, not applied where it is not.
    """
    names = (*BEFORE_INTENT, *AFTER_INTENT, *AFTER_COMMIT, *AFTER_OUTCOME)
    sent = {name: await stage.strike(name) for name in names}
    trail = await agree(stage, sent)
    for name in ("intend", "executing", "committed", "execute"):
        assert resolutions(trail, sent[name]), name


@pytest.mark.timeout(180)
async def test_a_worker_that_hangs_at_any_step_leaves_no_open_end(stage: Stage) -> None:
    """SIGSTOP at every step around the effect: the supervisor removes it, and the same holds."""
    names = ("intending", *AFTER_INTENT, *AFTER_COMMIT, *AFTER_OUTCOME)
    sent = {name: await stage.strike(name, number=signal.SIGSTOP) for name in names}
    trail = await agree(stage, sent)
    for name in ("intend", "executing", "committed", "execute"):
        assert resolutions(trail, sent[name]), name


async def test_a_committed_mutation_is_resolved_with_its_effects(stage: Stage) -> None:
    """What a rebuild needs is in the resolution: position, revisions, and the new version."""
    sent = await stage.strike("committed")
    trail = await stage.settled(lambda trail: not open_ends(trail))
    [record] = of(trail, sent, "resolved")
    [intent] = of(trail, sent, "intent")
    async with stage.world.client() as client:
        document = await client.collection("memory_anchors").get("committed")
    assert document is not None
    assert record.effects == (
        {
            "collection": "memory_anchors",
            "key": "committed",
            "old_rev": None,
            "new_rev": document["_rev"],
            "new": document,
        },
    )
    assert record.position is not None
    assert (record.resolves["worker"], record.resolves["number"]) == (intent.worker, intent.number)
    assert trail.hashes[record.resolves["sequence"]]
    assert record.worker != intent.worker


async def test_outcome_agrees_with_what_was_found_out(stage: Stage) -> None:
    """Asked by transmission: done where it was committed, not known where it was not applied."""
    sent = {name: await stage.strike(name) for name in ("committed", "intend")}
    await stage.settled(lambda trail: not open_ends(trail))
    for name, state in (("committed", "done"), ("intend", "unknown")):
        asked = stage.caller.seal("outcome", {"id": sent[name].header.id}, None)
        answer = await exchange(stage.connection, asked)
        known = sent[name].header.id if state == "done" else None
        assert (answer.result["state"], answer.result["id"]) == (state, known)


async def test_a_version_that_is_gone_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed again before anybody looked: revisions and position stand, the version is omitted."""
    async with stage_in(tmp_path, monkeypatch, RECONCILE_UNTOUCHED_S=4) as stage:
        sent = await stage.strike("committed")
        async with stage.world.client() as client:
            await client.collection("memory_anchors").update({"_key": "committed", "n": 2})
        trail = await stage.settled(lambda trail: not open_ends(trail))
        [record] = of(trail, sent, "resolved")
        [update] = [each for each in trail.records if each.kind == "done" and each.effects][-1:]
    [effect], [later] = record.effects, update.effects
    assert effect["omitted"] is True
    assert effect["new"] is None
    assert effect["new_rev"] == later["old_rev"]
    assert record.position is not None
    assert update.position is not None
    assert record.position < update.position


async def test_a_read_is_possibly_answered(stage: Stage) -> None:
    """Nobody knows whether the answer of a read arrived; that is said, once its time is over."""
    sent = await stage.strike("intend", "get")
    trail = await stage.settled(lambda trail: not open_ends(trail))
    [record] = of(trail, sent, "resolved")
    assert record.resolution == Resolution.POSSIBLY_ANSWERED
    assert record.time >= sent.header.exp + SKEW_MS + RUNTIME_MS


async def test_nothing_is_called_not_applied_before_its_time(stage: Stage) -> None:
    """Until the store's clock has passed exp, skew and runtime, it is pending, and said once."""
    sent = await stage.strike("intend")
    trail = await stage.settled(lambda trail: not open_ends(trail))
    found = [(record.resolution, record.time) for record in of(trail, sent, "resolved")]
    assert [resolution for resolution, _ in found] == ["pending", "not-applied"]
    assert found[0][1] < sent.header.exp + SKEW_MS + RUNTIME_MS <= found[1][1]


async def test_a_worker_that_goes_on_agrees_with_what_was_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP and SIGCONT around a resolution: the late outcome says the same."""
    monkeypatch.setattr("mallku_deploy.life.SILENCE_S", 60.0)
    async with stage_in(tmp_path, monkeypatch) as stage:
        stage.failpoints.arm("committed", signal.SIGSTOP)
        sent = stage.send("insert", {"document": {"_key": "late"}})
        await until("struck", lambda: stage.failpoints.struck("committed"))
        trail = await stage.settled(lambda trail: bool(resolutions(trail, sent)))
        for pid in stage.world.workers.values():
            os.kill(pid, signal.SIGCONT)
        trail = await stage.settled(lambda trail: bool(of(trail, sent, "done")))
    assert resolutions(trail, sent) == ["committed"]
    [done], [resolved] = of(trail, sent, "done"), of(trail, sent, "resolved")
    assert done.effects == resolved.effects
    assert done.position == resolved.position


async def test_another_attempt_is_told_apart(stage: Stage) -> None:
    """The first attempt did nothing, the second did: one is not applied, the other is done."""
    first = await stage.strike("executing")
    again = stage.caller.again(first)
    stage.connection.post(str(again.subject), again.data, reply=again.reply)
    trail = await stage.settled(lambda trail: not open_ends(trail) and bool(of(trail, again)))
    assert resolutions(trail, first) == ["not-applied"]
    assert of(trail, first, "resolved")[-1].reason.endswith(again.header.id)
    assert len(of(trail, again, "done")) == 1


@pytest.mark.parametrize("place", ["looked", "resolving", "resolved", "all-resolved"])
async def test_a_reconciler_that_is_killed_is_no_worse_than_any_worker(
    stage: Stage, place: str
) -> None:
    """Kill -9 in the middle of a run: the next one ends it, and nothing is resolved twice.

    Whoever runs also serves: struck too early, it would take a command with it that was sent once.
    """
    names = ("committed", "intend", "execute")
    with stage.failpoints.reconcilers_held():
        stage.failpoints.arm(place)
        sent = [await stage.strike(name) for name in names]
        assert not stage.failpoints.struck(place)
    await until(f"{place} struck", lambda: stage.failpoints.struck(place))
    trail = await stage.settled(lambda trail: not open_ends(trail))
    found = [resolutions(trail, each) for each in sent]
    assert found == [["committed"], ["not-applied"], ["committed"]]


async def test_several_reconcilers_say_a_thing_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that run all the time, on the same intents, at the same moment: one resolution each.

    Turns of a tenth of a second are shorter than a run.
    """
    async with stage_in(tmp_path, monkeypatch, RECONCILE_EVERY_S=0.1) as stage:
        sent = [await stage.strike(name) for name in ("committed", "intend", "executing")]
        trail = await stage.settled(lambda trail: not open_ends(trail))
        again = await stage.world.trail(settle_s=0)
    for each in sent:
        assert len(resolutions(trail, each)) == 1
        assert resolutions(again, each) == resolutions(trail, each)
        pending = Counter(record.resolution for record in of(again, each, "resolved"))
        assert max(pending.values()) == 1


async def test_one_of_several_workers_reads_the_trail(stage: Stage) -> None:
    """Workers count whose turn it is, on counters that they share."""
    await stage.strike("intend")
    await stage.settled(lambda trail: not open_ends(trail))
    connection = await connect_as(stage.world.furnished, "administrator", stage.world.gateway.url)
    try:
        counters = await ask(
            connection, f"STREAM.INFO.{RATES}", {"subjects_filter": f"{PREFIX}.rate.{GATEWAY}.*"}
        )
    finally:
        await connection.close()
    assert counters["state"]["subjects"]


async def test_the_floor_follows_and_never_passes_an_open_intent(stage: Stage) -> None:
    """What was read once is not read again, and an intent that is pending is."""
    sent = await stage.strike("intend")
    trail = await stage.settled(lambda trail: not open_ends(trail))
    closed = of(trail, sent, "resolved")[-1]
    sequence = closed.resolves["sequence"]
    floors = [
        each.facts["floor"]
        for each in trail.administrative
        if "floor" in each.facts and each.time < closed.time
    ]
    assert floors
    assert max(floors) <= sequence
    connection = await connect_as(stage.world.furnished, "administrator", stage.world.gateway.url)
    try:
        await eventually(lambda: read_former(connection), lambda former: former.floor > sequence)
    finally:
        await connection.close()


async def test_the_last_records_of_a_dead_worker_are_vouched_for(stage: Stage) -> None:
    """Killed before its checkpoint: another one covers what stands there, and the trail verifies.

    An auditor who looks when nothing can be under way any more finds nothing to accuse.
    """
    sent = await stage.strike("committed")
    [intent] = of(await stage.world.trail(settle_s=0), sent, "intent")

    def vouched(trail: Trail) -> bool:
        return any(intent.worker in each.facts.get("vouched", ()) for each in trail.administrative)

    await stage.settled(vouched)
    trust = load_trust(stage.world.house.trust)
    async with stage.world.connection("auditor") as connection:
        order, trail = Order(trust=trust, jobs=1, quiet=True), AuditReader(connection)
        # The newest records of those that live are covered a moment later.
        report = await eventually(
            lambda: verify_trail(trail, order, lambda: now_ms() + 600_000),
            lambda report: report.clean,
        )
    assert report.findings.counts[Kind.VOUCHED] == 1


async def test_many_dead_workers_are_vouched_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run speaks for all that are dead: nobody's open ends wait for one checkpoint each."""
    silent_s = 4
    async with stage_in(
        tmp_path, monkeypatch, RECONCILE_EVERY_S=3_600, RECONCILE_SILENT_S=silent_s
    ) as stage:
        sent = [await stage.strike(name) for name in ("committed", "intend", "execute")]
        trail = await stage.world.trail(settle_s=0)
        dead = {of(trail, each, "intent")[0].worker for each in sent}
        end = now_ms() + silent_s * 1_000
        await until("all of them silent", lambda: now_ms() > end)
        said = await ask_to_reconcile(stage.world.administrator_settings(), 20)
        trail = await stage.world.trail(settle_s=0)
    before = {
        worker
        for each in trail.administrative
        for worker in each.facts.get("vouched", ())
        if each.facts.get("asked") != said["asked"]
    }
    assert set(said["vouched"]) >= dead - before
    assert len(dead - before) > 1


async def test_an_administrator_can_ask_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that would wait for an hour do it at once, one of them, and say what they found."""
    async with stage_in(tmp_path, monkeypatch, RECONCILE_EVERY_S=3_600) as stage:
        administrator = stage.world.administrator_settings()
        sent = await stage.strike("committed")
        facts = await eventually(
            lambda: ask_to_reconcile(administrator, 20), lambda facts: facts["left"] == 0
        )
        trail = await stage.world.trail(settle_s=0)
        assert resolutions(trail, sent) == ["committed"]
        assert open_ends(trail) == set()
        again = await ask_to_reconcile(administrator, 20)
        assert again["asked"] > facts["asked"]
        assert again["floor"] >= facts["floor"]
        answers = [each.facts.get("asked") for each in trail.administrative]
        assert Counter(answers)[facts["asked"]] == 1


async def test_nobody_but_an_administrator_can_ask(world: World) -> None:
    """The broker lets neither callers nor auditors write where workers would hear it."""
    for principal in ("mallku", "auditor"):
        with pytest.raises((ConfigurationError, GatewayUnreachable)):
            await ask_to_reconcile(world.client_settings(principal), 5)
