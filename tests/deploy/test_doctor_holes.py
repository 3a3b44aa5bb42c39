"""A real server whose lock was broken on purpose: doctor has to find it, and break nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from mallku_broker.accounts import (
    Account,
    Permissions,
    User,
)
from mallku_broker.jetstream import ask
from mallku_broker.streams import AUDIT, JOBS, generation, sealed_subject
from mallku_deploy.doctor.attempts import Kind, Stored, Verdict
from mallku_deploy.doctor.lists import STREAMS
from mallku_deploy.doctor.report import Report
from mallku_deploy.doctor.roles import Role
from mallku_deploy.doctor.tries import Line, open_line
from mallku_deploy.doctor.watches import FindLine, StreamWatch
from tests.deploy.examining import NAMES, doctor, row
from tests.support.nats import ADMINISTRATOR, WORKER_BUS, WORKER_RECORDS, NatsHouse

Break = Callable[[User], User]

EVERYTHING = Permissions((">",), (">",))


async def _break(house: NatsHouse, change: Break) -> None:
    configuration = house.server.configuration
    users = tuple(map(change, configuration.users))
    assert users != configuration.users
    await house.server.reload(replace(configuration, users=users))


async def _rewrite(house: NatsHouse, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the accounts as the server reads them."""
    configuration = house.server.configuration
    document = json.loads(configuration.to_text())
    change(document["accounts"])
    await house.server.reload(replace(configuration, extra={"accounts": document["accounts"]}))


def _open(report: Report) -> list[tuple[str, str]]:
    return [(each.name, each.title) for each in report.findings if each.verdict is Verdict.HOLE]


async def _streams(house: NatsHouse) -> dict[str, Any]:
    """What every stream holds and how it is set up."""
    found: dict[str, Any] = {}
    async with house.connection(ADMINISTRATOR) as connection:
        for stream in STREAMS:
            answer = await connection.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=5)
            told = json.loads(answer.data)
            state = {key: told["state"][key] for key in ("messages", "first_seq", "last_seq")}
            found[stream] = (told["config"], state)
    return found


async def _publish_record(house: NatsHouse) -> None:
    async with house.connection(WORKER_RECORDS) as records:
        await records.request("mallku.v1.audit.mallku.db.a.insert.intent", b"record", timeout=5)


def _user(name: str, change: Callable[[Permissions], Permissions]) -> Break:
    return lambda user: (
        replace(user, permissions=change(user.permissions)) if user.name == name else user
    )


def _publishing(name: str, *subjects: str) -> Break:
    return _user(name, lambda lists: replace(lists, publish=(*lists.publish, *subjects)))


def _subscribing(name: str, *subjects: str) -> Break:
    return _user(name, lambda lists: replace(lists, subscribe=(*lists.subscribe, *subjects)))


async def test_a_sound_lock_is_proven(house: NatsHouse) -> None:
    """Every role is examined, nothing is open, and nothing is left behind in any stream."""
    await _publish_record(house)
    before = await _streams(house)
    report = await doctor(house)
    assert report.exit_code == 0, [each for each in report.findings if each.why]
    assert {each.name for each in report.findings} == {
        *("mallku", "mallory", "auditor", "inspector", "administrator"),
        *NAMES.values(),
    }
    assert report.counts[Verdict.PROVEN] > 100
    assert await _streams(house) == before


@pytest.mark.parametrize(
    ("change", "name", "title"),
    [
        (_subscribing("mallku", "_INBOX.>"), "mallku", "hear everybody's replies"),
        (_subscribing("mallku", "_INBOX_mallku.mallory.>"), "mallku", "hear another's replies"),
        (_subscribing("mallku", "mallku.v1.cmd.mallory.>"), "mallku", "hear commands and jobs"),
        (_subscribing("mallku", "mallku.v1.cmd.*.*.*.get"), "mallku", "hear commands and jobs"),
        (
            _subscribing("mallku", "mallku.v1.cmd.*.*.*.insert mallku.write"),
            "mallku",
            "take work from workers",
        ),
        (_subscribing("mallku", "$SRV.PING"), "mallku", "pose as the service"),
        (
            _user("inspector", lambda lists: replace(lists, deny_subscribe=())),
            "inspector",
            "take work from workers",
        ),
        (
            _subscribing(WORKER_RECORDS, "mallku.v1.audit.>"),
            "worker:records",
            "hear records and settings",
        ),
        (
            _publishing("mallku", "mallku.v1.cmd.*.*.*.insert"),
            "mallku",
            "command as another",
        ),
        (_publishing("mallku", "mallku.v1.job.mallory.>"), "mallku", "submit a job as another"),
        (_publishing("mallku", "mallku.v1.cur.>"), "mallku", "fetch pages as another"),
        (
            _publishing("mallory", "mallku.v1.cmd.mallory.*.*.get"),
            "mallory",
            "do what its policy lacks",
        ),
        (
            _publishing("mallku", "mallku.v1.cmd.mallku.*.*.truncate"),
            "mallku",
            "do what its policy lacks",
        ),
        (
            _publishing("mallku", "_INBOX_mallku.mallory.>"),
            "mallku",
            "answer in a worker's place",
        ),
        (_publishing(WORKER_BUS, ">"), "worker:bus", "answer elsewhere"),
        (
            _publishing(ADMINISTRATOR, "mallku.v1.audit.>"),
            "administrator",
            "write audit records",
        ),
        (
            _publishing(WORKER_RECORDS, "$KV.mallku_policy.current"),
            "worker:records",
            "write policy, keys, flags",
        ),
        (
            _publishing(ADMINISTRATOR, "$JS.API.STREAM.PURGE.MALLKU_JOBS"),
            "administrator",
            "delete or purge a stream",
        ),
        (
            _publishing(WORKER_RECORDS, "$JS.API.>"),
            "worker:records",
            "change or copy a stream",
        ),
        (_publishing("mallku", "$JS.API.>"), "mallku", "JetStream beyond its need"),
        (
            _publishing(ADMINISTRATOR, "$JS.EVENT.ADVISORY.>"),
            "administrator",
            "speak in the server's place",
        ),
        (
            _subscribing(WORKER_RECORDS, "$JS.EVENT.ADVISORY.*"),
            "worker:records",
            "hear what it says of the trail",
        ),
    ],
)
async def test_a_permission_too_much_is_a_hole(
    house: NatsHouse, change: Break, name: str, title: str
) -> None:
    """One subject more in one list: that row turns, the exit code is 1, the streams stay."""
    before = await _streams(house)
    await _break(house, change)
    report = await doctor(house)
    assert await _streams(house) == before
    assert row(report, name, title).verdict is Verdict.HOLE
    assert {each for each, _ in _open(report)} == {name}
    assert report.exit_code == 1


async def test_a_rotated_trail_is_examined_where_it_goes_on(house: NatsHouse) -> None:
    """What would arrive in it is looked for in the stream that takes records now."""
    await _publish_record(house)
    async with house.connection(ADMINISTRATOR) as connection:
        found = (await ask(connection, f"STREAM.INFO.{AUDIT}", {}))["config"]
        sealed = {**found, "sealed": True, "subjects": [sealed_subject(AUDIT)]}
        await ask(connection, f"STREAM.UPDATE.{AUDIT}", sealed)
        begun = {name: each for name, each in found.items() if name != "metadata"}
        begun |= {"name": generation(2), "first_seq": 2}
        await ask(connection, f"STREAM.CREATE.{generation(2)}", begun)
    report = await doctor(house)
    assert report.exit_code == 0, [each for each in report.findings if each.why]


async def test_a_trail_that_drops_records_is_a_hole(house: NatsHouse) -> None:
    """An administrator gave it an age: what is older would be gone; the auditor's row says so."""
    async with house.connection(ADMINISTRATOR) as connection:
        answer = await connection.request(f"$JS.API.STREAM.INFO.{AUDIT}", b"", timeout=5)
        weaker = json.loads(answer.data)["config"] | {"max_age": 3_600_000_000_000}
        body = json.dumps(weaker).encode()
        changed = await connection.request(f"$JS.API.STREAM.UPDATE.{AUDIT}", body, timeout=5)
        assert b"error" not in changed.data
    report = await doctor(house)
    found = row(report, "auditor", "the trail loses nothing")
    assert found.verdict is Verdict.HOLE
    assert "max_age" in found.why
    assert report.exit_code == 1


def _allow_responses(accounts: dict[str, Any], bus: str) -> None:
    for user in accounts["MALLKU"]["users"]:
        if user["nkey"] == bus:
            user["permissions"]["allow_responses"] = True


async def test_leave_to_respond_is_a_hole(house: NatsHouse) -> None:
    """With `allow_responses` a worker answers wherever it is asked to, past its list."""
    bus = next(user.nkey for user in house.server.configuration.users if user.name == WORKER_BUS)
    await _rewrite(house, lambda accounts: _allow_responses(accounts, bus))
    report = await doctor(house)
    assert _open(report) == [("worker:bus", "answer wherever it is asked")]
    assert report.exit_code == 1


async def _acknowledge_jobs(house: NatsHouse) -> None:
    """Let the stream of jobs answer, as streams do."""
    async with house.connection(ADMINISTRATOR) as connection:
        asked = await connection.request(f"$JS.API.STREAM.INFO.{JOBS}", b"", timeout=5)
        body = json.dumps(json.loads(asked.data)["config"] | {"no_ack": False}).encode()
        answer = await connection.request(f"$JS.API.STREAM.UPDATE.{JOBS}", body, timeout=5)
    assert "error" not in json.loads(answer.data)


async def test_a_stream_of_jobs_that_answers_is_a_hole(house: NatsHouse) -> None:
    """Its answers come to inboxes and command subjects of others, and that is all that is open."""
    await _acknowledge_jobs(house)
    report = await doctor(house)
    titles = {"job answer to another's inbox", "job answer as a command"}
    assert set(_open(report)) == {
        (name, title) for name in ("mallku", "mallory") for title in titles
    }
    assert report.exit_code == 1


async def test_one_account_for_all_is_a_hole(house: NatsHouse) -> None:
    """Callers beside the streams: acknowledgements reach buckets; the trail is then left alone."""
    await _acknowledge_jobs(house)
    await _publish_record(house)
    before = await _streams(house)
    await _break(house, lambda user: replace(user, account=Account.RECORDS))
    report = await doctor(house)
    found = set(_open(report))
    assert {("mallku", "job answer into a bucket"), ("mallku", "job answer to a worker")} <= found
    assert ("worker:records", "API answer to a caller") in found
    trail = row(report, "mallku", "job answer into the trail")
    assert trail.verdict is Verdict.UNTRIED
    assert "could not be taken back" in trail.why
    after = await _streams(house)
    assert [after[stream] for stream in STREAMS[:5]] == [before[stream] for stream in STREAMS[:5]]


def _beside_the_records(user: User) -> User:
    if user.name != "auditor":
        return user
    calls = tuple(each.replace("AUD.API", "$JS.API") for each in user.permissions.publish)
    permissions = replace(user.permissions, publish=calls)
    return replace(user, account=Account.RECORDS, permissions=permissions)


async def test_auditors_beside_the_records_are_a_hole(
    house: NatsHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they pull reaches buckets, workers, and the JetStream API as a call of theirs."""
    monkeypatch.setattr("mallku_deploy.doctor.diversions.AUDITOR_PREFIX", "$JS.API")
    await _publish_record(house)
    await _break(house, _beside_the_records)
    report = await doctor(house)
    assert {title for _, title in _open(report)} == {
        "reach the records directly",
        "pulled record into a bucket",
        "pulled record to a worker",
        "empty pull as a JetStream call",
    }
    assert row(report, "auditor", "empty pull into the trail").verdict is Verdict.UNTRIED


@pytest.mark.parametrize(
    ("who", "target"),
    [
        (ADMINISTRATOR, Stored("mallku.v1.audit.a.b.c.get.done", AUDIT, Kind.RECORDS)),
        (WORKER_RECORDS, Stored("$KV.mallku_policy.x", "KV_mallku_policy", Kind.ADMINISTRATOR)),
    ],
)
async def test_what_is_said_to_be_wider_is(house: NatsHouse, who: str, target: Stored) -> None:
    """Whoever may use JetStream can have an answer of the server's stored; and a watch sees it."""
    async with _lines(house) as find:
        watching = StreamWatch(target, find)
        await watching.begin()
        assert not await watching.arrived()
        line = await find(who)
        line.connection.post(f"$JS.API.STREAM.INFO.{AUDIT}", b"", reply=target.subject)
        assert await watching.arrived()
        await watching.end()


async def test_an_administrator_can_shorten_the_trail(house: NatsHouse) -> None:
    """As `shorten the trail` says: a lower limit drops records, in spite of `deny_purge`."""
    await _publish_record(house)
    await _publish_record(house)
    configuration, _ = (await _streams(house))[AUDIT]
    body = json.dumps(configuration | {"max_msgs": 1, "discard": "old"}).encode()
    async with house.connection(ADMINISTRATOR) as connection:
        await connection.request(f"$JS.API.STREAM.UPDATE.{AUDIT}", body, timeout=5)
    assert (await _streams(house))[AUDIT][1]["messages"] == 1


@asynccontextmanager
async def _lines(house: NatsHouse) -> AsyncGenerator[FindLine]:
    async with AsyncExitStack() as stack:

        async def find(who: str) -> Line:
            name = {str(Kind.RECORDS): WORKER_RECORDS}.get(who, who)
            kind = Kind.RECORDS if name == WORKER_RECORDS else Kind.ADMINISTRATOR
            line = await open_line(Role(kind, name, house.settings(name)))
            stack.push_async_callback(line.connection.close)
            return line

        yield find


async def test_what_was_diverted_into_a_bucket_is_purged(house: NatsHouse) -> None:
    """A key that came about by a try is gone after it."""
    await _acknowledge_jobs(house)
    await _break(house, lambda user: replace(user, account=Account.RECORDS))
    report = await doctor(house)
    assert ("mallku", "job answer into a bucket") in _open(report)
    async with house.connection(ADMINISTRATOR) as connection:
        body = b'{"last_by_subj": "$KV.mallku_policy.>"}'
        call = "$JS.API.STREAM.MSG.GET.KV_mallku_policy"
        last = json.loads((await connection.request(call, body, timeout=5)).data)["message"]
    assert "data" not in last
    assert "hdrs" in last


async def test_behind_doors_that_are_all_open_nothing_breaks(house: NatsHouse) -> None:
    """Everybody may do everything beside the streams: hundreds of holes, the trail is untouched."""
    await _publish_record(house)
    before = await _streams(house)

    def open_up(user: User) -> User:
        return replace(user, account=Account.RECORDS, permissions=EVERYTHING)

    await _break(house, open_up)
    report = await doctor(house)
    probed = [each for each in report.findings if each.expected == "refused"]
    assert {each.verdict for each in probed} <= {Verdict.HOLE, Verdict.WIDER}
    after = await _streams(house)
    assert {name: found[0] for name, found in after.items()} == {
        name: found[0] for name, found in before.items()
    }
    assert [after[stream] for stream in STREAMS[:5]] == [before[stream] for stream in STREAMS[:5]]
