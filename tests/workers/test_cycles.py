"""What a command was made of is gone with it: the collector looks for cycles seldom."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from mallku_workers import logs, pipeline
from mallku_workers.message import Case, Message
from mallku_workers.stores.base import Done, Work
from tests.support.simulated_caller import Sent, SimulatedCaller
from tests.support.simulated_trail import Fate
from tests.workers.world import Worker, message_of, until

INSERT = {"document": {"_key": "k1", "kind": "khipu"}}
GET = {"document": "k1"}


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    _others.update(
        (id(each), each) for each in gc.get_objects() if isinstance(each, Case | Message)
    )
    gc.disable()
    yield
    gc.enable()
    _others.clear()


def _left() -> list[str]:
    """What is left of commands of this test; the collector has not run."""
    return [
        type(each).__name__
        for each in gc.get_objects()
        if isinstance(each, Case | Message) and id(each) not in _others
    ]


_others: dict[int, object] = {}


async def _handle(worker: Worker, sent: Sent, **changes: Any) -> None:
    await worker.pipeline.handle(message_of(sent, **changes))
    worker.bus.posts.clear()
    await asyncio.sleep(0)


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize(
    ("operation", "arguments", "changes"),
    [
        ("insert", INSERT, {}),
        ("get", GET, {}),
        ("get", {"document": 7}, {}),
        ("drop-collection", {}, {}),
        ("insert", INSERT, {"data": b"\x94"}),
        ("insert", INSERT, {"subject": "mallku.v1.db"}),
        ("insert", INSERT, {"received_ms": 0}),
        ("insert", {"document": {"_key": "a/b"}}, {}),
    ],
)
async def test_nothing_is_left_of_a_command(
    worker: Worker,
    caller: SimulatedCaller,
    operation: str,
    arguments: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    """Carried out, refused at any step, or unreadable."""
    await _handle(worker, caller.seal(operation, arguments), **changes)
    assert _left() == []


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_is_left_of_what_finds_no_slot(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """A flood that is turned away takes no memory beyond its time."""
    worker.store.gate.clear()
    tasks = [asyncio.ensure_future(worker.take(caller.seal("count", {}))) for _ in range(8)]
    await until(lambda: worker.store.inside >= 8)
    before = len(_left())
    for _ in range(10):
        await worker.pipeline.handle(message_of(caller.seal("insert", INSERT)))
    assert len(_left()) == before
    worker.store.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_is_left_of_a_replay(worker: Worker, caller: SimulatedCaller) -> None:
    """The second transmission of the same bytes."""
    sent = caller.seal("insert", INSERT)
    await _handle(worker, sent)
    await _handle(worker, sent)
    assert _left() == []


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_is_left_where_the_trail_is_silent(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """The intent waits in vain, and is refused."""
    worker.trail.fate = lambda _record: Fate.LOST
    await _handle(worker, caller.seal("insert", INSERT))
    assert _left() == []


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_nothing_is_left_where_the_store_hangs(
    worker: Worker, caller: SimulatedCaller, operation: str
) -> None:
    """The caller's time is over before the store answers."""
    worker.store.gate.clear()
    arguments = INSERT if operation == "insert" else GET
    await _handle(worker, caller.seal(operation, arguments, budget=100))
    worker.store.gate.set()
    await asyncio.sleep(0)
    assert _left() == []


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("operation", ["insert", "get"])
async def test_nothing_is_left_of_a_surprise(
    worker: Worker,
    caller: SimulatedCaller,
    operation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Something in the store raises what nobody foresaw."""

    async def fail(_work: Work) -> Done:
        await asyncio.sleep(0)
        raise RuntimeError("unforeseen")

    quiet = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[logs.describe_exception, structlog.processors.JSONRenderer()],
    )
    monkeypatch.setattr(pipeline, "_log", quiet)
    monkeypatch.setattr(worker.store, "execute", fail)
    await _handle(worker, caller.seal(operation, INSERT if operation == "insert" else GET))
    assert _left() == []


@pytest.mark.usefixtures("_no_collector")
async def test_nothing_is_left_of_what_is_cut_off(worker: Worker, caller: SimulatedCaller) -> None:
    """The worker ends while the store is at work."""
    worker.store.gate.clear()
    task = asyncio.ensure_future(_handle(worker, caller.seal("insert", INSERT)))
    await until(lambda: worker.store.inside == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task
    assert _left() == []
