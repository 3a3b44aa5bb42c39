from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mallku_contracts.errors import PermissionDenied, RateLimited
from mallku_contracts.subjects import CommandSubject
from mallku_workers.message import Case, Message
from mallku_workers.throttle import Refusals
from mallku_workers.throttle import refusals as module
from mallku_workers.throttle.refusals import BURST_S
from tests.support.simulated_caller import SimulatedCaller
from tests.support.simulated_store import MISSING
from tests.workers.world import Cluster, Worker, mallku, message_of

PER_S = 10
NS = 1_000_000_000
INSERT = {"document": {"_key": "k1"}}


class Clock:
    """A clock that goes when it is told to; nanoseconds."""

    def __init__(self) -> None:
        self.now = 5 * NS

    def __call__(self) -> int:
        """What time it is."""
        return self.now


def _case(principal: str) -> Case:
    subject = CommandSubject.build(principal, "mallku", "memory_anchors", "get")
    case = Case(Message(str(subject), "", b"", 0, 0.0), may_reply=True)
    case.subject = subject
    return case


def _refuse(refusals: Refusals, principal: str = "p") -> float | None:
    """Have a denied command come by; how long it was held back for, None if it was looked at."""
    case = _case(principal)
    try:
        refusals.hold_back(case, principal)
    except RateLimited as refusal:
        refusals.count(case, refusal)
        return refusal.retry_after or 0.0
    refusals.count(case, PermissionDenied("no"))
    return None


def test_who_is_refused_too_often_is_held_back() -> None:
    """So many seconds' worth at once, then the sustained rate; being held back costs nothing."""
    clock = Clock()
    refusals = Refusals(PER_S, clock)
    looked_at = sum(_refuse(refusals) is None for _ in range(500))
    assert looked_at == BURST_S * PER_S + 1
    clock.now += 2 * NS
    assert sum(_refuse(refusals) is None for _ in range(500)) == 2 * PER_S
    assert _refuse(refusals, "q") is None


def test_what_asks_for_no_reply_holds_nobody_back() -> None:
    """The server's answer to anybody's job may land on a subject of a principal's, at no cost."""
    refusals = Refusals(PER_S, Clock())
    case = _case("p")
    case.may_reply = False
    for _ in range(500):
        refusals.count(case, PermissionDenied("no"))
    assert _refuse(refusals) is None


def test_the_advice_is_right() -> None:
    """After `retry_after` seconds the next message is looked at, and not a moment earlier."""
    clock = Clock()
    refusals = Refusals(PER_S, clock)
    while (wait := _refuse(refusals)) is None:
        pass
    clock.now += int(wait * NS) - 1
    assert _refuse(refusals) is not None
    clock.now += 1
    assert _refuse(refusals) is None


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many principals are refused, few are remembered, and those refused last."""
    monkeypatch.setattr(module, "MAX_COUNTED", 3)
    refusals = Refusals(1, Clock())
    for number in range(50):
        for _ in range(BURST_S + 2):
            _refuse(refusals, f"p{number}")
    assert [*refusals._until] == ["p47", "p48", "p49"]
    assert _refuse(refusals, "p49") is not None


@pytest.fixture
async def strict(cluster: Cluster) -> Worker:
    """A worker that refuses one message a second, five at once."""
    return Worker(cluster, refusals_per_s=1)


async def _flood(worker: Worker, caller: SimulatedCaller) -> list[str]:
    """Junk on the caller's own subject; the errors that come back."""
    sent, codes = caller.seal("insert", INSERT), list[str]()
    for _ in range(BURST_S + 5):
        await worker.pipeline.handle(message_of(sent, data=b"junk"))
        codes.append(worker.bus.posts[-1].headers["Nats-Service-Error"].partition(":")[0])
    return codes


async def test_a_flood_of_junk_is_not_looked_at(strict: Worker, caller: SimulatedCaller) -> None:
    """Junk on one's own subject is soon refused unseen, and every refusal is on the trail."""
    codes = await _flood(strict, caller)
    assert codes[: BURST_S + 1] == ["malformed_envelope"] * (BURST_S + 1)
    assert set(codes[BURST_S + 1 :]) == {"rate_limited"}
    assert [record.code for record in strict.trail.records()] == codes[:10]


async def test_who_is_held_back_is_told_for_how_long(
    strict: Worker, caller: SimulatedCaller
) -> None:
    """A good command of the same credentials gets a signed answer that says when to come again."""
    await _flood(strict, caller)
    error = (await strict.take(caller.seal("insert", INSERT))).error
    assert error.code == "rate_limited"
    assert error.retryable
    assert error.retry_after is not None
    await asyncio.sleep(error.retry_after)
    assert (await strict.take(caller.seal("insert", INSERT))).result["_key"] == "k1"


async def test_nobody_else_is_held_back(strict: Worker, caller: SimulatedCaller) -> None:
    """Whose subject it came on is who is counted, and nobody publishes on another's."""
    await _flood(strict, caller)
    other = SimulatedCaller.of("other", "service")
    assert (await strict.take(other.seal("insert", INSERT))).result["_key"] == "k1"


async def test_what_is_wrong_is_counted_and_what_is_not_done_is_not(strict: Worker) -> None:
    """Commands that pass step 6 and fail in the store hold nobody back: the trail has them."""
    caller = mallku()
    for _ in range(BURST_S + 5):
        answer = await strict.take(caller.seal("count", {}, MISSING))
        assert answer.error.code == "collection_not_found"
    assert strict.pipeline.refusals._until == {}


async def test_rates_do_not_hold_anybody_back(cluster: Cluster) -> None:
    """Who is over its rate is refused for that alone, early, and heard again when it is time."""
    worker = Worker(cluster, refusals_per_s=1)
    slow = SimulatedCaller.of("slow", "slow")
    answers = [await worker.take(slow.seal("insert", {"document": {}})) for _ in range(20)]
    refused = [answer.error.code for answer in answers if "error" in answer.body]
    assert refused == ["rate_limited"] * 18
    assert worker.pipeline.refusals._until == {}


async def test_an_exhausted_rate_is_seen_before_any_cryptography(cluster: Cluster) -> None:
    """Once the rate is used up, not even junk is looked at: there is nothing it could become."""
    worker = Worker(cluster)
    slow = SimulatedCaller.of("slow", "slow")
    sent = [slow.seal("insert", {"document": {}}) for _ in range(3)]
    for one in sent[:2]:
        assert (await worker.take(one)).result
    worker.pipeline = replace(worker.pipeline, identifier=None)  # type: ignore[arg-type]
    error = (await worker.take(sent[2])).error
    assert error.code == "rate_limited"
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 1


async def test_a_command_larger_than_its_principal_may_send(cluster: Cluster) -> None:
    """It is refused at step 1, with a code and the number of bytes."""
    worker = Worker(cluster)
    large = SimulatedCaller.of("slow", "slow").seal("insert", {"document": {"x": "x" * 20_000}})
    error = (await worker.take(large)).error
    assert error.code == "message_too_large"
    assert "16384" in error.message
    assert worker.slots.in_flight == 0
