"""The auditor's reader when something breaks: it goes on behind the last message, or says why."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from mallku_broker.connection import GatewayConnection
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT, definitions, ensure
from mallku_client.trail import AuditReader, Selection, StreamChanged
from mallku_contracts.errors import GatewayUnreachable
from tests.client.trailing import AUDITOR, QUICK, Follower, Scribe, read
from tests.support.nats import ADMINISTRATOR, PATIENCE_S, SMALL, NatsHouse, until


async def test_a_follower_outlives_the_server(
    house: NatsHouse, reader: AuditReader, scribe: Scribe, troubles: list[str]
) -> None:
    """After a crash it goes on behind the last message: nothing twice, nothing left out."""
    written = await scribe.count(40)
    follower = Follower(reader, Selection())
    assert await follower.has(40) == written
    for _ in range(2):
        house.kill()
        await house.server.wait()
        await house.server.start()
        written += await scribe.count(40)
        assert await follower.has(len(written)) == written
    assert [entry.sequence for entry in follower.came] == list(range(1, 121))
    assert any("broke" in trouble for trouble in troubles)
    await follower.stop()


async def test_reading_outlives_a_server_that_crashes_in_between(
    house: NatsHouse, reader: AuditReader, scribe: Scribe
) -> None:
    """Also a read that has an end: the crash comes after some of the messages."""
    written = await scribe.count(200)
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        async for entry in reader.entries():
            if len(found) == 50:
                house.kill()
                await house.server.wait()
                await house.server.start()
            found.append(entry.data)
    assert found == written


async def test_a_server_that_hangs_is_asked_again(
    house: NatsHouse, reader: AuditReader, scribe: Scribe, troubles: list[str]
) -> None:
    """Silence counts as a break; when the server is back nothing is missing."""
    written = await scribe.count(5)
    follower = Follower(reader, Selection())
    assert await follower.has(5) == written
    await house.freeze()
    await until(lambda: bool(troubles))
    house.thaw()
    written += await scribe.count(5)
    assert await follower.has(10) == written
    assert any("silent" in trouble for trouble in troubles)
    await follower.stop()


async def test_a_consumer_that_somebody_deletes_is_made_again(
    house: NatsHouse, reader: AuditReader, scribe: Scribe
) -> None:
    """An administrator may clean up; the reader misses nothing."""
    written = await scribe.count(5)
    follower = Follower(reader, Selection())
    assert await follower.has(5) == written
    async with house.connection(ADMINISTRATOR) as admin:
        for name in await _consumers(admin):
            await ask(admin, f"CONSUMER.DELETE.{AUDIT}.{name}", {})
        written += await scribe.count(5)
        assert await follower.has(10) == written
    await follower.stop()


async def _consumers(admin: GatewayConnection) -> list[str]:
    answer = await ask(admin, f"CONSUMER.LIST.{AUDIT}", {})
    return [consumer["name"] for consumer in answer["consumers"] or []]


async def test_the_server_forgets_who_reads_no_more(
    house: NatsHouse, reader: AuditReader, scribe: Scribe
) -> None:
    """Auditors may delete nothing: their consumers end by themselves."""
    await scribe.count(3)
    reader._limits = replace(QUICK, forgotten_s=0.5)
    assert len(await read(reader)) == 3
    async with house.connection(ADMINISTRATOR) as admin, asyncio.timeout(PATIENCE_S):
        while await _consumers(admin):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.1)


async def test_who_pauses_for_longer_than_the_server_remembers_goes_on(
    reader: AuditReader, scribe: Scribe
) -> None:
    """A replay may be slow: a forgotten consumer is made anew behind the last message."""
    written = await scribe.count(60)
    reader._limits = replace(QUICK, forgotten_s=0.2, pull_s=0.2, heartbeat_s=0.1)
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        async for entry in reader.entries():
            found.append(entry.data)
            if len(found) in {8, 30}:
                await asyncio.sleep(1)  # that the server forgets is what is tried
    assert found == written


async def test_a_stream_that_was_made_anew_is_not_taken_for_the_old_one(
    house: NatsHouse, reader: AuditReader, scribe: Scribe
) -> None:
    """Whoever follows is told; the new stream's messages are not passed on as a continuation."""
    await scribe.count(5)
    follower = Follower(reader, Selection())
    await follower.has(5)
    await _exchange_streams(house)
    await scribe.count(8)
    with pytest.raises(StreamChanged):
        await follower.has(6)


async def _exchange_streams(house: NatsHouse) -> None:
    """Delete the server's streams as somebody with the disk can, and let it make them anew."""
    await house.server.stop()
    streams = house.server.configuration.store
    streams.rename(streams.with_name("gone"))
    await house.server.start()
    async with house.connection(ADMINISTRATOR) as admin:
        await ensure(admin, definitions(SMALL))


async def test_a_reader_ends_with_its_connection(
    house: NatsHouse, reader: AuditReader, scribe: Scribe
) -> None:
    """Who follows over a connection that is closed for good is told."""
    await scribe.count(2)
    follower = Follower(reader, Selection())
    await follower.has(2)
    await reader.close()
    with pytest.raises(GatewayUnreachable):
        await follower.has(3)


async def test_who_reads_is_seen(house: NatsHouse, reader: AuditReader, scribe: Scribe) -> None:
    """An administrator sees by name that somebody reads; nothing is written by it."""
    await scribe.count(1)
    follower = Follower(reader, Selection())
    await follower.has(1)
    async with house.connection(ADMINISTRATOR) as admin:
        names = await _consumers(admin)
    assert [name.split("-")[0] for name in names] == [AUDITOR]
    assert json.dumps(names).count(AUDITOR) == 1
    await follower.stop()
