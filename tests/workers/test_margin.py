"""A worker keeps a little of its caller's time, to say why nothing came of a command."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mallku_contracts.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from mallku_contracts.identifiers import uuid7
from mallku_contracts.limits import MAX_COMMAND_LIFE_MS
from mallku_workers.message import GRACE_SHARE, MARGIN_S, Case
from tests.support.simulated_caller import SimulatedCaller, now_ms
from tests.workers.world import Cluster, Worker, message_of, until

BUDGET_MS = 500
INSERT: dict[str, Any] = {"document": {}}


@pytest.fixture
async def worker() -> Worker:
    """A worker that writes one at a time."""
    return Worker(Cluster(), max_writes=1)


@pytest.fixture
def caller() -> SimulatedCaller:
    """Somebody who may write."""
    return SimulatedCaller.of("mallku", "service")


@pytest.mark.parametrize("operation", ["insert", "count"])
async def test_a_hanging_store_is_told_in_time(
    worker: Worker, caller: SimulatedCaller, operation: str
) -> None:
    """The answer is there while its caller still waits: what is unknown, and what was not done."""
    worker.store.gate.clear()
    arguments, error = {"insert": (INSERT, OutcomeUnknown), "count": ({}, Unavailable)}[operation]
    began = time.monotonic()
    answer = await worker.take(caller.seal(operation, arguments, budget=BUDGET_MS))
    assert type(answer.error) is error
    assert time.monotonic() - began < BUDGET_MS / 1_000


async def test_who_waits_for_a_place_is_told_in_time(
    worker: Worker, caller: SimulatedCaller
) -> None:
    """Behind a write that takes long."""
    worker.store.gate.clear()
    long = caller.seal("insert", INSERT, budget=5_000)
    working = asyncio.ensure_future(worker.pipeline.handle(message_of(long)))
    await until(lambda: worker.store.inside == 1)
    began = time.monotonic()
    answer = await worker.take(caller.seal("insert", INSERT, budget=BUDGET_MS))
    assert type(answer.error) is DeadlineExceeded
    assert time.monotonic() - began < BUDGET_MS / 1_000
    worker.store.gate.set()
    await working
    assert len(worker.store.works) == 1


def test_the_margin_is_a_share_of_a_short_time_and_little_of_a_long_one() -> None:
    """A fifth of 100 ms, a quarter of a second of a minute; the store may use most of it up."""
    caller = SimulatedCaller.of("mallku", "service")
    for budget_ms, margin_s in ((100, 0.02), (60_000, MARGIN_S)):
        sent = caller.seal("insert", INSERT, budget=budget_ms, exp=2**40)
        case = Case(message_of(sent))
        deadline = case.deadline(sent.header, 0)
        left_s = deadline.left_s(0, case.message.received_s)
        assert left_s == pytest.approx(budget_ms / 1_000 - margin_s)
        assert deadline.grace_s == pytest.approx(margin_s * GRACE_SHARE)


def test_nothing_begins_after_the_end_of_its_id() -> None:
    """Dated as far ahead as clocks may stand apart, a command has no more time than its id."""
    made_ms = now_ms()
    later_ms = made_ms + 50_000
    sent = SimulatedCaller.of("mallku", "service").seal(
        "insert", INSERT, id=uuid7(made_ms), iat=later_ms, exp=later_ms + 60_000, budget=60_000
    )
    case = Case(message_of(sent, received_ms=later_ms))
    assert case.deadline(sent.header, 30_000).ends_ms == made_ms + MAX_COMMAND_LIFE_MS + 30_000
