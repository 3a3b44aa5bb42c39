"""The trail is read as one, whatever streams it is made of, by range, by subject, and on and on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.connection import GatewayConnection
from mallku_broker.generations import (
    TrailReader,
    generations,
    newest_record,
    record_at,
    trail_state,
)
from mallku_broker.jetstream import ask
from mallku_broker.ranges import Range
from mallku_broker.streams import (
    AUDIT,
    CHECKPOINTS,
    StreamSettings,
    apply,
    definitions,
    ensure,
    generation,
    sealed_subject,
)
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse, nats_house

SUBJECT = "mallku.v1.audit.p.d.c.insert.intent"
OTHER = "mallku.v1.audit.p.d.c.insert.done"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[NatsHouse]:
    """A server of one's own: nothing unseals a stream."""
    async with nats_house(tmp_path / "nats") as running:
        yield running


@asynccontextmanager
async def _both(house: NatsHouse) -> AsyncGenerator[tuple[GatewayConnection, GatewayConnection]]:
    async with (
        house.connection(ADMINISTRATOR) as administrator,
        house.connection(WORKER_RECORDS) as worker,
    ):
        yield administrator, worker


async def _publish(worker: GatewayConnection, count: int, subject: str = SUBJECT) -> None:
    for _ in range(count):
        answer = await worker.request(subject, b"record", timeout=5)
        assert "error" not in json.loads(answer.data)


async def _go_on(administrator: GatewayConnection, number: int) -> None:
    """Seal a stream and begin the next one."""
    name = generation(number)
    found = (await ask(administrator, f"STREAM.INFO.{name}", {}))["config"]
    sealed = {**found, "sealed": True, "subjects": [sealed_subject(name)]}
    await ask(administrator, f"STREAM.UPDATE.{name}", sealed)
    state = await trail_state(administrator)
    begun: dict[str, Any] = {
        **{key: value for key, value in found.items() if key not in ("metadata", "first_seq")},
        "name": generation(number + 1),
        "first_seq": state.last + 1,
    }
    await ask(administrator, f"STREAM.CREATE.{begun['name']}", begun)


async def _read(worker: GatewayConnection, wanted: Range) -> list[int]:
    async with TrailReader(worker, wanted, name="test") as reader:
        found: list[int] = []
        while batch := await reader.next():
            found += [entry.sequence for entry in batch]
        return found


async def _made_of_three(house: NatsHouse) -> None:
    async with _both(house) as (administrator, worker):
        for number in (1, 2):
            await _publish(worker, 4)
            await _publish(worker, 1, OTHER)
            await _go_on(administrator, number)
        await _publish(worker, 2)


async def test_sequences_go_on_from_stream_to_stream(house: NatsHouse) -> None:
    """The trail is one: its length, its records, the newest under a subject."""
    await _made_of_three(house)
    async with _both(house) as (_, worker):
        states = await generations(worker)
        assert [(each.first, each.last, each.sealed) for each in states] == [
            (1, 5, True),
            (6, 10, True),
            (11, 12, False),
        ]
        whole = await trail_state(worker)
        assert (whole.name, whole.first, whole.last, whole.messages) == (AUDIT, 1, 12, 12)
        assert whole.created == states[0].created
        for sequence in (1, 5, 6, 11, 12):
            found = await record_at(worker, sequence)
            assert found is not None
            assert found.sequence == sequence
        assert await record_at(worker, 13) is None
        newest = await newest_record(worker, OTHER)
        assert newest is not None
        assert newest.sequence == 10
        assert await newest_record(worker, "mallku.v1.audit.nobody.d.c.get.done") is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Range(AUDIT), list(range(1, 13))),
        (Range(AUDIT, first=5), list(range(5, 13))),
        (Range(AUDIT, first=12), [12]),
        (Range(AUDIT, first=13), []),
        (Range(AUDIT, (OTHER,)), [5, 10]),
        (Range(AUDIT, (OTHER,), first=6), [10]),
        (Range(AUDIT, since_ms=0), list(range(1, 13))),
        (Range(CHECKPOINTS), []),
    ],
)
async def test_a_range_is_read_through_all_streams(
    house: NatsHouse, wanted: Range, found: list[int]
) -> None:
    """Every message once, in order, whichever stream it stands in."""
    await _made_of_three(house)
    async with _both(house) as (_, worker):
        assert await _read(worker, wanted) == found


async def test_a_time_selects_in_the_stream_that_it_falls_into(house: NatsHouse) -> None:
    """What is older in a sealed stream is left out, what comes after is not."""
    async with _both(house) as (administrator, worker):
        await _publish(worker, 3)
        await _go_on(administrator, 1)
        await _publish(worker, 2)
        entry = await record_at(worker, 4)
        assert entry is not None
        assert await _read(worker, Range(AUDIT, since_ms=entry.time)) == [4, 5]


@pytest.mark.parametrize("subjects", [(), (OTHER,)])
async def test_whoever_follows_goes_on_in_the_next_stream(
    house: NatsHouse, subjects: tuple[str, ...]
) -> None:
    """Sealed while nothing comes, twice; also where the selected come seldom."""
    async with _both(house) as (administrator, worker):
        await _publish(worker, 2)
        await _publish(worker, 1, OTHER)
        wanted = [3, 5, 7] if subjects else [1, 2, 3, 4, 5, 6, 7]
        found: list[int] = []
        async with TrailReader(worker, Range(AUDIT, subjects, follow=True), name="test") as reader:
            found += [entry.sequence for entry in await reader.next()]
            for number in (1, 2):
                await _publish(worker, 1)
                await _go_on(administrator, number)
                await _publish(worker, 1, OTHER)
            async with asyncio.timeout(15):
                while len(found) < len(wanted):
                    found += [entry.sequence for entry in await reader.next()]
        assert found == wanted


async def test_settings_are_held_against_the_newest_stream(house: NatsHouse) -> None:
    """Sealed ones are what they are; the newest has no drift, and is the one that is given room."""
    await _made_of_three(house)
    async with house.connection(ADMINISTRATOR) as administrator:
        found = (await ask(administrator, f"STREAM.INFO.{generation(3)}", {}))["config"]
        settings = StreamSettings(audit_bytes=found["max_bytes"])
        (audit,) = (each for each in definitions(settings) if each.name == AUDIT)
        assert await ensure(administrator, [audit]) == []
        more = StreamSettings(audit_bytes=found["max_bytes"] + 1)
        (larger,) = (each for each in definitions(more) if each.name == AUDIT)
        (drift,) = await ensure(administrator, [larger])
        assert (drift.stream, drift.field, drift.safe) == (generation(3), "max_bytes", True)
        assert await apply(administrator, larger) == []
        now = (await ask(administrator, f"STREAM.INFO.{generation(3)}", {}))["config"]
        assert now["max_bytes"] == found["max_bytes"] + 1
