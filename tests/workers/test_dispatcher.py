from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from mallku_broker.headers import encode_headers
from mallku_contracts.operations import OPERATIONS
from mallku_workers.dispatcher import Dispatcher
from mallku_workers.message import Message
from tests.support.simulated_bus import SimulatedBus

SUBJECT = "mallku.v1.cmd.p.d.c.insert"


class Handler:
    """Handles messages when it is let; remembers which it finished and which were cut off."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.finished: list[bytes] = []
        self.cut_off: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        """Wait for the gate."""
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cut_off.append(message.data)
            return
        if message.data == b"explode":
            raise RuntimeError("surprise")
        self.finished.append(message.data)


@pytest.fixture
async def bus() -> SimulatedBus:
    """A bus of one's own."""
    return SimulatedBus()


@pytest.fixture
async def handler() -> Handler:
    """Closed at first."""
    return Handler()


@pytest.fixture
async def dispatcher(bus: SimulatedBus, handler: Handler) -> Dispatcher:
    """One that has joined the groups."""
    dispatcher = Dispatcher(bus, handler, "w1")
    await dispatcher.start()
    return dispatcher


async def test_every_operation_is_served(bus: SimulatedBus, dispatcher: Dispatcher) -> None:
    """One subscription each, reads and writes in groups of their own."""
    queues = {one.subject.rpartition(".")[2]: one.queue for one in bus.subscriptions}
    assert queues.keys() == OPERATIONS.keys()
    assert queues.pop("next") == "", "the pages of this worker's cursors reach no other worker"
    writes = {queue for name, queue in queues.items() if OPERATIONS[name].mutates}
    reads = {queue for name, queue in queues.items() if not OPERATIONS[name].mutates}
    assert len(writes) == len(reads) == 1
    assert writes != reads


async def test_who_leaves_keeps_its_cursors_and_comes_back(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher
) -> None:
    """Out of its groups a worker takes no command, and still the pages that only it has."""
    everything = {one.subject for one in bus.subscriptions}
    bus.deliver(SUBJECT, "r", b"before")
    await dispatcher.leave()
    assert [one.subject for one in bus.subscriptions] == ["mallku.v1.cur.*.*.w1.next"]
    bus.deliver(SUBJECT, "r", b"away")
    await dispatcher.join()
    await dispatcher.join()
    assert {one.subject for one in bus.subscriptions} == everything
    assert len(bus.subscriptions) == len(everything)
    bus.deliver(SUBJECT, "r", b"again")
    handler.gate.set()
    assert await dispatcher.drain(1.0) == 0
    assert sorted(handler.finished) == [b"again", b"before"]
    assert bus.subscriptions == []


async def test_messages_do_not_wait_for_each_other(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher
) -> None:
    """Each is handled in a task of its own, with the time of its receipt."""
    for number in range(5):
        bus.deliver(SUBJECT, "r", bytes([number]))
    assert dispatcher.under_way == 5
    handler.gate.set()
    assert await dispatcher.drain(1.0) == 0
    assert sorted(handler.finished) == [bytes([number]) for number in range(5)]
    assert dispatcher.under_way == 0


async def test_a_drain_finishes_what_has_come(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher
) -> None:
    """It leaves the groups first, and returns when everything is answered."""
    bus.deliver(SUBJECT, "r", b"1")
    draining = asyncio.ensure_future(dispatcher.drain(5.0))
    await asyncio.sleep(0)
    assert bus.subscriptions == []
    assert not draining.done()
    handler.gate.set()
    assert await draining == 0
    assert handler.finished == [b"1"]


async def test_messages_that_come_while_it_leaves(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the broker had sent before it knew is handled like all others."""
    retire = bus.retire

    async def late(subscriptions: list[object]) -> None:
        bus.deliver(SUBJECT, "r", b"late")
        await retire(subscriptions)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(bus, "retire", late)
    handler.gate.set()
    assert await dispatcher.drain(1.0) == 0
    assert handler.finished == [b"late"]


async def test_what_takes_too_long_is_cut_off(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher
) -> None:
    """After the time for draining it is told so, and awaited: it may still answer."""
    bus.deliver(SUBJECT, "r", b"slow")
    assert await dispatcher.drain(0.02) == 1
    assert handler.cut_off == [b"slow"]


@pytest.mark.parametrize("error", [RuntimeError("closed"), TimeoutError(), OSError("gone")])
async def test_a_bus_that_fails_at_the_end(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher, error: Exception
) -> None:
    """Whatever it says, what has come is finished."""
    bus.at_retirement = error
    bus.deliver(SUBJECT, "r", b"1")
    handler.gate.set()
    with capture_logs() as logs:
        assert await dispatcher.drain(1.0) == 0
    assert handler.finished == [b"1"]
    assert logs[0]["event"] == "queue_groups_not_left"


async def test_a_bus_that_hangs_at_the_end(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving the groups is bounded by the time for draining."""

    async def hang(_subscriptions: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bus, "retire", hang)
    bus.deliver(SUBJECT, "r", b"1")
    handler.gate.set()
    assert await dispatcher.drain(0.05) == 0
    assert handler.finished == [b"1"]


async def test_a_surprise_ends_one_command(
    bus: SimulatedBus, handler: Handler, dispatcher: Dispatcher
) -> None:
    """It is logged, and the next command is handled."""
    handler.gate.set()
    bus.deliver(SUBJECT, "r", b"explode")
    bus.deliver(SUBJECT, "r", b"1")
    with capture_logs() as logs:
        assert await dispatcher.drain(1.0) == 0
    assert handler.finished == [b"1"]
    assert [entry["event"] for entry in logs] == ["reply_not_sent"]


async def test_the_trace_is_taken_from_the_headers(bus: SimulatedBus) -> None:
    """A well-formed one alone, and none from headers that are larger than anybody needs."""
    traces: list[str] = []

    async def remember(message: Message) -> None:
        traces.append(message.trace)

    dispatcher = Dispatcher(bus, remember, "w1")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    good = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    for headers in ({}, {"a": "b"}, good, {"traceparent": trace}, good | {"x": "y" * 9_000}):
        dispatcher._receive(SUBJECT, "r", b"", encode_headers(headers) or None)
    await dispatcher.drain(1.0)
    assert traces == ["", "", trace, "", ""]
