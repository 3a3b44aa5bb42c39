from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from mallku_broker.counters import Counters, NotCounted, counter_subject
from mallku_broker.events import EventKind
from mallku_broker.requests import RequestMultiplexer
from mallku_broker.streams import RATES
from mallku_contracts.errors import InvalidSubject
from tests.support.nats import WORKER_BUS, WORKER_RECORDS, NatsHouse, Witness, prefix_of

PATIENCE_S = 5.0


@pytest_asyncio.fixture(loop_scope="session")
async def counters(house: NatsHouse) -> AsyncIterator[Counters]:
    """The counters as a worker reaches them."""
    async with (
        house.connection(WORKER_RECORDS) as records,
        RequestMultiplexer(records, prefix_of(WORKER_RECORDS)) as requests,
    ):
        yield Counters(requests)


@pytest.fixture
def subject() -> str:
    """A counter that nobody used before."""
    return counter_subject("mallku", uuid4().hex)


pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_counter_answers_with_its_sum(counters: Counters, subject: str) -> None:
    """What is added may be negative, nothing, or as large as a time in nanoseconds."""
    sums = [
        await counters.add(subject, amount, timeout_s=PATIENCE_S)
        for amount in (5, -7, 0, 1_800_000_000 * 10**9)
    ]
    assert sums == [5, -2, -2, 1_800_000_000 * 10**9 - 2]


async def test_many_add_at_once_and_nothing_is_lost(counters: Counters, subject: str) -> None:
    """Every answer is another one: the broker adds one after the other."""
    adding = (counters.add(subject, 1, timeout_s=PATIENCE_S) for _ in range(500))
    assert sorted([sum_ or 0 for sum_ in await asyncio.gather(*adding)]) == [*range(1, 501)]


async def test_of_those_with_one_message_id_one_counts(counters: Counters, subject: str) -> None:
    """The others are told so, and add nothing."""
    adding = (counters.add(subject, 3, once=f"{subject}.1", timeout_s=5) for _ in range(4))
    assert sorted([sum_ or 0 for sum_ in await asyncio.gather(*adding)]) == [0, 0, 0, 3]
    assert await counters.add(subject, 0, timeout_s=PATIENCE_S) == 3
    assert await counters.add(subject, 3, once=f"{subject}.2", timeout_s=PATIENCE_S) == 6


async def test_counters_do_not_know_each_other(counters: Counters) -> None:
    """One principal's use is not another's."""
    mine, other = counter_subject("a", uuid4().hex), counter_subject("b", uuid4().hex)
    await counters.add(mine, 5, timeout_s=PATIENCE_S)
    assert await counters.add(other, 1, timeout_s=PATIENCE_S) == 1


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "a b", "\u00e4", "a" * 65])
async def test_a_counters_subject_follows_the_grammar(name: str) -> None:
    """No name becomes a wildcard or a second token."""
    with pytest.raises(InvalidSubject):
        counter_subject(name, "commands")
    with pytest.raises(InvalidSubject):
        counter_subject("mallku", name)


async def test_a_broker_that_does_not_answer(house: NatsHouse, subject: str) -> None:
    """The wait is bounded, and it is said whether the amount may have been added."""
    async with (
        house.connection(WORKER_RECORDS) as records,
        RequestMultiplexer(records, prefix_of(WORKER_RECORDS)) as requests,
    ):
        counters = Counters(requests)
        await house.freeze()
        try:
            with pytest.raises(NotCounted) as silence:
                await counters.add(subject, 1, timeout_s=0.2)
        finally:
            house.thaw()
        assert silence.value.sent
        assert await counters.add(subject, 0, timeout_s=PATIENCE_S) == 1


async def test_an_answer_that_is_no_counters(counters: Counters) -> None:
    """A subject that another stream keeps, or that is refused or unknown, counts nothing."""
    for subject in ("mallku.v1.checkpoint.w", "mallku.v1.nobody", "mallku.v1.rate.p"):
        with pytest.raises(NotCounted):
            await counters.add(subject, 1, timeout_s=1.0)


@pytest.mark.parametrize(
    "who", ["mallku", "mallory", "inspector", "auditor", "administrator", WORKER_BUS]
)
async def test_nobody_else_reaches_the_counters(house: NatsHouse, subject: str, who: str) -> None:
    """Who could add to a counter could lock a principal out, or let it off."""
    witness = Witness()
    async with house.connection(who, on_event=witness) as connection:
        connection.post(subject, b"", header=b"NATS/1.0\r\nNats-Incr: +5\r\n\r\n")
        await witness.sees(EventKind.REFUSED)


@pytest.mark.parametrize(
    "call",
    [
        f"STREAM.{verb}.{RATES}"
        for verb in ("DELETE", "PURGE", "UPDATE", "CREATE", "INFO", "MSG.GET", "MSG.DELETE")
    ]
    + [f"CONSUMER.CREATE.{RATES}.x", f"DIRECT.GET.{RATES}"],
)
async def test_a_worker_adds_and_does_nothing_else(house: NatsHouse, call: str) -> None:
    """Workers have the counters' subjects and no call of the API on their stream."""
    witness = Witness()
    async with house.connection(WORKER_RECORDS, on_event=witness) as connection:
        connection.post(f"$JS.API.{call}", b"{}", reply=f"{prefix_of(WORKER_RECORDS)}.x")
        await witness.sees(EventKind.REFUSED)
