from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import pytest

from mallku_contracts.errors import MallkuError
from mallku_contracts.operations import OPERATIONS
from mallku_contracts.policy import CompiledPolicy, read_policy
from mallku_workers.message import STEPS, Case
from mallku_workers.observing.tally import (
    BOUNDS_US,
    MAX_COLLECTIONS,
    MAX_PRINCIPALS,
    OTHERS,
    UNKNOWN,
    CollectionClasses,
    Histogram,
    Names,
    Tally,
)
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_trail import Fate
from tests.workers.world import COMPILED, Cluster, Worker, pause

INSERT = {"document": {"_key": "k1", "kind": "khipu"}}


@dataclass
class Watched:
    """A worker whose pipeline is counted."""

    worker: Worker
    tally: Tally


@pytest.fixture
def watched(worker: Worker) -> Watched:
    """A worker, and what is counted of its commands."""
    tally = Tally(CollectionClasses(lambda: COMPILED))
    worker.pipeline = replace(worker.pipeline, observer=tally)
    return Watched(worker, tally)


async def test_what_becomes_of_commands_is_counted(
    watched: Watched, caller: SimulatedCaller
) -> None:
    """Each command counts once: by operation, class, outcome and code, and for its endpoint."""
    await watched.worker.take(caller.seal("insert", INSERT))
    await watched.worker.take(caller.seal("get", {"document": "k1"}))
    await watched.worker.take(caller.seal("truncate", {}))
    tally = watched.tally
    assert tally.commands == {
        ("insert", "plain", "done", "ok"): 1,
        ("get", "plain", "done", "ok"): 1,
        ("truncate", "refused", "denied", "permission_denied"): 1,
    }
    assert (tally.requests, tally.errors) == (3, 1)
    assert tally.endpoints["truncate"].last_error == "301:permission_denied"
    assert tally.endpoints["insert"].processing_ns > 0
    assert tally.principals == {("mallku", "done"): 2, (UNKNOWN, "denied"): 1}
    assert tally.collections[("memory_anchors", "write", "done")] == 1


async def test_each_step_is_timed_once(watched: Watched, caller: SimulatedCaller) -> None:
    """A command that passes is in every step's histogram; a refused one up to where it stopped."""
    await watched.worker.take(caller.seal("insert", INSERT))
    assert {step: sum(watched.tally.steps[step].counts) for step in STEPS} == dict.fromkeys(
        STEPS, 1
    )
    await watched.worker.take(caller.seal("truncate", {}))
    counts = [sum(watched.tally.steps[step].counts) for step in STEPS]
    assert counts == [2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 2]


async def test_a_slow_step_that_fails_is_seen(watched: Watched, caller: SimulatedCaller) -> None:
    """What a trail that is silent took stands in the step `intend`, although nothing passed it."""
    watched.worker.trail.fate = lambda _record: Fate.LOST
    answer = await watched.worker.take(caller.seal("insert", INSERT))
    assert answer.error.code == "audit_unavailable"
    assert watched.tally.steps["intend"].total_us >= 40_000
    assert sum(watched.tally.steps["execute"].counts) == 0


async def test_a_replayed_effect_is_a_ledger_hit(watched: Watched, caller: SimulatedCaller) -> None:
    """A second attempt whose effect is there already counts as a hit of the ledger."""
    first = caller.seal("insert", INSERT)
    await watched.worker.take(first)
    assert watched.tally.ledger_hits == 0
    assert (await watched.worker.take(caller.again(first))).result["_key"] == "k1"
    assert watched.tally.ledger_hits == 1


async def test_strangers_make_no_names(watched: Watched) -> None:
    """Whatever subjects strangers make up, not one of their words becomes the name of a series."""
    worker, tally = watched.worker, watched.tally
    for _ in range(200):
        word = f"w{secrets.token_hex(6)}"
        stranger = SimulatedCaller.of(word, "service")
        sent = stranger.seal("get", {"document": "k"}, collection=word)
        await worker.take(sent)
        parts = str(sent.subject).rsplit(".", 1)
        await worker.take_raw(sent, subject=f"{parts[0]}.{word}")
    verbs = {verb for verb, _, _, _ in tally.commands}
    assert verbs <= {*OPERATIONS, UNKNOWN}
    assert {name for name, _ in tally.principals} == {UNKNOWN}
    assert not tally.collections
    assert set(tally.endpoints) == set(OPERATIONS)


async def test_names_that_may_be_used_are_bounded(
    watched: Watched, caller: SimulatedCaller
) -> None:
    """Of a thousand collections that a caller may use 64 have a name; the rest counts as one."""
    for number in range(MAX_COLLECTIONS + 50):
        sent = caller.seal("insert", INSERT, collection=f"c{number}")
        assert (await watched.worker.take(sent)).result
        await pause()
    names = {name for name, _, _ in watched.tally.collections}
    assert len(names) == MAX_COLLECTIONS + 1
    assert watched.tally.collections[(OTHERS, "write", "done")] == 50


async def test_what_is_not_there_gets_no_name(watched: Watched, caller: SimulatedCaller) -> None:
    """A caller that asks for made-up collections cannot use up the names of real ones."""
    for number in range(MAX_COLLECTIONS):
        await watched.worker.take(
            caller.seal("delete", {"document": "none"}, collection=f"c{number}")
        )
        await pause()
    assert {name for name, _, _ in watched.tally.collections} == {OTHERS}
    await watched.worker.take(caller.seal("insert", INSERT))
    assert watched.tally.collections[("memory_anchors", "write", "done")] == 1


def test_principals_are_bounded_too() -> None:
    """The 65th name, and every one after it, is `_other`; those that were known stay."""
    names = Names(MAX_PRINCIPALS)
    first = [names.bounded(f"p{number}") for number in range(MAX_PRINCIPALS)]
    assert first == [f"p{number}" for number in range(MAX_PRINCIPALS)]
    assert names.bounded("another") == OTHERS
    assert names.bounded("p0") == "p0"


@pytest.mark.parametrize(
    ("us", "place"), [(0, 0), (50, 0), (51, 1), (5_000_000, 13), (5_000_001, 14)]
)
def test_a_bucket_holds_its_upper_bound(us: int, place: int) -> None:
    """As Prometheus has it: `le` means less or equal; what is longer than all is in the last."""
    histogram = Histogram()
    histogram.add(us)
    assert histogram.counts.index(1) == place
    assert len(histogram.counts) == len(BOUNDS_US) + 1


async def test_an_observer_is_told_of_what_breaks(caller: SimulatedCaller) -> None:
    """A surprise in a step is an `internal` that was counted, and the slot is free again."""
    worker = Worker(Cluster())
    told: list[tuple[Case, MallkuError | None]] = []

    class Listener:
        def ended(self, case: Case, error: MallkuError | None) -> None:
            told.append((case, error))

    def breaks(*_: object) -> None:
        raise RuntimeError

    worker.seen.refuse_replay = breaks  # type: ignore[method-assign,assignment]
    worker.pipeline = replace(worker.pipeline, observer=Listener())
    await worker.take(caller.seal("insert", INSERT))
    [(case, error)] = told
    assert error is not None
    assert (error.code, case.broke_off and case.broke_off[0]) == ("internal", "replay")
    assert worker.slots.in_flight == 0


def test_classes_follow_the_policy_in_force() -> None:
    """A collection's class is the policy's to say, and another policy says it anew."""
    current = [COMPILED]
    classes = CollectionClasses(lambda: current[0])
    assert (classes("memory_anchors"), classes("@")) == ("plain", "none")
    text = "version: 8\nroles: {}\nprincipals: {}\ncollections:\n  memory_*: {immutable: true}\n"
    current[0] = CompiledPolicy(read_policy(text, "policy"))
    assert (classes("memory_anchors"), classes("other")) == ("governed", "plain")
    text = text.replace("immutable: true", "requires_security: true")
    current[0] = CompiledPolicy(read_policy(text, "policy"))
    assert classes("memory_anchors") == "secured"
