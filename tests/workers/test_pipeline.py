from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from mallku_contracts.audit import Record
from mallku_contracts.envelope import command_signing_input
from mallku_contracts.errors import (
    Busy,
    IdempotencyConflict,
    InvalidArguments,
    MallkuError,
    PermissionDenied,
    RateLimited,
    Replayed,
    ReservedName,
)
from mallku_contracts.keys import PublicKey
from mallku_contracts.results import Receipt
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_trail import Fate
from tests.workers.world import WORKER_KEY, Cluster, Worker, message_of, pause, until

INSERT = {"document": {"_key": "k1", "kind": "khipu"}}


async def test_an_insert_and_a_get(worker: Worker, caller: SimulatedCaller) -> None:
    """What was inserted is what `get` returns; both replies are signed by the worker."""
    inserted = await worker.take(caller.seal("insert", INSERT))
    found = await worker.take(caller.seal("get", {"document": "k1"}))
    assert found.result == {"kind": "khipu", **inserted.result}
    for answer in (inserted, found):
        answer.reply.verify(WORKER_KEY.public)


@pytest.mark.parametrize(
    ("operation", "arguments"), [("insert", INSERT), ("get", {"document": "k1"})]
)
async def test_nothing_executes_before_the_intent_is_acknowledged(
    worker: Worker, caller: SimulatedCaller, operation: str, arguments: object
) -> None:
    """While the intent's acknowledgement is held back the store is not asked, for reads too."""
    worker.trail.fate = lambda record: Fate.HELD if record.kind == "intent" else Fate.STORED
    task = asyncio.ensure_future(worker.take(caller.seal(operation, arguments)))
    await until(lambda: worker.trail.tries == ["intent"])
    await pause()
    assert worker.store.works == []
    worker.trail.release()
    await task
    assert len(worker.store.works) == 1


async def test_every_command_leaves_an_intent_and_an_outcome(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The intent holds the signed bytes and the key that verifies them; the outcome the effects.

    Both name rule, policy and roles; neither holds the token.
    """
    sent = caller.seal("insert", INSERT)
    answer = await worker.take(sent)
    intent, done = worker.trail.records()
    assert (intent.kind, done.kind) == ("intent", "done")
    assert intent.command is not None
    protected, body, signature, key = intent.command
    assert PublicKey(key).verify(command_signing_input(intent.subject, protected, body), signature)
    assert sent.envelope.token not in worker.trail.stream[0].data
    for record in (intent, done):
        assert record.id == sent.header.id
        assert (record.principal, record.kid) == ("mallku", caller.key.kid)
        assert (record.policy, record.rule, record.roles) == (7, "service/documents", ("service",))
    assert [effect["new"]["_rev"] for effect in done.effects] == [answer.result["_rev"]]
    assert done.position == 1
    before = ("admit", "open", "identify", "replay", "authorize", "throttle", "remember")
    assert tuple(intent.steps) == before


async def test_the_receipt_names_the_outcome(worker: Worker, caller: SimulatedCaller) -> None:
    """A mutation's receipt holds stream, sequence and hash of its outcome; a read has none."""
    answer = await worker.take(caller.seal("insert", INSERT))
    receipt: Receipt = answer.body["receipt"]
    stored = worker.trail.stream[receipt["sequence"] - 1]
    assert receipt["stream"] == worker.trail.name
    assert stored.record.kind == "done"
    assert receipt["hash"] == hashlib.sha256(stored.data).digest()
    assert "receipt" not in (await worker.take(caller.seal("count", {}))).body


async def test_numbers_have_no_gaps(worker: Worker, caller: SimulatedCaller) -> None:
    """Records of every kind count from 1."""
    await worker.take(caller.seal("insert", INSERT))
    await worker.take(caller.seal("insert", INSERT))
    await worker.take(caller.seal("get", {"key": 1}))
    numbers = [record.number for record in worker.trail.records()]
    assert numbers == list(range(1, 6))


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (("get", {"document": "k1", "color": 1}), InvalidArguments),
        (("get", {}), InvalidArguments),
        (("get", {"document": 7}), InvalidArguments),
        (("drop-collection", {}), PermissionDenied),
        (("get", {"document": "k1"}, "_system"), ReservedName),
        (("get", {"document": "k1"}, "mallku_ledger"), ReservedName),
    ],
)
async def test_what_is_not_allowed_or_not_right_is_refused(
    worker: Worker, caller: SimulatedCaller, asked: tuple[Any, ...], error: type[MallkuError]
) -> None:
    """The refusal is coded, recorded as `denied`, and leaves store and intents alone."""
    answer = await worker.take(caller.seal(*asked))
    assert type(answer.error) is error
    assert worker.store.works == []
    (record,) = worker.trail.records()
    assert (record.kind, record.code) == ("denied", error.code)


async def test_another_role_is_another_permission(worker: Worker) -> None:
    """The effective roles are those that token and policy share: a token cannot add one."""
    reader = SimulatedCaller.of("reader", "reader", "service")
    answer = await worker.take(reader.seal("insert", INSERT))
    assert isinstance(answer.error, PermissionDenied)
    assert (await worker.take(reader.seal("get", {"document": "k1"}))).result is None


async def test_the_same_transmission_twice_is_a_replay(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The second has no effect, and its refusal does not take the place of the true outcome."""
    sent = caller.seal("insert", INSERT)
    assert (await worker.take(sent)).result["_key"] == "k1"
    assert isinstance((await worker.take(sent)).error, Replayed)
    assert len(worker.store.works) == 1
    assert worker.trail.kinds() == ["intent", "done", "denied"]
    assert len({stored.message_id for stored in worker.trail.stream}) == 3


@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_two_copies_at_the_same_moment(
    worker: Worker, caller: SimulatedCaller, operation: str
) -> None:
    """One worker that gets the same bytes twice at once executes them once."""
    sent = caller.seal(operation, INSERT if operation == "insert" else {"document": "k1"})
    await asyncio.gather(*(worker.pipeline.handle(message_of(sent)) for _ in range(5)))
    assert len(worker.store.works) == 1
    assert worker.trail.kinds().count("intent") == 1
    assert len(worker.bus.posts) == 5


@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_two_copies_on_two_workers(
    cluster: Cluster, caller: SimulatedCaller, operation: str
) -> None:
    """Across workers the trail's memory of ids decides: one effect, one intent, one `replayed`."""
    workers = [Worker(cluster, name) for name in ("w1", "w2", "w3")]
    sent = caller.seal(operation, INSERT if operation == "insert" else {"document": "k1"})
    answers = await asyncio.gather(*(worker.take(sent) for worker in workers))
    refused = [answer.error for answer in answers if "error" in answer.body]
    assert [type(error) for error in refused] == [Replayed, Replayed]
    assert len(cluster.store.works) == 1
    assert sorted(cluster.trail.kinds()) == ["denied", "denied", "done", "intent"]


async def test_a_retry_is_answered_from_the_ledger(
    cluster: Cluster, caller: SimulatedCaller
) -> None:
    """Attempt 2 on any worker: same result, `replayed`, one effect.

    It has an intent and an outcome of its own, which says `replayed_of`.
    """
    first, second = Worker(cluster, "w1"), Worker(cluster, "w2")
    sent = caller.seal("insert", INSERT)
    retry = caller.again(sent)
    result = (await first.take(sent)).result
    answer = await second.take(retry)
    assert answer.result == result
    assert answer.body["replayed"] is True
    assert len(cluster.store.works) == 1
    assert cluster.trail.kinds() == ["intent", "done", "intent", "done"]
    done = cluster.trail.records("done")[1]
    assert (done.id, done.replayed_of, done.effects) == (retry.header.id, sent.header.id, ())
    assert answer.body["receipt"]["sequence"] == 4


async def test_nothing_is_answered_from_memory_without_an_intent(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """A retry whose answer the ledger knows is refused as well while the trail is silent."""
    sent = caller.seal("insert", INSERT)
    await worker.take(sent)
    worker.trail.fate = lambda _record: Fate.LOST
    answer = await worker.take(caller.again(sent))
    assert answer.error.code == "audit_unavailable"


async def test_a_retry_that_says_it_is_the_first(worker: Worker, caller: SimulatedCaller) -> None:
    """The attempt number is the caller's to claim; the ledger's key at commit is not."""
    sent = caller.seal("insert", INSERT)
    first = await worker.take(sent)
    answer = await worker.take(caller.again(sent, attempt=1))
    assert (answer.result, answer.body["replayed"]) == (first.result, True)
    assert len(worker.store.documents) == 1


@pytest.mark.parametrize("attempt", [1, 2])
async def test_the_same_key_for_another_command(
    worker: Worker, caller: SimulatedCaller, attempt: int
) -> None:
    """Same idempotency key, other body: `idempotency_conflict`, whatever attempt it says it is."""
    sent = caller.seal("insert", INSERT)
    await worker.take(sent)
    other = caller.seal(
        "insert", {"document": {"_key": "k2"}}, idem=sent.header.idem, attempt=attempt
    )
    answer = await worker.take(other)
    assert isinstance(answer.error, IdempotencyConflict)
    assert len(worker.store.documents) == 1


async def test_keys_of_two_principals_never_meet(worker: Worker, caller: SimulatedCaller) -> None:
    """The same idempotency key of somebody else is another key."""
    other = SimulatedCaller.of("other", "service")
    await worker.take(caller.seal("insert", INSERT, idem="mine"))
    answer = await worker.take(
        other.seal("insert", {"document": {"_key": "k2"}}, idem="mine", attempt=2)
    )
    assert answer.result["_key"] == "k2"
    state = await worker.take(other.seal("outcome", {"idempotency_key": "mine"}, None))
    assert state.result["result"]["_key"] == "k2"


async def test_outcome_tells_callers_of_their_own_commands_alone(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """By key or by transmission; somebody else's transmission is unknown to them."""
    other = SimulatedCaller.of("other", "service")
    sent = caller.seal("insert", INSERT)
    await worker.take(sent)
    asked = {"id": sent.header.id}
    assert (await worker.take(caller.seal("outcome", asked, None))).result["state"] == "done"
    assert (await worker.take(other.seal("outcome", asked, None))).result["state"] == "unknown"


async def test_the_rate_is_held(worker: Worker) -> None:
    """Above rate and burst: `rate_limited` with the time to come back; nothing is executed."""
    slow = SimulatedCaller.of("slow", "slow")
    answers = [await worker.take(slow.seal("count", {})) for _ in range(3)]
    assert [("error" in answer.body) for answer in answers] == [False, False, True]
    error = answers[2].error
    assert isinstance(error, RateLimited)
    assert error.retryable
    assert 0 < (error.retry_after or 0) <= 1
    assert len(worker.store.works) == 2


async def test_busy_is_answered_and_not_recorded(worker: Worker, caller: SimulatedCaller) -> None:
    """The ninth command of a principal with eight slots: `busy`, at once, counted, no record."""
    worker.store.gate.clear()
    under_way = [asyncio.ensure_future(worker.take(caller.seal("count", {}))) for _ in range(8)]
    await until(lambda: worker.store.inside >= 8)
    before = list(worker.trail.tries)
    answer = await worker.take(caller.seal("insert", INSERT))
    assert isinstance(answer.error, Busy)
    assert answer.error.retry_after == 0.05
    assert worker.trail.tries == before
    assert worker.slots.turned_away == 1
    other = SimulatedCaller.of("other", "service")
    waiting = asyncio.ensure_future(worker.take(other.seal("count", {})))
    worker.store.gate.set()
    await asyncio.gather(waiting, *under_way)
    assert worker.slots.in_flight == 0


async def test_a_failed_mutation_holds_its_slot_until_it_is_answered(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Nothing that waits is outside of the bounds: not even the record of a failure."""
    worker.trail.fate = lambda record: Fate.HELD if record.kind == "failed" else Fate.STORED
    task = asyncio.ensure_future(worker.take(caller.seal("insert", INSERT, "missing")))
    await until(lambda: "failed" in worker.trail.tries)
    assert worker.slots.in_flight == 1
    worker.trail.release()
    assert (await task).error.code == "collection_not_found"
    assert worker.slots.in_flight == 0


async def test_reads_are_written_behind(worker: Worker, caller: SimulatedCaller) -> None:
    """A read is answered while its outcome still waits for the trail."""
    worker.trail.fate = _hold_outcomes
    answer = await worker.take(caller.seal("get", {"document": "k1"}))
    assert answer.result is None
    assert worker.audit.pending == 1
    worker.trail.release()
    assert await worker.audit.flush(1.0) == 0


async def test_a_mutation_waits_for_its_receipt(worker: Worker, caller: SimulatedCaller) -> None:
    """A mutation is not answered before its outcome is acknowledged."""
    worker.trail.fate = _hold_outcomes
    task = asyncio.ensure_future(worker.take(caller.seal("insert", INSERT)))
    await until(lambda: "done" in worker.trail.tries)
    assert worker.bus.posts == []
    worker.trail.release()
    assert (await task).result["_key"] == "k1"


def _hold_outcomes(record: Record) -> Fate:
    return Fate.HELD if record.kind == "done" else Fate.STORED
