from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mallku_broker.accounts import (
    AUDITOR_PREFIX,
)
from mallku_broker.advisories import (
    ADVISORIES,
    ADVISORY_QUEUE,
    CALLS,
    MAX_ADVISORY_BYTES,
    MAX_FILTERS,
    MAX_TEXT_CHARS,
    Call,
    Event,
    advisory_subjects,
    read_advisory,
)
from mallku_broker.connection import GatewayConnection
from mallku_broker.events import EventKind
from mallku_broker.jetstream import ApiError, ask
from mallku_broker.streams import AUDIT, CHECKPOINTS, FLAGS, JOBS, RATES
from tests.support.nats import ADMINISTRATOR, WORKER_RECORDS, NatsHouse, Witness, nats_house

FORGED = json.dumps(
    {
        "type": "io.nats.jetstream.advisory.v1.api_audit",
        "id": "forged",
        "timestamp": "2026-01-01T00:00:00Z",
        "client": {"acc": "AUDITORS", "user": "forged"},
        "subject": f"$JS.API.CONSUMER.CREATE.{AUDIT}.forged",
        "request": "{}",
        "response": "{}",
    }
).encode()

Told = list[Event | Call]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[NatsHouse]:
    """A server of this test's own: its streams are changed."""
    async with nats_house(tmp_path / "house") as house:
        yield house


class Hearer:
    """Listens as a worker does: all messages, and what was understood of them."""

    def __init__(self) -> None:
        self.told: Told = []
        self.bodies: list[bytes] = []
        self._news = asyncio.Event()

    def __call__(self, subject: str, reply: str, body: bytes, header: bytes | None) -> None:
        """A `Listener`."""
        self.bodies.append(body)
        understood = read_advisory(subject, reply, body, header)
        if understood is not None:
            self.told.append(understood)
        self._news.set()

    async def hears(self, wanted: Callable[[Event | Call], bool]) -> Event | Call:
        """Wait until something was told."""
        async with asyncio.timeout(5):
            while not (found := [each for each in self.told if wanted(each)]):
                self._news.clear()
                await self._news.wait()
        return found[0]

    async def calls(self, name: str, consumer: str = "") -> Call:
        """Wait until a call was told of."""
        told = await self.hears(
            lambda each: isinstance(each, Call) and (each.name, each.consumer) == (name, consumer)
        )
        assert isinstance(told, Call)
        return told


@asynccontextmanager
async def _hearing(house: NatsHouse) -> AsyncGenerator[Hearer]:
    hearer = Hearer()
    async with house.connection(WORKER_RECORDS) as worker:
        for subject in advisory_subjects():
            await worker.listen(subject, hearer, queue=ADVISORY_QUEUE)
        await worker.flush()
        yield hearer


async def _consume(connection: GatewayConnection, name: str, **config: Any) -> None:
    body = {"stream_name": AUDIT, "config": {"name": name, "ack_policy": "none"} | config}
    await ask(connection, f"CONSUMER.CREATE.{AUDIT}.{name}", body, api=AUDITOR_PREFIX)


async def test_who_reads_the_trail_is_said_by_the_nkey(house: NatsHouse) -> None:
    """An auditor comes through an import, and the server says whose it is."""
    async with _hearing(house) as hearer, house.connection("auditor") as auditor:
        await _consume(auditor, "mine", filter_subjects=["mallku.v1.audit.bob.>"])
        call = await hearer.calls("CONSUMER.CREATE", "mine")
    assert call.reads
    assert not call.changes
    assert (call.stream, call.account, call.refused) == (AUDIT, "AUDITORS", 0)
    assert call.key == house.policy.principals["auditor"].nkey
    assert call.filters == ["mallku.v1.audit.bob.>"]


async def test_a_changed_stream_is_said_and_who_changed_it(house: NatsHouse) -> None:
    """Both come: that it changed, from the server, and who asked; of other streams too."""
    async with _hearing(house) as hearer, house.connection(ADMINISTRATOR) as administrator:
        for stream in (AUDIT, CHECKPOINTS, FLAGS):
            name = f"KV_{stream}" if stream == FLAGS else stream
            found = (await ask(administrator, f"STREAM.INFO.{name}", {}))["config"]
            await ask(administrator, f"STREAM.UPDATE.{name}", found | {"description": "changed"})
            call = await hearer.hears(
                lambda each, name=name: isinstance(each, Call) and each.stream == name  # type: ignore[misc]
            )
            assert isinstance(call, Call)
            assert call.changes
            assert (call.name, call.refused) == ("STREAM.UPDATE", 0)
            assert call.key == house.policy.principals[ADMINISTRATOR].nkey
        for stream in (AUDIT, CHECKPOINTS):
            await hearer.hears(
                lambda each, stream=stream: (  # type: ignore[misc]
                    isinstance(each, Event) and (each.name, each.stream) == ("updated", stream)
                )
            )


async def test_a_change_that_was_refused_is_said_as_well(house: NatsHouse) -> None:
    """Whoever tries to let the trail be purged is named, though the server refuses."""
    async with _hearing(house) as hearer, house.connection(ADMINISTRATOR) as administrator:
        found = (await ask(administrator, f"STREAM.INFO.{AUDIT}", {}))["config"]
        with pytest.raises(ApiError):
            await ask(administrator, f"STREAM.UPDATE.{AUDIT}", found | {"deny_purge": False})
        call = await hearer.calls("STREAM.UPDATE")
    assert call.refused > 1


async def test_each_advisory_comes_to_one_worker(house: NatsHouse) -> None:
    """Two workers hear together what one would hear alone."""
    async with (
        _hearing(house) as first,
        _hearing(house) as second,
        house.connection("auditor") as auditor,
    ):
        for number in range(8):
            await _consume(auditor, f"c{number}")
        async with asyncio.timeout(5):
            while len(first.told) + len(second.told) < 8:  # noqa: ASYNC110 - two hearers share no event
                await asyncio.sleep(0.01)
        await _settled(house, first, second)
    heard = [each.consumer for each in (*first.told, *second.told) if isinstance(each, Call)]
    assert sorted(heard) == [f"c{number}" for number in range(8)]


async def _settled(house: NatsHouse, *hearers: Hearer) -> None:
    """Return when what the server said until now has come: a change is told behind all of it."""
    async with house.connection(ADMINISTRATOR) as administrator:
        found = (await ask(administrator, f"STREAM.INFO.{RATES}", {}))["config"]
        await ask(administrator, f"STREAM.UPDATE.{RATES}", found | {"description": "settled"})
    async with asyncio.timeout(5):
        while not any(_is_settled(each) for hearer in hearers for each in hearer.told):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    for hearer in hearers:
        hearer.told[:] = [each for each in hearer.told if not _is_settled(each)]


def _is_settled(each: Event | Call) -> bool:
    return each.stream == RATES


@pytest.mark.parametrize(
    "subject", [f"{ADVISORIES}.API", CALLS, f"{ADVISORIES}.STREAM.UPDATED.{AUDIT}"]
)
@pytest.mark.parametrize("group", ["", ADVISORY_QUEUE])
async def test_an_auditors_consumer_cannot_say_it(
    house: NatsHouse, subject: str, group: str
) -> None:
    """A push consumer that delivers a record there reaches no worker, nor the queue."""
    async with _hearing(house) as hearer, house.connection("auditor") as auditor:
        await _store(house, FORGED)
        config = {"deliver_subject": subject} | ({"deliver_group": group} if group else {})
        try:
            await _consume(auditor, "pushing", **config)
        except ApiError:
            assert "*" in subject  # the server wants a literal subject
        await _settled(house, hearer)
    assert FORGED not in hearer.bodies
    assert all(each.id != "forged" for each in hearer.told)


async def _store(house: NatsHouse, body: bytes) -> None:
    async with house.connection(WORKER_RECORDS) as worker:
        await worker.request("mallku.v1.audit.a.b.c.get.done", body, timeout=5)


async def test_an_auditors_answers_cannot_say_it(house: NatsHouse) -> None:
    """Pulled records and the API's answers stay in AUDITORS, whatever reply subject is named."""
    async with _hearing(house) as hearer, house.connection("auditor") as auditor:
        await _store(house, FORGED)
        await _consume(auditor, "pulling")
        for call in (f"CONSUMER.MSG.NEXT.{AUDIT}.pulling", f"STREAM.INFO.{AUDIT}"):
            auditor.post(f"{AUDITOR_PREFIX}.{call}", b"", reply=f"{ADVISORIES}.API")
        await auditor.flush()
        await _settled(house, hearer)
    assert FORGED not in hearer.bodies
    assert [each for each in hearer.told if each.id == "forged"] == []


async def test_an_administrators_answers_are_not_believed(house: NatsHouse) -> None:
    """In RECORDS the server's answers do arrive there, with any bytes; none is taken for its word.

    A message handed out has headers or a reply subject, and the API's answers are of other types.
    """
    place = f"$KV.{FLAGS}.forged"
    async with _hearing(house) as hearer, house.connection(ADMINISTRATOR) as administrator:
        await administrator.request(place, FORGED, timeout=5)
        stream, there = f"KV_{FLAGS}", f"{ADVISORIES}.API"
        config = {"name": "pulling", "ack_policy": "none", "filter_subject": place}
        body = {"stream_name": stream, "config": config}
        await ask(administrator, f"CONSUMER.CREATE.{stream}.pulling", body)
        wanted = json.dumps({"last_by_subj": place}).encode()
        administrator.post(f"$JS.API.DIRECT.GET.{stream}", wanted, reply=there)
        administrator.post(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.pulling", b"", reply=there)
        administrator.post(f"$JS.API.STREAM.MSG.GET.{stream}", wanted, reply=there)
        administrator.post(place, FORGED, reply=there)
        await administrator.flush()
        await _settled(house, hearer)
    assert hearer.bodies.count(FORGED) == 2  # they arrived: the attack is a real one
    assert all(each.id != "forged" for each in hearer.told)


@pytest.mark.parametrize("who", ["mallku", "auditor", "inspector", ADMINISTRATOR, WORKER_RECORDS])
async def test_nobody_may_publish_there(house: NatsHouse, who: str) -> None:
    """Not even a worker; the broker refuses."""
    witness = Witness()
    async with _hearing(house) as hearer:
        async with house.connection(who, on_event=witness) as connection:
            connection.post(f"{ADVISORIES}.API", FORGED)
            await witness.sees(EventKind.REFUSED)
        await _settled(house, hearer)
    assert FORGED not in hearer.bodies


async def test_a_worker_hears_it_in_the_queue_alone(house: NatsHouse) -> None:
    """Outside of the group the broker refuses, and so a stray listener hears nothing."""
    for subject in (*advisory_subjects(), f"{ADVISORIES}.>"):
        witness = Witness()
        async with house.connection(WORKER_RECORDS, on_event=witness) as worker:
            await worker.listen(subject, Hearer())
            await witness.sees(EventKind.REFUSED)


def test_what_is_malformed_is_no_advisory() -> None:
    """Nothing raises, whatever comes: every cut and every other type of each field."""
    whole = json.loads(FORGED)
    subject = f"{ADVISORIES}.API"
    assert isinstance(read_advisory(subject, "", FORGED, None), Call)
    for end in range(len(FORGED)):
        assert read_advisory(subject, "", FORGED[:end], None) is None
    for field in whole:
        values: tuple[Any, ...] = (None, 7, [], {}, "", "x", {"error": 3}, "\ud800" * 3)
        for value in values:
            read_advisory(subject, "", json.dumps(whole | {field: value}).encode(), None)
    for body in (b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b" " * (MAX_ADVISORY_BYTES + 1)):
        assert read_advisory(subject, "", body, None) is None
    assert read_advisory(subject, "reply", FORGED, None) is None
    assert read_advisory(subject, "", FORGED, b"NATS/1.0\r\n\r\n") is None
    assert read_advisory(f"{ADVISORIES}.STREAM.UPDATED.{AUDIT}", "", FORGED, None) is None


def test_an_event_is_of_the_stream_in_its_subject() -> None:
    """What says another stream than its subject is not taken for the server's word."""
    body = {
        "type": "io.nats.jetstream.advisory.v1.stream_action",
        "id": "1",
        "timestamp": "now",
        "stream": AUDIT,
    }
    data = json.dumps(body).encode()
    subject = f"{ADVISORIES}.STREAM.DELETED"
    assert read_advisory(f"{subject}.{AUDIT}", "", data, None) == Event(
        "1", "now", "deleted", AUDIT
    )
    assert read_advisory(f"{subject}.{CHECKPOINTS}", "", data, None) is None


@pytest.mark.parametrize(
    ("call", "reads", "changes"),
    [
        (f"CONSUMER.CREATE.{AUDIT}.c.subject.more", True, False),
        (f"CONSUMER.DURABLE.CREATE.{CHECKPOINTS}.c", True, False),
        (f"STREAM.MSG.GET.{AUDIT}", True, False),
        (f"STREAM.SNAPSHOT.{AUDIT}", True, False),
        (f"STREAM.PURGE.{AUDIT}", False, True),
        (f"STREAM.MSG.DELETE.{AUDIT}", False, True),
        (f"STREAM.DELETE.{JOBS}", False, True),
        (f"STREAM.CREATE.{JOBS}", False, True),
    ],
)
def test_calls_that_read_and_calls_that_change(call: str, reads: bool, changes: bool) -> None:
    """By their names; what does neither is not told."""
    said = json.loads(FORGED) | {"subject": f"$JS.API.{call}"}
    told = read_advisory(f"{ADVISORIES}.API", "", json.dumps(said).encode(), None)
    assert isinstance(told, Call)
    assert (told.reads, told.changes) == (reads, changes)


@pytest.mark.parametrize(
    "call",
    [f"STREAM.INFO.{AUDIT}", f"CONSUMER.CREATE.{JOBS}.c", "INFO", f"CONSUMER.INFO.{AUDIT}.c"],
)
def test_other_calls_are_not_told(call: str) -> None:
    """They happen all the time."""
    said = json.loads(FORGED) | {"subject": f"$JS.API.{call}"}
    assert read_advisory(f"{ADVISORIES}.API", "", json.dumps(said).encode(), None) is None


def test_texts_of_callers_are_bounded() -> None:
    """Neither a long name nor many filters make a long record."""
    request = {"config": {"filter_subjects": ["s" * 1_000] * 100}}
    said = json.loads(FORGED) | {
        "subject": f"$JS.API.CONSUMER.CREATE.{AUDIT}.{'c' * 10_000}",
        "request": json.dumps(request),
    }
    body = json.dumps(said).encode()
    told = read_advisory(f"{ADVISORIES}.API", "", body, None)
    assert isinstance(told, Call)
    assert len(told.filters) == MAX_FILTERS
    assert {len(each) for each in (*told.filters, told.consumer)} == {MAX_TEXT_CHARS}
