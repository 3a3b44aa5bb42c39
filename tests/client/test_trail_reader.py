"""The auditor's reader against a real server: every message once, in order, whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from mallku_broker.jetstream import API_TIMEOUT_S
from mallku_broker.streams import CHECKPOINTS
from mallku_client.settings import ClientSettings
from mallku_client.trail import AuditReader, Selection
from mallku_contracts.audit import Record, RecordError
from mallku_contracts.errors import ConfigurationError, GatewayUnreachable, InvalidSubject
from tests.client.trailing import QUICK, SUBJECT, Follower, Scribe, bodies, read
from tests.support.nats import PATIENCE_S, NatsHouse


async def test_an_empty_trail_ends_at_once(reader: AuditReader) -> None:
    """Nothing is waited for that nobody has written."""
    async with asyncio.timeout(API_TIMEOUT_S):
        assert await read(reader) == []


async def test_the_whole_trail_is_read_in_order(reader: AuditReader, scribe: Scribe) -> None:
    """Every message once, with its place, its subject and the stream's time."""
    written = await scribe.count(100)
    entries = await read(reader)
    assert bodies(entries) == written
    assert [entry.sequence for entry in entries] == list(range(1, 101))
    assert {entry.subject for entry in entries} == {SUBJECT}
    assert entries[0].time <= entries[-1].time
    assert (await reader.stream_info()).last == 100


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (1, 1, range(1, 2)),
        (5, 5, range(5, 6)),
        (15, 29, range(15, 30)),
        (29, None, range(29, 31)),
        (30, 99, range(30, 31)),
        (31, None, range(0)),
        (1_000, 2_000, range(0)),
        (20, 10, range(0)),
    ],
)
async def test_both_ends_of_a_range_belong_to_it(
    reader: AuditReader, scribe: Scribe, first: int, last: int | None, expected: range
) -> None:
    """From a sequence to a sequence; what lies outside the stream is nothing, and ends."""
    await scribe.count(30)
    entries = await read(reader, Selection(first=first, last=last))
    assert [entry.sequence for entry in entries] == list(expected)


async def test_a_stretch_of_time_is_read(reader: AuditReader, scribe: Scribe) -> None:
    """The stream's own clock decides; both milliseconds belong to it."""
    await scribe.count(20)
    entries = await read(reader)
    begin, end = entries[5].time, entries[12].time
    expected = [entry for entry in entries if begin <= entry.time <= end]
    assert await read(reader, Selection(since_ms=begin, until_ms=end)) == expected
    assert await read(reader, Selection(since_ms=entries[-1].time + 60_000)) == []


async def test_the_server_selects_by_subject(reader: AuditReader, scribe: Scribe) -> None:
    """By principal, database, collection, operation and outcome, and by several of each."""
    places = [
        ("mallku", "one", "anchors", "insert", "intent"),
        ("mallku", "one", "anchors", "insert", "done"),
        ("mallku", "two", "anchors", "get", "failed"),
        ("mallory", "one", "secrets", "get", "denied"),
        ("_gateway", "mallku_policy", "@", "adopt", "done"),
    ]
    for number, place in enumerate(places):
        await scribe.write(str(number).encode(), subject=f"mallku.v1.audit.{'.'.join(place)}")
    expected = {
        Selection(principals=("mallku",)): "012",
        Selection(principals=("mallory", "_gateway")): "34",
        Selection(databases=("two",)): "2",
        Selection(collections=("secrets", "@")): "34",
        Selection(operations=("get",)): "23",
        Selection(outcomes=("done", "denied")): "134",
        Selection(outcomes=("done", "done"), principals=("mallku",)): "1",
        Selection(collections=("nothing",)): "",
        Selection(principals=("mallku",), first=2, last=2): "1",
    }
    for selection, numbers in expected.items():
        assert b"".join(bodies(await read(reader, selection))).decode() == numbers, selection


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"principals": ("a.b",)}, InvalidSubject),
        ({"collections": ("*",)}, InvalidSubject),
        ({"operations": (">",)}, InvalidSubject),
        ({"outcomes": ("success",)}, ConfigurationError),
        ({"first": 0}, ConfigurationError),
    ],
)
def test_no_filter_says_more_than_a_name(
    wrong: dict[str, tuple[str, ...]], error: type[Exception]
) -> None:
    """A wildcard or a dot in a name would select something else than was said."""
    with pytest.raises(error):
        Selection(**wrong)  # type: ignore[arg-type]  # that is the point


def test_too_many_combinations_are_refused() -> None:
    """The server is not asked for a thousand subjects."""
    names = tuple(f"n{number}" for number in range(20))
    with pytest.raises(ConfigurationError, match="name fewer"):
        Selection(principals=names, collections=names).subjects()


async def test_the_end_is_what_was_last_in_the_beginning(
    reader: AuditReader, scribe: Scribe
) -> None:
    """Who writes while somebody reads does not keep them from coming to an end."""
    written = await scribe.count(30)
    found: list[bytes] = []
    async with asyncio.timeout(PATIENCE_S):
        async for entry in reader.entries():
            if not found:
                await scribe.count(30)
            found.append(entry.data)
    assert found == written


async def test_following_goes_on(reader: AuditReader, scribe: Scribe) -> None:
    """What is there comes first, then each message as it is written; requests expire meanwhile."""
    written = await scribe.count(10)
    follower = Follower(reader, Selection())
    assert await follower.has(10) == written
    await asyncio.sleep(QUICK.pull_s * 1.5)  # so that a request expires: nothing else happens
    written += await scribe.count(25)
    assert await follower.has(35) == written
    await follower.stop()


async def test_following_can_begin_with_what_is_yet_to_come(
    reader: AuditReader, scribe: Scribe
) -> None:
    """A sequence behind the end, and a selection of which there is nothing yet."""
    await scribe.count(3)
    later, denied = (
        Follower(reader, Selection(first=6)),
        Follower(reader, Selection(outcomes=("denied",))),
    )
    written = await scribe.count(5)
    await scribe.write(b"no", subject="mallku.v1.audit.a.b.c.get.denied")
    assert (await later.has(4))[:3] == written[2:]
    assert await denied.has(1) == [b"no"]
    for follower in (later, denied):
        await follower.stop()


async def test_whoever_takes_slowly_is_waited_for(
    reader: AuditReader, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is asked for than there is room for, in messages and in bytes."""
    await scribe.write(*(bytes(1_000) for _ in range(200)))
    reader._limits = replace(QUICK, pull_messages=50, pull_bytes=5_000, ahead=2)
    held: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        async with aclosing(reader.batches()) as batches:
            async for batch in batches:
                held.append(sum(len(entry.data) for entry in batch))
                await asyncio.sleep(0)
    assert sum(held) == 200_000
    assert max(held) <= 2 * 5_000


async def test_several_read_at_a_time(reader: AuditReader, scribe: Scribe) -> None:
    """Reads over one connection do not take each other's messages."""
    written = await scribe.count(50)
    found = await asyncio.gather(*(read(reader) for _ in range(5)))
    assert [bodies(entries) for entries in found] == [written] * 5


async def test_checkpoints_are_read_too(house: NatsHouse, reader: AuditReader) -> None:
    """Of their own stream, whatever is selected of the other."""
    async with house.connection("worker-records") as worker:
        await worker.publish("mallku.v1.checkpoint.w1", b"one")
        await worker.publish("mallku.v1.checkpoint.w2", b"two")
        await worker.flush()
    async with asyncio.timeout(PATIENCE_S):
        while (await reader.stream_info(CHECKPOINTS)).last < 2:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
        found = [entry async for entry in reader.entries(stream=CHECKPOINTS)]
    assert [(entry.subject[-2:], entry.data) for entry in found] == [("w1", b"one"), ("w2", b"two")]


async def test_records_come_with_their_place(reader: AuditReader, scribe: Scribe) -> None:
    """What is no record stops the reader, unless somebody wants to be told instead."""
    record = Record("done", "w1", 1, 1_700_000_000_000, "id-1", "mallku", SUBJECT)
    await scribe.write(record.pack(), b"junk", record.pack())
    with pytest.raises(RecordError):
        _ = [each async for each in reader.records()]
    told: list[int] = []
    found = [
        each
        async for each in reader.records(unreadable=lambda entry, _: told.append(entry.sequence))
    ]
    assert [(each.entry.sequence, each.record) for each in found] == [(1, record), (3, record)]
    assert told == [2]


async def test_a_caller_does_not_read_the_trail(house: NatsHouse) -> None:
    """Credentials of another account reach nothing of it, and the reader says so in time."""
    settings = ClientSettings(
        url=house.url, principal="mallku", nats_credentials=house.credentials["mallku"]
    )
    async with await AuditReader.connect(
        settings=settings, limits=replace(QUICK, give_up_s=0.5)
    ) as reader:
        with pytest.raises(GatewayUnreachable):
            await read(reader)
