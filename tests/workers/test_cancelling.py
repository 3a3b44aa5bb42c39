from __future__ import annotations

import asyncio

import pytest

from mallku_contracts.cancelling import seal_cancel
from mallku_contracts.keys import PublicKey
from mallku_workers import cancelling
from mallku_workers.cancelling import hear_cancellations
from tests.support.simulated_caller import Sent, SimulatedCaller
from tests.workers.world import Cluster, Worker, message_of, until

INSERT = {"document": {"_key": "k1"}}


@pytest.fixture
async def worker() -> Worker:
    """A worker that writes one at a time."""
    return Worker(Cluster(), max_writes=1)


@pytest.fixture
def caller() -> SimulatedCaller:
    """Somebody who may write."""
    return SimulatedCaller.of("mallku", "service")


def _call_off(worker: Worker, sent: Sent, caller: SimulatedCaller) -> bool:
    wish = seal_cancel(caller.principal, sent.header.id, caller.key)
    return worker.pipeline.under_way.call_off(*wish)


async def test_who_waits_is_not_begun(worker: Worker, caller: SimulatedCaller) -> None:
    """The one at work is carried out, the one behind it is not, and both are answered."""
    worker.store.gate.clear()
    first, second = caller.seal("insert", INSERT), caller.seal("insert", {"document": {}})
    working = asyncio.ensure_future(worker.take(first))
    await until(lambda: worker.store.inside == 1)
    waiting = asyncio.ensure_future(worker.pipeline.handle(message_of(second)))
    await until(lambda: worker.pipeline.executor.at_work()["write"] == (1, 1))
    assert _call_off(worker, second, caller)
    assert _call_off(worker, first, caller), "known, but begun"
    worker.store.gate.set()
    assert (await working).result["_key"] == "k1"
    await waiting
    assert len(worker.store.works) == 1
    assert worker.trail.kinds() == ["intent", "intent", "done", "failed"]
    assert len(worker.pipeline.under_way) == 0
    assert worker.pipeline.under_way.called_off == 2


async def test_only_who_signed_it_can_call_it_off(worker: Worker, caller: SimulatedCaller) -> None:
    """Another principal, another key of the same, the right signature for another id: nothing."""
    worker.store.gate.clear()
    sent = caller.seal("insert", INSERT)
    working = asyncio.ensure_future(worker.take(sent))
    await until(lambda: worker.store.inside == 1)
    under_way, other = worker.pipeline.under_way, SimulatedCaller.of("other", "service")
    assert not _call_off(worker, sent, other)
    subject, body = seal_cancel("mallku", sent.header.id, other.key)
    assert not under_way.call_off(subject, body)
    assert not under_way.call_off(subject, body * 1_000)
    assert not under_way.call_off(*seal_cancel("mallku", "unknown", caller.key))
    assert under_way.called_off == 0
    worker.store.gate.set()
    await working


async def test_a_flood_of_wishes_costs_few_looks(
    worker: Worker, caller: SimulatedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller's own connection alone may send wishes; the first few are checked, no others."""
    looks: list[str] = []

    def look(subject: str, _body: bytes, _key: PublicKey) -> bool:
        looks.append(subject)
        return False

    monkeypatch.setattr(cancelling, "is_called_off", look)
    worker.store.gate.clear()
    sent = caller.seal("insert", INSERT)
    working = asyncio.ensure_future(worker.take(sent))
    await until(lambda: worker.store.inside == 1)
    subject, _ = seal_cancel(caller.principal, sent.header.id, caller.key)
    for _ in range(100):
        assert not worker.pipeline.under_way.call_off(subject, bytes(64))
    assert len(looks) == 8
    worker.store.gate.set()
    await working
    assert len(worker.pipeline.under_way) == 0


async def test_a_wish_that_comes_with_the_command_finds_it(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Both are read in the same moment: the command is identified before the wish is looked at."""
    await hear_cancellations(worker.bus, worker.pipeline.under_way)
    worker.store.gate.clear()
    first, second = caller.seal("insert", INSERT), caller.seal("insert", {"document": {}})
    working = asyncio.ensure_future(worker.take(first))
    await until(lambda: worker.store.inside == 1)
    waiting = asyncio.ensure_future(worker.pipeline.handle(message_of(second)))
    subject, body = seal_cancel("mallku", second.header.id, caller.key)
    worker.bus.deliver(subject, "", body)
    await until(lambda: worker.pipeline.under_way.called_off == 1)
    worker.store.gate.set()
    await asyncio.gather(working, waiting)
    assert len(worker.store.works) == 1


async def test_a_copy_takes_nothing_from_the_original(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Whoever sends a command's bytes again is refused, and its caller can call it off still."""
    worker.store.gate.clear()
    first, second = caller.seal("insert", INSERT), caller.seal("insert", {"document": {}})
    working = asyncio.ensure_future(worker.take(first))
    await until(lambda: worker.store.inside == 1)
    waiting = asyncio.ensure_future(worker.pipeline.handle(message_of(second)))
    await until(lambda: worker.pipeline.executor.at_work()["write"] == (1, 1))
    for _ in range(3):
        assert (await worker.take(second, reply=f"{second.reply}.copy")).error.code == "replayed"
    assert len(worker.pipeline.under_way) == 2
    assert _call_off(worker, second, caller)
    worker.store.gate.set()
    await asyncio.gather(working, waiting)
    assert len(worker.store.works) == 1
    assert len(worker.pipeline.under_way) == 0


async def test_a_later_command_is_not_meant(worker: Worker, caller: SimulatedCaller) -> None:
    """Once answered, nothing is held, and the same wish again finds nobody."""
    sent = caller.seal("insert", INSERT)
    await worker.take(sent)
    assert not _call_off(worker, sent, caller)
    again = caller.again(sent)
    assert (await worker.take(again)).body["replayed"]
