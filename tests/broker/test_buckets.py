from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mallku_broker import buckets
from mallku_broker.acknowledgements import AcknowledgementMultiplexer
from mallku_broker.adoptions import highest_adopted, watching_workers
from mallku_broker.buckets import Batch, Conflict, Watch, kept, place, put
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import ConnectionLost, EventKind
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT, FLAGS, KEYS, POLICY
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, MallkuError
from mallku_contracts.governed import Kind
from tests.support.nats import (
    ADMINISTRATOR,
    PATIENCE_S,
    WORKER_RECORDS,
    NatsHouse,
    Witness,
    nats_house,
    until,
)


def _watch(connection: GatewayConnection, bucket: str, key: str, name: str = "test") -> Watch:
    troubles: list[MallkuError] = []
    return Watch(connection, *place(bucket, key), name=name, troubled=troubles.append)


async def _next(watch: Watch) -> list[bytes | None]:
    async with asyncio.timeout(PATIENCE_S):
        return [entry.value for entry in await watch.next()]


async def test_a_key_is_set_in_the_place_of_what_was_read(house: NatsHouse) -> None:
    """Compare-and-set: who read an older revision is told that somebody was quicker."""
    async with house.connection(ADMINISTRATOR) as connection:
        assert await kept(connection, FLAGS, "one") == ()
        first = await put(connection, FLAGS, "one", b"1", revision=0)
        second = await put(connection, FLAGS, "one", b"2", revision=first)
        for stale in (0, first):
            with pytest.raises(Conflict):
                await put(connection, FLAGS, "one", b"3", revision=stale)
        found = await kept(connection, FLAGS, "one")
    assert [(entry.revision, entry.value) for entry in found] == [(first, b"1"), (second, b"2")]
    assert found[0].time_ms <= found[1].time_ms


async def test_a_worker_reads_buckets_and_writes_none(house: NatsHouse) -> None:
    """Its permissions let it watch policy, keys and flags, and not put, delete or purge."""
    async with house.connection(WORKER_RECORDS) as worker:
        for bucket in (POLICY, KEYS, FLAGS):
            before = await kept(worker, bucket, "current")
            with pytest.raises(GatewayUnreachable):
                await put_quickly(worker, bucket)
            assert await kept(worker, bucket, "current") == before


async def put_quickly(connection: GatewayConnection, bucket: str) -> None:
    """As `put`, without its patience."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "API_TIMEOUT_S", 0.2)
        await put(connection, bucket, "current", b"mine", revision=0)


async def test_a_watch_tells_what_is_kept_and_then_each_change(house: NatsHouse) -> None:
    """First all revisions, oldest first, then one by one; deletions are changes."""
    async with house.connection(ADMINISTRATOR) as connection:
        last = 0
        for value in (b"1", b"2"):
            last = await put(connection, FLAGS, "two", value, revision=last)
        async with _watch(connection, FLAGS, "two") as watch:
            assert await _next(watch) == [b"1", b"2"]
            last = await put(connection, FLAGS, "two", b"3", revision=last)
            await put(connection, FLAGS, "other", b"x", revision=0)
            await connection.publish(f"$KV.{FLAGS}.two", b"", headers={"KV-Operation": "DEL"})
            assert await _next(watch) == [b"3"]
            assert await _next(watch) == [None]


async def test_an_empty_bucket_is_told_at_once(house: NatsHouse) -> None:
    """Nothing kept is an answer, and what comes later is told."""
    async with (
        house.connection(ADMINISTRATOR) as connection,
        _watch(connection, FLAGS, "three") as watch,
    ):
        assert await _next(watch) == []
        await put(connection, FLAGS, "three", b"1", revision=0)
        assert await _next(watch) == [b"1"]


async def test_a_purge_is_told(house: NatsHouse) -> None:
    """What a purge leaves is a marker, also for those who come later."""
    async with house.connection(ADMINISTRATOR) as connection:
        await put(connection, FLAGS, "four", b"1", revision=0)
        headers = {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}
        await connection.request(f"$KV.{FLAGS}.four", b"", headers=headers, timeout=5)
        assert [entry.value for entry in await kept(connection, FLAGS, "four")] == [None]


async def test_more_changes_than_may_wait_lose_nothing(house: NatsHouse) -> None:
    """Whoever is slow to take them gets every one that the bucket still keeps, in order."""
    many = buckets.MAX_WAITING * 3
    async with (
        house.connection(ADMINISTRATOR) as connection,
        _watch(connection, POLICY, "many") as watch,
    ):
        assert await _next(watch) == []
        for number in range(many):
            await connection.publish(f"$KV.{POLICY}.many", str(number).encode())
        await connection.flush()
        seen: list[int] = []
        while not seen or seen[-1] != many - 1:
            seen += [int(value or b"-1") for value in await _next(watch)]
    assert seen == sorted(set(seen))
    assert len(seen) >= buckets.MAX_WAITING


async def test_a_watch_outlives_the_server(tmp_path: Path) -> None:
    """After a crash of the server all that is kept is told again, and changes go on."""
    witness = Witness()
    async with (
        nats_house(tmp_path) as house,
        house.connection(WORKER_RECORDS, on_event=witness) as worker,
        _watch(worker, POLICY, "current") as watch,
    ):
        assert await _next(watch) == []
        await _put_as_administrator(house, b"1", 0)
        assert await _next(watch) == [b"1"]
        house.kill()
        await house.server.wait()
        await witness.sees(EventKind.DISCONNECTED)
        await house.server.start()
        assert await _next(watch) == [b"1"]
        await _put_as_administrator(house, b"2", 1)
        assert await _next(watch) == [b"2"]


async def test_a_watch_outlives_a_server_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is silent without closing anything is asked anew once it answers again."""
    monkeypatch.setattr(buckets, "SILENCE_S", 1.5)
    async with (
        nats_house(tmp_path) as house,
        house.connection(WORKER_RECORDS) as worker,
        _watch(worker, POLICY, "current") as watch,
    ):
        assert await _next(watch) == []
        reading = watch._reading
        await house.freeze()
        waiting = asyncio.create_task(_next(watch))
        await until(lambda: watch._reading is not reading)
        house.thaw()
        assert await waiting == []
        await _put_as_administrator(house, b"1", 0)
        assert await _next(watch) == [b"1"]


async def test_a_watch_ends_with_its_connection(house: NatsHouse) -> None:
    """Who waits for a change of a connection that was closed for good is told."""
    async with (
        house.connection(ADMINISTRATOR) as connection,
        _watch(connection, FLAGS, "five") as watch,
    ):
        assert await _next(watch) == []
        waiting = asyncio.create_task(_next(watch))
        await connection.close()
        with pytest.raises(ConnectionLost):
            await waiting


async def test_a_bucket_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Reading says so; a watch says so again and again, and begins once it is there."""
    async with (
        nats_house(tmp_path, streams=False) as house,
        house.connection(ADMINISTRATOR) as connection,
    ):
        with pytest.raises(ConfigurationError, match="stream not found"):
            await kept(connection, POLICY, "current")


async def test_requests_that_expire_are_made_again(
    house: NatsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch on which nothing happens for longer than one request goes on."""
    monkeypatch.setattr(buckets, "PULL_S", 0.3)
    monkeypatch.setattr(buckets, "HEARTBEAT_S", 0.1)
    async with (
        house.connection(ADMINISTRATOR) as connection,
        _watch(connection, FLAGS, "six") as watch,
    ):
        assert await _next(watch) == []
        reading, heard = watch._reading, 0
        hear = reading.hear

        def count(said: int) -> None:
            nonlocal heard
            heard += said == 408
            hear(said)

        monkeypatch.setattr(reading, "hear", count)
        waiting = asyncio.create_task(_next(watch))
        await until(lambda: heard >= 2)
        await put(connection, FLAGS, "six", b"1", revision=0)
        assert await waiting == [b"1"]
        assert watch._reading is reading


async def test_who_watches_is_seen(house: NatsHouse) -> None:
    """Workers that wait for the next document are known by instance; others do not count."""
    async with (
        house.connection(WORKER_RECORDS) as worker,
        house.connection(ADMINISTRATOR) as admin,
        _watch(worker, KEYS, "current", "worker-0a1b") as watch,
        _watch(admin, KEYS, "current", "up-keys") as other,
    ):
        batches: list[Batch] = [await watch.next(), await other.next()]
        assert batches == [(), ()]
        assert await watching_workers(admin, Kind.KEYS) == {"0a1b"}


async def test_the_highest_adopted_version_is_found(house: NatsHouse) -> None:
    """Whichever worker wrote last, and whatever else stands on the trail."""
    async with house.connection(WORKER_RECORDS) as worker:
        assert await highest_adopted(worker, Kind.POLICY) == 0
        async with AcknowledgementMultiplexer(worker, expected_stream=AUDIT) as trail:
            for number, token in enumerate(("9", "11", "2", "@", "x")):
                subject = f"mallku.v1.audit._gateway.mallku_policy.{token}.adopt.done"
                await trail.publish(subject, b"", message_id=f"t{number}", timeout=5)
            for subject in (
                "mallku.v1.audit._gateway.mallku_keys.99.adopt.done",
                "mallku.v1.audit._gateway.mallku_policy.98.adopt.denied",
                "mallku.v1.audit.mallku.mallku_policy.97.adopt.done",
            ):
                await trail.publish(subject, b"", message_id=subject, timeout=5)
        assert await highest_adopted(worker, Kind.POLICY) == 11
        assert await highest_adopted(worker, Kind.KEYS) == 99


async def test_a_cancellation_is_not_lost_to_an_answer(house: NatsHouse) -> None:
    """Who is cancelled in the very moment of the answer ends all the same."""
    async with house.connection(WORKER_RECORDS) as connection:
        task = asyncio.create_task(ask(connection, f"STREAM.INFO.{AUDIT}", {}))
        while not connection._resp_map:  # noqa: ASYNC110 - nobody tells that it was asked
            await asyncio.sleep(0)
        (answer,) = connection._resp_map.values()
        while not answer.done():  # noqa: ASYNC110 - the task must not have heard of it yet
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def _put_as_administrator(house: NatsHouse, value: bytes, revision: int) -> None:
    async with house.connection(ADMINISTRATOR) as connection:
        await put(connection, POLICY, "current", value, revision=revision)
