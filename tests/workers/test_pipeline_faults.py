from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from mallku_contracts.audit import Record
from mallku_contracts.errors import (
    AuditUnavailable,
    DeadlineExceeded,
    InternalError,
    OutcomePending,
    OutcomeUnknown,
    StoreFailure,
    Unavailable,
)
from mallku_contracts.limits import MAX_DEPTH, MAX_RECORD_BYTES
from mallku_workers.stores.base import Done, Effect
from tests.support.simulated_caller import SimulatedCaller, now_ms
from tests.support.simulated_store import SimulatedStore
from tests.support.simulated_trail import Fate
from tests.workers.world import WAIT_S, Cluster, Worker, message_of, until

INSERT = {"document": {"_key": "k1"}}
READ = {"document": "k1"}


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.UNHEARD, Fate.REFUSED, Fate.UNSENT])
@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_no_audit_no_execution(
    worker: Worker, caller: SimulatedCaller, operation: str, fate: Fate
) -> None:
    """However the trail fails to acknowledge the intent: `audit_unavailable`, the store untouched.

    It is said within the wait, it is retryable, and the intent is sent once.
    """
    worker.trail.fate = lambda record: fate if record.kind == "intent" else Fate.STORED
    begun = time.monotonic()
    answer = await worker.take(caller.seal(operation, INSERT if operation == "insert" else READ))
    assert isinstance(answer.error, AuditUnavailable)
    assert answer.error.retryable
    assert time.monotonic() - begun < 20 * WAIT_S
    assert worker.store.works == []
    assert worker.trail.tries.count("intent") == 1


async def test_an_intent_that_may_stand_is_always_ended(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Its acknowledgement was lost: a `denied` says that nothing was executed, flood or not."""
    flood = [caller.seal("get", {"nonsense": 1}) for _ in range(15)]
    for sent in flood:
        await worker.take(sent)
    worker.trail.fate = lambda record: Fate.UNHEARD if record.kind == "intent" else Fate.STORED
    sent = caller.seal("insert", INSERT)
    await worker.take(sent)
    ended = [record for record in worker.trail.records() if record.id == sent.header.id]
    assert [(record.kind, record.code) for record in ended] == [
        ("intent", None),
        ("denied", "audit_unavailable"),
    ]


async def test_a_refusal_never_takes_the_place_of_an_outcome(
    cluster: Cluster, caller: SimulatedCaller
) -> None:
    """One worker gives up on a lost intent, another executes a copy: the true outcome stands."""
    first, second = Worker(cluster, "w1"), Worker(cluster, "w2")
    sent = caller.seal("insert", INSERT)
    cluster.trail.fate = lambda _record: Fate.LOST
    assert isinstance((await first.take(sent)).error, AuditUnavailable)
    cluster.trail.fate = lambda _record: Fate.STORED
    receipt = (await second.take(sent)).body["receipt"]
    await first.audit.flush(1.0)
    assert cluster.trail.stream[receipt["sequence"] - 1].record.kind == "done"
    assert sorted(cluster.trail.kinds()) == ["denied", "done", "intent"]


async def test_the_outcome_is_repeated_until_it_is_acknowledged(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Lost, refused, unsent, unheard: the same record again and again, stored once."""
    fates = [Fate.LOST, Fate.REFUSED, Fate.UNSENT, Fate.UNHEARD, Fate.STORED]

    def fate(record: Record) -> Fate:
        return fates.pop(0) if record.kind == "done" else Fate.STORED

    worker.trail.fate = fate
    answer = await worker.take(caller.seal("insert", INSERT))
    assert isinstance(answer.error, OutcomePending)
    assert await worker.audit.flush(20 * WAIT_S) == 0
    assert worker.trail.kinds() == ["intent", "done"]
    assert worker.trail.tries.count("done") == 5


async def test_outcome_pending_says_that_the_effect_stands(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The caller learns that the command was carried out, within the wait, and by which id."""
    worker.trail.fate = lambda record: Fate.LOST if record.kind == "done" else Fate.STORED
    sent = caller.seal("insert", INSERT)
    error = (await worker.take(sent)).error
    assert isinstance(error, OutcomePending)
    assert not error.retryable
    assert error.details == {"id": sent.header.id}
    assert len(worker.store.documents) == 1
    worker.trail.fate = lambda _record: Fate.STORED
    assert await worker.audit.flush(20 * WAIT_S) == 0
    assert worker.trail.kinds() == ["intent", "done"]


async def test_too_many_outcomes_that_wait(worker: Worker, caller: SimulatedCaller) -> None:
    """Nothing new is executed while the trail owes too much, and refusals do not make it more."""
    worker.trail.fate = lambda record: Fate.UNSENT if record.kind == "done" else Fate.STORED
    for _ in range(50):
        await worker.take(caller.seal("get", READ))
    assert worker.audit.pending == 50
    asked = len(worker.store.works)
    for _ in range(20):
        answer = await worker.take(caller.seal("get", READ))
        assert isinstance(answer.error, AuditUnavailable)
    assert len(worker.store.works) == asked
    assert worker.audit.pending == 50
    worker.trail.fate = lambda _record: Fate.STORED
    assert await worker.audit.flush(1.0) == 0
    assert sum(record.count for record in worker.trail.records("denied")) == 20


async def test_a_surprise_is_bland(worker: Worker, caller: SimulatedCaller) -> None:
    """An unexpected exception is `internal` with a correlation id; what it was, the log knows.

    The intent of a mutation stays open: only the ledger can tell.
    """
    worker.store.fault = RuntimeError("password=hunter2")
    sent = caller.seal("insert", INSERT)
    with capture_logs() as logs:
        reply = await worker.take_raw(sent)
    assert b"hunter2" not in reply
    (line,) = [entry for entry in logs if entry["event"] == "unexpected"]
    assert "hunter2" in repr(line["exc_info"])
    assert line["correlation"].encode() in reply
    assert line["id"] == sent.header.id
    assert worker.trail.kinds() == ["intent"]


async def test_a_surprise_in_a_read_ends_its_intent(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """A read has no effect that could be in doubt: its intent gets its outcome."""
    worker.store.fault = RuntimeError("surprise")
    assert isinstance((await worker.take(caller.seal("get", READ))).error, InternalError)
    assert worker.trail.kinds() == ["intent", "failed"]


async def test_a_surprise_before_the_intent(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it happens, the caller gets an answer, and the trail a `denied`."""

    def explode(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(worker.seen, "refuse_replay", explode)
    assert isinstance((await worker.take(caller.seal("insert", INSERT))).error, InternalError)
    assert worker.trail.kinds() == ["denied"]


async def test_an_unknown_outcome_leaves_the_intent_open(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The store cannot say: `outcome_unknown`, and no record claims to know."""
    worker.store.fault = OutcomeUnknown("the commit failed")
    assert isinstance((await worker.take(caller.seal("insert", INSERT))).error, OutcomeUnknown)
    assert worker.trail.kinds() == ["intent"]


@pytest.mark.parametrize("fault", [Unavailable("gone"), StoreFailure("odd"), DeadlineExceeded("")])
async def test_a_failure_without_effect_ends_the_intent(
    worker: Worker, caller: SimulatedCaller, fault: Exception
) -> None:
    """The caller gets the store's code, and so does the trail."""
    worker.store.fault = fault
    answer = await worker.take(caller.seal("insert", INSERT))
    assert type(answer.error) is type(fault)
    assert [(record.kind, record.code) for record in worker.trail.records()] == [
        ("intent", None),
        ("failed", answer.error.code),
    ]


async def test_a_failure_is_told_although_its_record_waits(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """That nothing was done can be said before the trail has it; the record follows."""
    worker.trail.fate = lambda record: Fate.LOST if record.kind == "failed" else Fate.STORED
    answer = await worker.take(caller.seal("insert", INSERT, "missing"))
    assert answer.error.code == "collection_not_found"
    worker.trail.fate = lambda _record: Fate.STORED
    assert await worker.audit.flush(20 * WAIT_S) == 0
    assert worker.trail.kinds() == ["intent", "failed"]


async def test_a_budget_that_is_over_before_the_command_begins(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """It waited too long in the worker: `deadline_exceeded`, nothing executed, no intent."""
    sent = caller.seal("insert", INSERT, budget=100)
    answer = await worker.take(sent, received_s=time.monotonic() - 0.2)
    assert isinstance(answer.error, DeadlineExceeded)
    assert worker.store.works == []
    assert worker.trail.kinds() == ["denied"]


async def test_a_budget_that_is_over_after_the_intent(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The trail took longer than the caller had: nothing executed, the intent is ended."""
    worker.trail.fate = lambda record: Fate.HELD if record.kind == "intent" else Fate.STORED
    sent = caller.seal("insert", INSERT, budget=20)
    task = asyncio.ensure_future(worker.take(sent))
    over = time.monotonic() + 0.02
    await until(lambda: time.monotonic() > over)
    worker.trail.release()
    assert isinstance((await task).error, DeadlineExceeded)
    assert worker.store.works == []
    assert worker.trail.kinds() == ["intent", "failed"]


@pytest.mark.parametrize("late_ms", [5_000, 25_000])
async def test_a_caller_whose_clock_is_slow_has_as_much_time_as_others(
    worker: Worker, caller: SimulatedCaller, late_ms: int
) -> None:
    """Within the allowed difference of clocks the budget counts, not the caller's `exp`."""
    now = now_ms() - late_ms
    sent = caller.seal("insert", INSERT, iat=now, exp=now + 3_000, budget=3_000)
    assert (await worker.take(sent)).result["_key"] == "k1"


@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_a_store_that_hangs(worker: Worker, caller: SimulatedCaller, operation: str) -> None:
    """The caller is answered soon after the budget is over, and told what can be known."""
    arguments, error, kinds = {
        "insert": (INSERT, OutcomeUnknown, ["intent"]),
        "get": (READ, Unavailable, ["intent", "failed"]),
    }[operation]
    worker.store.gate.clear()
    begun = time.monotonic()
    answer = await worker.take(caller.seal(operation, arguments, budget=50))
    assert type(answer.error) is error
    assert time.monotonic() - begun < 1.5
    assert worker.trail.kinds() == kinds
    assert worker.slots.in_flight == 0


async def test_a_ledger_that_hangs(worker: Worker, caller: SimulatedCaller) -> None:
    """Step 7 is bounded like step 9: a retry is answered in time, and nothing was done."""
    sent = caller.seal("insert", INSERT)
    worker.store.gate.clear()
    answer = await worker.take(caller.again(sent, budget=50))
    assert isinstance(answer.error, Unavailable)
    assert worker.trail.kinds() == ["denied"]


async def test_a_store_that_keeps_failing_is_left_alone(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """After three failures in a row nobody asks it, and no intent is written for nothing.

    After a while one command finds out that it works again.
    """
    worker.store.fault = Unavailable("gone")
    for _ in range(3):
        await worker.take(caller.seal("count", {}))
    asked = len(worker.store.works)
    error = (await worker.take(caller.seal("count", {}))).error
    assert isinstance(error, Unavailable)
    assert error.retry_after is not None
    assert len(worker.store.works) == asked
    assert worker.trail.kinds()[-1] == "denied"
    worker.store.fault = None
    await asyncio.sleep(error.retry_after)
    assert (await worker.take(caller.seal("count", {}))).result == 0


async def test_a_result_that_does_not_fit(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`result_too_large`, with whether the effect stands; the outcome is on the trail."""

    async def large(_self: SimulatedStore, _work: object) -> Done:
        return Done("x" * (8 * 1024 * 1024))

    monkeypatch.setattr(SimulatedStore, "execute", large)
    for operation, arguments, committed in (("insert", INSERT, True), ("get", READ, False)):
        error = (await worker.take(caller.seal(operation, arguments))).error
        assert error.code == "result_too_large"
        assert error.details == {"committed": committed}
    assert worker.trail.kinds() == ["intent", "done"] * 2


@pytest.mark.parametrize("number", [1, 64, 999])
async def test_a_record_that_does_not_fit_is_shortened(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Effects that are larger than a record may be never leave an intent without its outcome."""
    body = {"_key": "k", "text": "x" * (7_000_000 // number)}

    async def many(_self: SimulatedStore, _work: object) -> Done:
        effects = tuple(Effect("c", str(n), None, "r", body) for n in range(number))
        return Done(True, effects=effects, position=1)

    monkeypatch.setattr(SimulatedStore, "execute", many)
    assert (await worker.take(caller.seal("insert", INSERT))).result is True
    assert len(worker.trail.stream[-1].data) <= MAX_RECORD_BYTES
    effects = worker.trail.records("done")[0].effects
    assert [effect["key"] for effect in effects] == [str(n) for n in range(number)]
    assert all(effect["omitted"] is True and effect["new"] is None for effect in effects)


async def test_a_version_that_is_too_deep_is_left_out_of_its_record(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that commits what no reader takes accuses no worker: the other versions stand."""
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH):
        deep = {"v": deep}

    async def nested(_self: SimulatedStore, _work: object) -> Done:
        effects = [Effect("c", str(n), None, "r", new) for n, new in enumerate((deep, deep["v"]))]
        return Done(True, effects=effects, position=1)

    monkeypatch.setattr(SimulatedStore, "execute", nested)
    assert (await worker.take(caller.seal("insert", INSERT))).result is True
    first, second = worker.trail.records("done")[0].effects
    assert (first["new"], first["omitted"]) == (None, True)
    assert second["new"] == deep["v"]
    assert "omitted" not in second


async def test_a_reply_when_the_bus_is_down(worker: Worker, caller: SimulatedCaller) -> None:
    """The command is carried out and recorded, and a retry gets the result that was lost."""
    worker.bus.up = False
    sent = caller.seal("insert", INSERT)
    await worker.pipeline.handle(message_of(sent))
    assert worker.trail.kinds() == ["intent", "done"]
    worker.bus.up = True
    assert (await worker.take(caller.again(sent))).body["replayed"] is True


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        ("intent", "unavailable"),
        ("store", "outcome_unknown"),
        ("done", "outcome_pending"),
        ("failed", "collection_not_found"),
    ],
)
async def test_a_command_that_is_cut_off_is_answered(
    worker: Worker, caller: SimulatedCaller, stage: str, code: str
) -> None:
    """A worker that has to end says what is true: not begun, in doubt, done, or refused."""
    worker.trail.fate = lambda record: Fate.LOST if record.kind == stage else Fate.STORED
    if stage == "store":
        worker.store.gate.clear()
    where = "missing" if stage == "failed" else "memory_anchors"
    task = asyncio.ensure_future(worker.take(caller.seal("insert", INSERT, where)))
    await until(
        lambda: stage in worker.trail.tries or (stage == "store" and worker.store.inside > 0)
    )
    task.cancel()
    assert (await task).error.code == code
    assert worker.slots.in_flight == 0


async def test_logs_name_no_arguments(worker: Worker, caller: SimulatedCaller) -> None:
    """What callers store does not reach a log, whatever goes wrong with it."""
    worker.store.fault = RuntimeError("surprise")
    with capture_logs() as logs:
        await worker.take(caller.seal("insert", {"document": {"secret": "hunter2"}}))
    assert "hunter2" not in repr(logs)
    assert structlog.get_config()
