"""One message of a stream: by its place, by its subject, or none."""

from __future__ import annotations

import time

import pytest

from mallku_broker.buckets import place, put
from mallku_broker.reconciliation import ask_for_run
from mallku_broker.single import message_at, newest_message
from mallku_broker.streams import FLAGS
from mallku_contracts.errors import GatewayUnreachable
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse


async def test_a_message_is_found_by_its_place_and_the_newest_by_its_subject(
    house: NatsHouse,
) -> None:
    """With sequence, subject, the stream's time and the bytes; what is not there is None."""
    stream, subject = place(FLAGS, "single")
    async with house.connection(ADMINISTRATOR) as connection:
        assert await newest_message(connection, stream, subject) is None
        first = await put(connection, FLAGS, "single", b"1", revision=0)
        second = await put(connection, FLAGS, "single", b"2", revision=first)
    async with house.connection(WORKER_RECORDS) as connection:
        entry = await message_at(connection, stream, first)
        newest = await newest_message(connection, stream, subject)
        assert await message_at(connection, stream, second + 1_000) is None
    assert entry is not None
    assert newest is not None
    assert (entry.sequence, entry.subject, entry.data) == (first, subject, b"1")
    assert (newest.sequence, newest.data) == (second, b"2")
    assert abs(newest.time - time.time() * 1_000) < 60_000
    assert entry.time <= newest.time


async def test_each_request_for_a_run_is_another_one(house: NatsHouse) -> None:
    """Numbers go up; whoever may not write the bucket asks nobody."""
    async with house.connection(ADMINISTRATOR) as connection:
        first = await ask_for_run(connection)
        assert await ask_for_run(connection) > first
    async with house.connection(WORKER_RECORDS) as connection:
        with pytest.raises(GatewayUnreachable):
            await ask_for_run(connection)
